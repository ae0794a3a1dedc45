"""With nothing running, the doctor says so part by part, quickly, and with remedies."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cli.doctor import nothing_runs
from cli.finding import failed, ok

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


class TestNothingRuns:
    def test_only_when_none_of_our_own_parts_answers(self) -> None:
        away = [failed(part, "nothing answers", "start it") for part in ("Redis", "DynamoDB", "Temporal", "API")]
        assert nothing_runs([*away, ok("OpenAI", "accepts the key")])
        assert not nothing_runs([*away[1:], ok("Redis", "version 7")])
        assert not nothing_runs([failed("settings", "wrong", "correct them")])


class TestDoctor:
    def test_it_says_first_that_nothing_runs(self, tmp_path: Path) -> None:
        command = [str(Path(sys.executable).with_name("huntaze")), "doctor"]
        found = subprocess.run(
            command, cwd=tmp_path, env=nothing_reachable(), capture_output=True, text=True, timeout=30, check=False
        )
        first = found.stdout.splitlines()[0]
        assert "nothing is running" in first
        assert "huntaze up" in first

    def test_with_nothing_running(self, tmp_path: Path) -> None:
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
