"""Reviewing from the command line: what is refused at once, and what people see."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.review import _show_drafts, _show_message, decision_of
from domain.compliance import check
from domain.delivery import MessageReview
from domain.review import EditRequest, edited
from tests.domain.builders import NOW, a_message


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["review", *words])


class TestRefusals:
    @pytest.mark.parametrize(
        "words",
        [
            ("edit", "c", "m"),
            ("edit", "c", "m", "--text", "a", "--file", "b"),
            ("edit", "c", "m", "--file", "no-such-file"),
            ("approve", "c", "--message", "m", "--all-to-come"),
            ("approve", "c", "--message", "m@"),
            ("show", "c", "m@one"),
            ("plan", "c", "--file", "no-such-file"),
            ("plan", "c", "--file", __file__),
        ],
    )
    def test_what_can_not_be_meant_is_said_before_anything_is_asked(self, words: tuple[str, ...]) -> None:
        refused = run(*words)
        assert refused.exit_code == 1
        assert refused.stderr.strip()


class TestViews:
    def message(self, **changes: Any) -> dict[str, Any]:
        draft = a_message("campaign-1", text="Old words.", **changes)
        review = MessageReview(decided_by="luna", decided_at=NOW, comment="shorter")
        text = "Last chance [b]Maya[/b]."
        changed = edited(draft, EditRequest(text=text, approve=True), check(text), 0.5, review)
        found: dict[str, Any] = json.loads(changed.model_dump_json())
        return found

    def test_a_message_shows_every_text_and_who_decided(self, capsys: pytest.CaptureFixture[str]) -> None:
        _show_message(self.message())
        shown = capsys.readouterr().out
        for part in ("approved", "revision 1", "[b]Maya[/b]", "Old words.", "luna", "shorter", "pressure"):
            assert part in shown

    def test_what_moderation_did_not_see_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        message = self.message()
        _show_message({**message, "compliance": {**message["compliance"], "moderated": False}})
        assert "not moderated" in capsys.readouterr().out

    def test_a_draft_without_a_text_says_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        draft = {**self.message(), "text": "", "reason": "manual_review:budget", "expiresAt": "2026-11-22T05:00:00Z"}
        _show_drafts({"drafts": [draft], "nextCursor": "next"})
        shown = capsys.readouterr().out
        assert "manual_review" in shown
        assert "--cursor next" in shown

    def test_nothing_is_said_to_be_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        _show_drafts({"drafts": [], "nextCursor": None})
        assert "nothing waits" in capsys.readouterr().out


class TestDecisions:
    @pytest.mark.parametrize(
        ("messages", "all_to_come", "body"),
        [
            ([], False, {"messages": [], "revisions": {}}),
            ([], True, {"scope": "campaign"}),
            (["a@1", "b"], False, {"messages": ["a", "b"], "revisions": {"a": 1}}),
        ],
    )
    def test_they_say_which_revision_was_read(
        self, messages: list[str], all_to_come: bool, body: dict[str, Any]
    ) -> None:
        assert decision_of(messages, all_to_come=all_to_come, comment="fine") == {"comment": "fine", **body}

    def test_the_list_shows_messages_as_decisions_take_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        edited = a_message("campaign-1", revision=3)
        draft = {**json.loads(edited.model_dump_json()), "messageId": "m-1", "expiresAt": "2026-11-22T05:00:00Z"}
        _show_drafts({"drafts": [draft], "nextCursor": None})
        assert "m-1@3" in capsys.readouterr().out


def test_a_text_may_come_from_a_file(tmp_path: Path) -> None:
    from cli.review import _text_of

    file = tmp_path / "text.txt"
    file.write_text("Grüße, Maya.\n", encoding="utf-8")
    assert _text_of(None, file) == "Grüße, Maya."
