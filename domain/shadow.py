"""Shadow traffic: answers of the old and the new system to the same request, compared field by field."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from math import ceil
from typing import Any, Final, NamedTuple

from pydantic import Field

from domain.model import Model

MAX_FIELDS: Final = 200
"""Fields of one answer that are compared."""

MAX_DEPTH: Final = 8

KEPT_FOR: Final = timedelta(days=30)
"""A parity report looks back no further."""

MAX_COMPARISONS: Final = 10_000
"""Comparisons that one report counts."""

BY_TYPE_ONLY: Final = frozenset(
    {
        "header:x-duration",
        "header:x-provider",
        *(f"body.{part}.{name}" for part in ("data", "result") for name in ("id", "createdAt", "provider", "content")),
    }
)
"""Fields that must differ in value between two systems: only their type is compared."""

STATUSES: Final = frozenset({"body.data.status", "body.result.status"})
"""Fields that must differ as well where a campaign was only planned: sending it has another end."""

_CONNECTION: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "set-cookie", "transfer-encoding"}
)
"""Headers that say something about a server or a session, not about the request."""

_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z_-]{0,39}$")


class FieldParity(Model):
    """How often a field was the same. Values themselves are not kept: they may be personal."""

    field: str
    same: int = 0
    different_value: int = 0
    different_type: int = 0
    missing_in_hybrid: int = 0
    missing_in_legacy: int = 0
    by_type: int = Field(default=0, description="comparisons of its type alone: its value is expected to differ")

    @property
    def differing(self) -> int:
        """How often it was not the same."""
        return self.different_value + self.different_type + self.missing_in_hybrid + self.missing_in_legacy

    def __add__(self, other: "FieldParity") -> "FieldParity":
        return FieldParity(
            field=self.field,
            same=self.same + other.same,
            different_value=self.different_value + other.different_value,
            different_type=self.different_type + other.different_type,
            missing_in_hybrid=self.missing_in_hybrid + other.missing_in_hybrid,
            missing_in_legacy=self.missing_in_legacy + other.missing_in_legacy,
            by_type=self.by_type + other.by_type,
        )


class Comparison(Model):
    """One request that both systems answered. ``comparison_id`` makes a repetition harmless."""

    comparison_id: str
    at: datetime
    intent: str
    fields: tuple[FieldParity, ...]
    legacy_ms: float
    hybrid_ms: float
    cost_micros: int = Field(default=0, description="what the shadow run cost, in µ$")
    error: str = Field(default="", description="class of what went wrong in the shadow run; empty: it answered")


class ComparedAnswer(NamedTuple):
    """One system's answer: headers by lower-case name, and the body as JSON."""

    status: int
    headers: Mapping[str, str]
    body: object


class Latencies(Model):
    """In ms; ``None``: nothing was measured."""

    p50: float | None = None
    p95: float | None = None


class IntentParity(Model):
    """Runs of one intent, and how many of them answered alike in every field."""

    intent: str
    runs: int
    answered: int
    alike: int


class ParityReport(Model):
    """What shadow runs have shown."""

    since: datetime = Field(description="of the runs that are counted here; later than asked for when that is too far")
    truncated: bool = Field(description="there were more runs than are counted: `since` is that of the oldest counted")
    runs: int
    answered: int = Field(description="runs that had an answer to compare")
    alike: int = Field(description="of those, alike in every field")
    errors: dict[str, int] = Field(description="runs without an answer, by class")
    cost_micros: int = Field(description="of all runs, in µ$")
    legacy_latency: Latencies
    hybrid_latency: Latencies
    fields: tuple[FieldParity, ...] = Field(description="those that differ most often first")
    intents: tuple[IntentParity, ...] = Field(description="by what was asked for; what would send was only planned")


