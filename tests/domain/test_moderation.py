"""What the provider's moderation adds to our own rules."""

import pytest

from domain.compliance import ComplianceReport, check
from domain.moderation import moderated
from domain.provider import ModerationAnswer

CLEAN = check("Hello Maya, the new set is here.")
WARNED = check("Hello Maya, last chance for the new set.")
BLOCKED = check("Pay me on PayPal.")


def answer(*categories: str) -> ModerationAnswer:
    return ModerationAnswer(flagged=bool(categories), categories=categories)


@pytest.mark.parametrize(
    ("report", "categories", "score", "rules"),
    [
        (CLEAN, (), 1.0, []),
        (CLEAN, ("sexual",), 1.0, []),
        (CLEAN, ("violence",), 0.75, ["moderation-violence"]),
        (
            WARNED,
            ("violence", "hate/threatening"),
            0.25,
            ["pressure", "moderation-violence", "moderation-hate-threatening"],
        ),
        (CLEAN, ("sexual/minors",), 0.0, ["moderation-sexual-minors"]),
        (BLOCKED, ("violence",), 0.0, ["off-platform-payment", "moderation-violence"]),
    ],
)
def test_it_can_only_add(report: ComplianceReport, categories: tuple[str, ...], score: float, rules: list[str]) -> None:
    found = moderated(report, answer(*categories))
    assert (found.score, [violation.rule_id for violation in found.violations]) == (score, rules)
    assert found.moderated is True
    assert found.blocked is (score == 0.0)


@pytest.mark.parametrize("report", [CLEAN, WARNED, BLOCKED])
def test_no_answer_changes_nothing_but_is_told(report: ComplianceReport) -> None:
    assert report.moderated is None
    found = moderated(report, None)
    assert found.moderated is False
    assert found.model_copy(update={"moderated": None}) == report
