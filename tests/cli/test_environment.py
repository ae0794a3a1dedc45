"""Settings are documented, named when they are wrong, and never shown."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.settings import Settings
from cli.environment import in_force
from cli.main import app

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
_LINE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$")


def variable_of(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return str(getattr(alias, "choices", [f"HUNTAZE_{field.upper()}"])[0])


def documented() -> dict[str, str]:
    lines = EXAMPLE.read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := _LINE.match(line))}


class TestEnvExample:
    @pytest.mark.parametrize("field", Settings.model_fields)
    def test_it_names_every_setting(self, field: str) -> None:
        assert variable_of(field) in documented()

    def test_it_names_no_setting_that_does_not_exist(self) -> None:
        of_the_command_line = {"HUNTAZE_API_URL", "HUNTAZE_TOKEN", "HUNTAZE_DIRECTORY"}
        ours = {name for name in documented() if name.startswith("HUNTAZE_")} - of_the_command_line
        assert ours <= {variable_of(field) for field in Settings.model_fields}

    def test_it_is_valid_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in documented():
            monkeypatch.delenv(name, raising=False)
        read = Settings(_env_file=EXAMPLE)
        assert read.jwt_secret is not None
        different = {
            field
            for field, info in Settings.model_fields.items()
            if getattr(read, field) != info.get_default(call_default_factory=True)
        }
        assert different == {"jwt_secret"}, "the example shows the defaults"

    def test_every_variable_has_a_comment(self) -> None:
        lines = EXAMPLE.read_text().splitlines()
        for before, line in pairwise(lines):
            assert not _LINE.match(line) or before.startswith("# ") or _LINE.match(before), line


class TestInForce:
    def test_what_could_lead_to_a_real_account_is_gone_for_the_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "mine")
        monkeypatch.setenv("TEMPORAL_API_KEY", "mine")
        before = dict(os.environ)
        with in_force({"TEMPORAL_ADDRESS": "127.0.0.1:1"}):
            assert "AWS_PROFILE" not in os.environ
            assert "TEMPORAL_API_KEY" not in os.environ
            assert os.environ["TEMPORAL_ADDRESS"] == "127.0.0.1:1"
        assert dict(os.environ) == before


class TestWrongSettings:
    def test_the_variable_is_named_and_its_value_is_not(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HUNTAZE_API_PORT", "s3cr3t")
        monkeypatch.setenv("HUNTAZE_JWT_ALGORITHM", "none")
        result = CliRunner().invoke(app, ["migrate"])
        assert result.exit_code == 1
        assert "HUNTAZE_API_PORT" in result.stderr
        assert "HUNTAZE_JWT_ALGORITHM" in result.stderr
        assert "s3cr3t" not in result.output
