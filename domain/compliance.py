"""Whether a text may be sent: rules over outbound text, and a score between 0 and 1.

The rules are data, in the modules that are named after what they are about; docs/compliance.md lists them with the
clauses of the platform's policy that they stand for. ``check`` runs before a message is reviewed and
again right before it is sent, so no path around it exists.
"""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from pydantic import Field

from domain.compliance_contact import CONTACT_RULES
from domain.compliance_crime import CRIME_RULES
from domain.compliance_disclosure import MAX_TEXT_CHARACTERS, demands_disclosure, discloses
from domain.compliance_harm import HARM_RULES
from domain.compliance_meeting import MEETING_RULES
from domain.compliance_minor import MINOR_RULES
from domain.compliance_payment import PAYMENT_RULES
from domain.compliance_rule import Rule, Severity, Violation, phrase_expression
from domain.compliance_style import STYLE_RULES
from domain.compliance_taboo import TABOO_RULES
from domain.compliance_text import CONTEXT, Vocabulary, around, normalise, readings
from domain.model import Model

__all__ = [
    "MAX_ALIKE",
    "MAX_TEXT_CHARACTERS",
    "RULES",
    "SCREENING",
    "ComplianceLevel",
    "ComplianceReport",
    "Rule",
    "Severity",
    "Violation",
    "check",
    "normalise",
    "prepare",
]


class ComplianceLevel(StrEnum):
    """How much a person sees: everything, what scores low, or only what breaks a rule."""

    STRICT = "strict"
    MODERATE = "moderate"
    RELAXED = "relaxed"


SCREENING: dict[ComplianceLevel, str] = {
    ComplianceLevel.STRICT: "strict_ban",
    ComplianceLevel.MODERATE: "risky",
    ComplianceLevel.RELAXED: "replace_soften",
}
"""The gateway's own screening for banned words (``blockBannedWords``) that goes with each level."""


class ComplianceReport(Model):
    """The outcome of ``check``."""

    score: float = Field(ge=0, le=1)
    violations: tuple[Violation, ...] = ()
    moderated: bool | None = Field(
        default=None,
        description="whether the provider's moderation saw the text; false: it gave no answer, null: it was not asked",
    )

    @property
    def blocked(self) -> bool:
        """Whether the text must never be sent."""
        return any(violation.severity is Severity.BLOCK for violation in self.violations)


MAX_ALIKE: Final = 10
"""So many earlier messages of a campaign may be near-identical to one; with more it is a blast."""

TEXT_RULES: Final = (
    *CONTACT_RULES,
    *PAYMENT_RULES,
    *MINOR_RULES,
    *MEETING_RULES,
    *HARM_RULES,
    *TABOO_RULES,
    *CRIME_RULES,
    *STYLE_RULES,
)
"""The rules that a text breaks by its words."""

_LENGTH: Final = Rule(
    id="text-length",
    clause="format",
    remedy=f"A message has between 1 and {MAX_TEXT_CHARACTERS} characters.",
)
_BLAST: Final = Rule(
    id="near-identical-blast",
    clause="spam",
    severity=Severity.WARN,
    remedy="Write each fan a message of their own: other words, not another name.",
)
_DISCLOSURE: Final = Rule(
    id="ai-disclosure",
    clause="transparency",
    severity=Severity.WARN,
    remedy="Say that AI helped to write the message: the law at the recipient's place asks for it.",
)

RULES: Final = (*TEXT_RULES, _LENGTH, _BLAST, _DISCLOSURE)

_WARN_PENALTY = 0.25
_MOST_READ = 4 * MAX_TEXT_CHARACTERS
"""Characters that are looked at. Longer texts are blocked anyway."""


def check(text: str, *, region: str = "", alike: int = 0) -> ComplianceReport:
    """Which rules ``text`` breaks. Score: 0 when anything blocks, else 1 minus 0.25 for each warning.

    ``region`` is where the recipient is, as ISO 3166 country or US state ("DE", "US-CA"); "" is unknown. ``alike`` is
    how many earlier messages of the same campaign are near-identical (``domain.similarity``).
    """
    plain = normalise(text[:_MOST_READ])
    broken = list(_broken_by_words(plain))
    if not plain.strip() or len(text) > MAX_TEXT_CHARACTERS:
        broken.append(_LENGTH)
    if alike > MAX_ALIKE:
        broken.append(_BLAST)
    if demands_disclosure(region) and not discloses(text):
        broken.append(_DISCLOSURE)
    violations = tuple(rule.violation for rule in broken)
    if any(violation.severity is Severity.BLOCK for violation in violations):
        return ComplianceReport(score=0.0, violations=violations)
    return ComplianceReport(score=max(0.0, 1.0 - _WARN_PENALTY * len(violations)), violations=violations)


def prepare() -> None:
    """Compile all patterns: about a second of work, which otherwise the first texts wait for."""
    _compiled()
    for rule in TEXT_RULES:
        rule.prepare()


class _Compiled(NamedTuple):
    vocabulary: Vocabulary
    screens: tuple[re.Pattern[str], ...]
    """Together they match whatever any rule matches, so that a harmless text is not gone through once a rule."""
    squeezed: re.Pattern[str]


@cache
def _compiled() -> _Compiled:
    return _Compiled(
        vocabulary=Vocabulary([word for rule in TEXT_RULES for word in rule.words]),
        screens=tuple(map(re.compile, _screens())),
        squeezed=re.compile("|".join(name for rule in TEXT_RULES for name in rule.squeezed)),
    )


def _screens() -> Iterator[str]:
    """All phrases in one expression, all patterns that begin with a word in another, every other pattern alone.

    One alternation of everything would be tried whole at every character: several times the work.
    """
    patterns = [pattern for rule in TEXT_RULES for pattern in rule.patterns]
    at_words = [pattern for pattern in patterns if pattern.startswith(r"\b")]
    yield phrase_expression(phrase for rule in TEXT_RULES for phrase in rule.listed)
    yield rf"\b(?=\w)(?:{'|'.join(at_words)})"
    yield from (pattern for pattern in patterns if pattern not in at_words)


def _suspect(screens: Sequence[re.Pattern[str]], read: Sequence[str]) -> Iterator[str]:
    """The parts of readings in which some rule may match, each match where it is read first."""
    seen: set[str] = set()
    for reading in read:
        matches = (match for screen in screens for match in screen.finditer(reading))
        found = sorted((match for match in matches if _surroundings(match) not in seen), key=re.Match.start)
        seen.update(map(_surroundings, found))
        parts: list[tuple[int, int]] = []
        for match in found:
            start, end = match.span()
            if parts and start - parts[-1][1] <= 2 * CONTEXT:
                first, last = parts.pop()
                start, end = first, max(last, end)
            parts.append((start, end))
        yield from (around(reading, start, end) for start, end in parts)


def _surroundings(match: re.Match[str]) -> str:
    """What decides whether a match is harmless."""
    return match.string[max(0, match.start() - CONTEXT // 2) : match.end() + CONTEXT // 2]


def _broken_by_words(plain: str) -> Iterator[Rule]:
    compiled = _compiled()
    read = readings(plain, compiled.vocabulary)
    suspect = list(_suspect(compiled.screens, read))
    split = [text.replace(" ", "") for text in read if not compiled.squeezed.search(text)]
    hidden = [letters for letters in split if compiled.squeezed.search(letters)]
    if not suspect and not hidden:
        return
    for rule in TEXT_RULES:
        if any(map(rule.matches, suspect)) or any(map(rule.matches_squeezed, hidden)):
            yield rule
