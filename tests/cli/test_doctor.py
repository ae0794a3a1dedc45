"""With nothing running, the doctor says so part by part, quickly, and with remedies."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SECRET = "pa55word"


def nothing_reachable() -> dict[str, str]:
    prefixes = ("HUNTAZE_", "AWS_", "TEMPORAL_", "OPENAI_", "AZURE_", "ONLYFANSAPI_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return inherited | {
        "HUNTAZE_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:9/0",
        "HUNTAZE_API_PORT": "9",
        "HUNTAZE_ONLYFANS_BASE_URL": "http://127.0.0.1:9",
        "ONLYFANSAPI_API_KEY": SECRET,
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_API_KEY": SECRET,
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


class TestDoctor:
    def test_with_nothing_running(self, tmp_path: Path) -> None:
        started = time.monotonic()
        found = subprocess.run(
            [Path(sys.executable).with_name("huntaze"), "doctor", "--json"],
            cwd=tmp_path,
            env=nothing_reachable(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert found.returncode == 1, found.stderr
        assert time.monotonic() - started < 15
        parts = {finding["part"]: finding for finding in json.loads(found.stdout)}
        failed = {name for name, finding in parts.items() if finding["state"] == "failed"}
        assert failed == {
            "tokens (JWT)",
            "Redis",
            "DynamoDB",
            "Temporal",
            "OnlyFans gateway",
            "Azure OpenAI",
            "OpenAI",
            "API",
        }
        assert all(parts[name]["remedy"] for name in failed)
        assert parts["Redis"]["told"] == "nothing answers at redis://127.0.0.1:9/0"
        assert "huntaze up" in parts["Redis"]["remedy"]
        assert parts["embedded stack"]["state"] == "warning"
        assert SECRET not in found.stdout + found.stderr
