"""The commands exist, speak the domain's words, and refuse with a remedy."""

from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from api.direct import DirectMessageRequest
from cli import calling, campaign, limits, token
from cli.main import app
from domain.access import Role
from domain.campaign import WorkflowIntent
from domain.compliance import ComplianceLevel
from domain.delivery import Priority
from domain.rate_limit import AccountTier, MessageType

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class TestHelp:
    def test_it_lists_every_command(self) -> None:
        shown = CliRunner().invoke(app, ["--help"]).output
        for name in ("demo", "up", "doctor", "token", "api", "worker", "migrate", "campaign", "alerts"):
            assert f" {name} " in shown

    @pytest.mark.parametrize(
        ("group", "names"),
        [
            ("campaign", "start status pause resume cancel approve reject watch messages recall"),
            ("review", "list show approve edit reject plan"),
            ("message", "send status cancel"),
            ("queue", "show pause resume drain dead-letters retry discard"),
            ("limits", "show set history"),
        ],
    )
    def test_it_lists_every_command_of_a_group(self, group: str, names: str) -> None:
        shown = CliRunner().invoke(app, [group, "--help"]).output
        for name in names.split():
            assert f" {name} " in shown


class TestWords:
    @pytest.mark.parametrize(
        ("offered", "known"),
        [
            (calling.MessageName, MessageType),
            (campaign.ComplianceName, ComplianceLevel),
            (calling.PriorityName, Priority),
            (limits.TierName, AccountTier),
            (token.RoleName, Role),
        ],
    )
    def test_options_offer_what_the_domain_knows(self, offered: Any, known: type[StrEnum]) -> None:
        assert get_args(offered) == tuple(known)


class TestExamples:
    @pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda file: file.stem)
    def test_the_api_would_accept_them(self, file: Path) -> None:
        model = DirectMessageRequest if file.stem == "direct-message" else WorkflowIntent
        model.model_validate_json(file.read_bytes())


class TestRefusals:
    def test_a_wrong_audience_ends_the_demo_before_anything_starts(self, tmp_path: Path) -> None:
        file = tmp_path / "audience.csv"
        file.write_text("recipientId,accountId,name\n1,luna,Maya\n")
        result = CliRunner().invoke(app, ["demo", "--audience", str(file), "--directory", str(tmp_path / "stack")])
        assert result.exit_code == 1
        assert "line 2, column accountId" in result.stderr
        assert not (tmp_path / "stack").exists()

    def test_an_unknown_task_queue_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(app, ["worker", "letters"])
        assert result.exit_code == 1
        assert "there is no task queue letters" in result.stderr
        assert "orchestration, generation, delivery" in result.stderr