def compare(
    legacy: ComparedAnswer, hybrid: ComparedAnswer, *, by_type: frozenset[str] = frozenset()
) -> tuple[FieldParity, ...]:
    """Every field of either answer; those whose value is expected to differ, and ``by_type``, by type only."""
    left, right = _fields(legacy), _fields(hybrid)
    names = sorted(left.keys() | right.keys())
    return tuple(_parity(name, left, right, by_type=name in BY_TYPE_ONLY | by_type) for name in names)


def parity(comparisons: Sequence[Comparison], since: datetime, *, most: int = MAX_COMPARISONS) -> ParityReport:
    """The newest ``most`` comparisons in one table; they come newest first."""
    truncated = len(comparisons) > most
    if truncated:
        comparisons = comparisons[:most]
        since = comparisons[-1].at
    answered = [each for each in comparisons if not each.error]
    fields: dict[str, FieldParity] = {}
    for each in (field for comparison in answered for field in comparison.fields):
        fields[each.field] = fields[each.field] + each if each.field in fields else each
    return ParityReport(
        since=since,
        truncated=truncated,
        runs=len(comparisons),
        answered=len(answered),
        alike=sum(map(_alike, answered)),
        errors=dict(Counter(each.error for each in comparisons if each.error).most_common()),
        cost_micros=sum(each.cost_micros for each in comparisons),
        legacy_latency=_latencies([each.legacy_ms for each in answered]),
        hybrid_latency=_latencies([each.hybrid_ms for each in answered]),
        fields=tuple(sorted(fields.values(), key=lambda each: (-each.differing, each.field))),
        intents=tuple(_of_intent(name, comparisons) for name in sorted({each.intent for each in comparisons})),
    )


def _of_intent(intent: str, comparisons: Sequence[Comparison]) -> IntentParity:
    runs = [each for each in comparisons if each.intent == intent]
    answered = [each for each in runs if not each.error]
    return IntentParity(intent=intent, runs=len(runs), answered=len(answered), alike=sum(map(_alike, answered)))


def _alike(comparison: Comparison) -> bool:
    return not any(field.differing for field in comparison.fields)


def _latencies(values: Sequence[float]) -> Latencies:
    ordered = sorted(values)
    if not ordered:
        return Latencies()
    p50, p95 = (ordered[ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Latencies(p50=p50, p95=p95)


def _fields(answer: ComparedAnswer) -> dict[str, object]:
    headers = {f"header:{name}": text for name, text in answer.headers.items() if name not in _CONNECTION}
    body = dict(islice(_leaves("body", answer.body, 0), MAX_FIELDS))
    return {"status": answer.status, **headers, **body}


def _leaves(path: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    """Objects are gone into; a list counts as a whole, and an empty object as a field of its own."""
    if isinstance(value, dict) and value and depth < MAX_DEPTH:
        for name, inner in _named(value):
            yield from _leaves(f"{path}.{name}", inner, depth + 1)
    else:
        yield path, value


def _named(value: dict[Any, Any]) -> Iterator[tuple[str, object]]:
    """Names that are data themselves, such as a fan's id, are not kept: they are numbered in their own order."""
    hidden = sorted((name for name in value if not _is_safe(name)), key=str)
    numbers = {name: f"*{number}" for number, name in enumerate(hidden, start=1)}
    for name, inner in value.items():
        yield numbers.get(name, name), inner


def _is_safe(name: Any) -> bool:
    return isinstance(name, str) and _NAME.match(name) is not None


def _parity(name: str, legacy: Mapping[str, object], hybrid: Mapping[str, object], *, by_type: bool) -> FieldParity:
    seen = partial(FieldParity, field=name, by_type=int(by_type))
    if name not in hybrid:
        return seen(missing_in_hybrid=1)
    if name not in legacy:
        return seen(missing_in_legacy=1)
    ours, theirs = hybrid[name], legacy[name]
    if _kind(ours) != _kind(theirs):
        return seen(different_type=1)
    if by_type or ours == theirs:
        return seen(same=1)
    return seen(different_value=1)


def _kind(value: object) -> str:
    """The JSON type: 1 and 1.0 are both numbers, true is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__
