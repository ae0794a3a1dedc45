"""Rules over outbound text as data, and how one is matched.

A rule lists phrases by language, in natural spelling. In a phrase
- a space stands for what is between two words of a sentence, or nothing: ``pay pal`` finds "PayPal", "pay 💸 pal";
- ``*`` stands for the rest of a word: ``hypnoti*`` finds "hypnotising";
- ``…`` stands for up to 20 characters of the same sentence, or none;
- ``$`` is the end of a sentence or of the text;
- ``(a|b)`` is a choice, and ``?`` makes what stands before it optional, ``(…)*`` allows up to three of it.
Accents and capitals do not matter. What needs more than that is a regular expression over a reading, in
``patterns``. ``harmless`` are phrases and expressions that a text may hold although a rule would match within them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property

from pydantic import Field

from domain.compliance_text import by_prefix, without_accents
from domain.model import Model


class Severity(StrEnum):
    """``block``: never sent. ``warn``: lowers the score, which may send it to review."""

    BLOCK = "block"
    WARN = "warn"


class Violation(Model):
    """A rule that a text breaks, and what to do instead. Never carries the text itself."""

    rule_id: str
    clause: str
    severity: Severity
    remedy: str


class Rule(Model):
    """One rule: the clause of the platform's policy that it stands for, what it matches, what the writer should do.

    ``phrases`` are by language (``any``: names that are the same everywhere). ``squeezed`` are names so telling that
    they are also found when spaces are put anywhere into them.
    """

    id: str
    clause: str
    severity: Severity = Severity.BLOCK
    remedy: str
    phrases: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    squeezed: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Compile the patterns, which otherwise happens when they are first needed."""
        _ = self._matcher, self._harmless

    def matches(self, reading: str) -> bool:
        """Whether a reading of a text breaks the rule."""
        if not self._matcher.search(reading):
            return False
        return self._harmless is None or bool(self._matcher.search(self._harmless.sub(" | ", reading)))

    def matches_squeezed(self, letters: str) -> bool:
        """The same for a text without its white space, by the names that are found even so."""
        return any(re.search(name, letters) for name in self.squeezed)

    @cached_property
    def violation(self) -> Violation:
        """What a text that breaks the rule is told."""
        return Violation(rule_id=self.id, clause=self.clause, severity=self.severity, remedy=self.remedy)

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """The regular expressions that together are the rule."""
        return (*((phrase_expression(self.listed),) if self.listed else ()), *self.patterns)

    @property
    def listed(self) -> tuple[str, ...]:
        """The phrases of all languages."""
        return tuple(phrase for phrases in self.phrases.values() for phrase in phrases)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What short phrases say, without spaces: plain letters, at least four."""
        short = (without_accents(phrase.replace(" ", "")) for phrase in self.listed if len(phrase) <= _SHORT)
        words = (word.rstrip("*") for phrase in short for word in _words(phrase))
        return tuple(word for word in words if word.isalpha() and word.isascii() and len(word) >= 4)

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return re.compile("|".join(self.expressions))

    @cached_property
    def _harmless(self) -> re.Pattern[str] | None:
        return re.compile(phrase_expression(self.harmless)) if self.harmless else None


_LEADING_GAP = re.compile(r"^(?: \??)+")
_SHORT = 32
"""Characters up to which a phrase is looked for in disguises that hide a part of it."""
_GAP = "[ -]?"
_NOTATION = {")*": "){0,3}", " ": _GAP, "*": "[a-z]*", "…": "[^.!?]{0,20}?", "'": _GAP, "$": "(?= ?(?:[^a-z0-9 ]|$))"}


def phrase_expression(phrases: Iterable[str]) -> str:
    """One regular expression for all phrases, matched as whole words."""
    written_out = (simple for phrase in phrases for simple in _written_out(phrase))
    return f"(?<![a-z0-9])(?:{by_prefix(_expression(simple) for simple in written_out)})(?![a-z0-9])"


def _written_out(phrase: str) -> Iterator[str]:
    """The phrase for each choice at its start, so that as many as possible start with a letter."""
    if phrase.startswith("("):
        choices, rest = _first_group(phrase)
        if rest.startswith("*"):
            yield phrase
            return
        if rest.startswith("?"):
            choices, rest = (*choices, ""), rest[1:]
        for choice in choices:
            yield from _written_out(_LEADING_GAP.sub("", choice + rest))
    elif phrase[1:2] == "?":
        yield from _written_out(phrase[0] + phrase[2:])
        yield from _written_out(_LEADING_GAP.sub("", phrase[2:]))
    else:
        yield phrase


def _words(phrase: str) -> Iterator[str]:
    """The phrase for each of its choices."""
    before, opened, group = phrase.partition("(")
    if opened:
        choices, rest = _first_group(opened + group)
        optional = rest[:1] in {"?", "*"}
        for choice in (*choices, "") if optional else choices:
            yield from _words(before + choice + (rest[1:] if optional else rest))
    elif "?" in phrase:
        kept, _, rest = phrase.partition("?")
        yield from _words(kept + rest)
        yield from _words(kept[:-1] + rest)
    else:
        yield phrase


def _first_group(phrase: str) -> tuple[tuple[str, ...], str]:
    """The choices of the group that ``phrase`` starts with, and what follows the group."""
    choices: list[str] = []
    depth, start = 0, 1
    for place, sign in enumerate(phrase):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return (*choices, phrase[start:place]), phrase[place + 1 :]
        if depth == 1 and sign == "|":
            choices.append(phrase[start:place])
            start = place + 1
    raise ValueError(f"a group is not closed: {phrase}")


def _expression(phrase: str) -> str:
    folded = without_accents(phrase)
    grouped = re.sub(r"\((?!\?)", "(?:", folded)
    return re.sub(r"\)\*|[ *…$']", lambda sign: _NOTATION[sign[0]], grouped)
