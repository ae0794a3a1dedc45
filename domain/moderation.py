"""What the provider's moderation endpoint adds to our own rules.

Adult content is what the platform is for, so the category ``sexual`` says nothing here. Anything about minors blocks;
every other category lowers the score, which may send the text to a person.
"""

from domain.compliance import ComplianceReport, Severity, Violation
from domain.provider import ModerationAnswer

WARNING_PENALTY = 0.25

_MEANINGLESS = frozenset({"sexual"})
_BLOCKING = frozenset({"sexual/minors"})


def moderated(report: ComplianceReport, answer: ModerationAnswer | None) -> ComplianceReport:
    """The report with one violation for each category that matters; without an answer it says that there is none."""
    if answer is None:
        return report.model_copy(update={"moderated": False})
    found = tuple(_violation(category) for category in answer.categories if category not in _MEANINGLESS)
    violations = (*report.violations, *found)
    blocked = any(violation.severity is Severity.BLOCK for violation in violations)
    score = 0.0 if blocked else max(0.0, report.score - WARNING_PENALTY * len(found))
    return report.model_copy(update={"violations": violations, "score": score, "moderated": True})


def _violation(category: str) -> Violation:
    return Violation(
        rule_id=f"moderation-{category.replace('/', '-')}",
        clause="provider-moderation",
        severity=Severity.BLOCK if category in _BLOCKING else Severity.WARN,
        remedy="The provider's moderation flags this text; write it again without what the category names.",
    )
