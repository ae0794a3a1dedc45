"""Rules over outbound text, and two scores between 0 and 1.

The rules are data: an id, the clause that they enforce, a severity, a pattern, and what the writer should do
instead. ``check`` runs before a message is reviewed and again right before it is sent, so no path around it
exists. Clauses refer to the platform's acceptable-use policy as summarised in docs/compliance.md.
"""

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache

from pydantic import Field

from domain.model import Model

MAX_TEXT_CHARACTERS = 1_000


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


class Severity(StrEnum):
    """``block``: never sent. ``warn``: lowers the score, which may send it to review."""

    BLOCK = "block"
    WARN = "warn"


class Rule(Model):
    """One rule. ``pattern`` is matched on normalised lower-case text."""

    id: str
    clause: str
    severity: Severity
    pattern: str
    remedy: str


class Violation(Model):
    """A rule that a text breaks, and what to do instead. Never carries the text itself."""

    rule_id: str
    clause: str
    severity: Severity
    remedy: str


class ComplianceReport(Model):
    """The outcome of ``check``."""

    score: float = Field(ge=0, le=1)
    violations: tuple[Violation, ...] = ()

    @property
    def blocked(self) -> bool:
        """Whether the text must never be sent."""
        return any(violation.severity is Severity.BLOCK for violation in self.violations)


RULES: tuple[Rule, ...] = (
    Rule(
        id="contact-email",
        clause="contact-details",
        severity=Severity.BLOCK,
        pattern=r"[\w.+-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+\s?(?:\.|\(dot\)|\[dot\])\s?[a-z]{2,}",
        remedy="Remove the e-mail address; keep the conversation on the platform.",
    ),
    Rule(
        id="contact-phone",
        clause="contact-details",
        severity=Severity.BLOCK,
        pattern=r"(?<![\w.])(?:\+|00)?\d(?:[\s().-]{0,2}\d){8,13}(?![\w])",
        remedy="Remove the phone number; keep the conversation on the platform.",
    ),
    Rule(
        id="contact-link",
        clause="contact-details",
        severity=Severity.BLOCK,
        pattern=r"(?:https?://|www\.)\S+|\b[\w-]{2,}\.(?:com|net|org|io|me|ly|gg|link|xyz)\b",
        remedy="Remove the link; media and offers belong into the platform's own fields.",
    ),
    Rule(
        id="contact-messenger",
        clause="contact-details",
        severity=Severity.BLOCK,
        pattern=r"\b(?:whats\s?app|telegram|snap\s?chat|kik|signal me|insta(?:gram)?|discord|we\s?chat)\b",
        remedy="Do not name other messengers or networks.",
    ),
    Rule(
        id="off-platform-payment",
        clause="payments",
        severity=Severity.BLOCK,
        pattern=r"\b(?:pay\s?pal|cash\s?app|venmo|zelle|revolut|western union|bitcoin|crypto|"
        r"gift\s?cards?|bank transfer|virement|überweisung|transferencia bancaria)\b",
        remedy="Payments stay on the platform: offer a tip or a paid message instead.",
    ),
    Rule(
        id="meet-up",
        clause="meetings-and-escorting",
        severity=Severity.BLOCK,
        pattern=r"\b(?:meet (?:up|me|in person)|my hotel|escort\w*|come over tonight|"
        r"se (?:voir|rencontrer) en vrai|treffen wir uns|nos vemos en persona)\b",
        remedy="Do not offer or suggest meeting in person.",
    ),
    Rule(
        id="minors",
        clause="minors",
        severity=Severity.BLOCK,
        pattern=r"\b(?:under\s?age|minors?|school\s?girl|school\s?boy|lolita|pre\s?teen|"
        r"(?:1[0-7]|[1-9])\s?(?:years? old|yo|ans|jahre alt|años))\b",
        remedy="Nothing that refers to or suggests a minor may be sent.",
    ),
    Rule(
        id="pressure",
        clause="deceptive-practices",
        severity=Severity.WARN,
        pattern=r"\b(?:last chance|act now|only today|guaranteed|final warning|dernière chance|letzte chance)\b",
        remedy="Say what is offered without false urgency or guarantees.",
    ),
    Rule(
        id="shouting",
        clause="spam",
        severity=Severity.WARN,
        pattern=r"(?:!{3,}|\${2,})",
        remedy="One exclamation mark is enough.",
    ),
)

_WARN_PENALTY = 0.25
_INVISIBLE_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))


@lru_cache(maxsize=1)
def _compiled() -> tuple[tuple[Rule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rule.pattern)) for rule in RULES)


def normalise(text: str) -> str:
    """Lower-case text in compatibility form, without invisible characters, so that disguises match too."""
    # Before, because a hidden sign keeps an accent from its letter; after, because some forms turn into hidden ones.
    return _visible(unicodedata.normalize("NFKC", _visible(text))).casefold()


def _visible(text: str) -> str:
    return "".join(sign for sign in text if not _is_invisible(sign))


def _is_invisible(sign: str) -> bool:
    """Format characters (joiners, direction marks, tags) and the few marks and letters that show nothing."""
    return unicodedata.category(sign) == "Cf" or sign in _INVISIBLE_MARKS


def check(text: str) -> ComplianceReport:
    """Which rules ``text`` breaks. Score: 0 when anything blocks, else 1 minus 0.25 for each warning."""
    normalised = normalise(text)
    violations = [
        Violation(rule_id=rule.id, clause=rule.clause, severity=rule.severity, remedy=rule.remedy)
        for rule, pattern in _compiled()
        if pattern.search(normalised)
    ]
    if not normalised.strip() or len(text) > MAX_TEXT_CHARACTERS:
        violations.append(
            Violation(
                rule_id="text-length",
                clause="format",
                severity=Severity.BLOCK,
                remedy=f"A message has between 1 and {MAX_TEXT_CHARACTERS} characters.",
            )
        )
    if any(violation.severity is Severity.BLOCK for violation in violations):
        return ComplianceReport(score=0.0, violations=tuple(violations))
    return ComplianceReport(score=max(0.0, 1.0 - _WARN_PENALTY * len(violations)), violations=tuple(violations))


def quality_score(text: str, name: str) -> float:
    """How well a message reads, between 0 and 1: cheap, deterministic, the mean of three parts.

    Personalisation: 1 when the recipient's name occurs, else 0. Length: 1 from 40 to 400 characters, falling
    linearly to 0 at 0 and 800. Variety: distinct words as a share of all words, 0.5 counts as 1.
    """
    words = re.findall(r"\w+", text.casefold())
    if not words:
        return 0.0
    personal = 1.0 if name.casefold() in text.casefold() else 0.0
    size = len(text)
    length = size / 40 if size < 40 else 1.0 if size <= 400 else max(0.0, (800 - size) / 400)
    variety = min(1.0, 2 * len(set(words)) / len(words))
    return round((personal + length + variety) / 3, 4)
