"""What was observed of routed requests, as sums by arm: exact, and the same in whatever order they were added.

Latencies are counted in logarithmic classes, each 5 % wider than the one before it, so that a quantile of any time and
of any number of processes follows from sums, at most 5 % too high.
"""

from bisect import bisect_left
from collections.abc import Hashable, Mapping
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import TypeVar

from pydantic import Field

from domain.model import Model

MICROS = 1_000_000
"""Parts of a score: 1.0 is counted as a million."""

LATENCY_BOUNDS_MS: tuple[float, ...] = tuple(1.05**power for power in range(311))
"""The highest latency of each class, in ms: 1 ms of the first, about an hour of the last, which holds the rest."""

_LAST_CLASS = len(LATENCY_BOUNDS_MS) - 1

Key = TypeVar("Key", bound=Hashable)


class Arm(StrEnum):
    """Which side of a flag a request was on."""

    BASELINE = "baseline"
    CANARY = "canary"


class Observation(Model):
    """One routed request. ``error``: its class, empty when it went well. A request that the new system failed and the
    old one then answered is an error of the canary."""

    flag: str
    arm: Arm
    at: datetime
    latency_ms: float = Field(ge=0)
    error: str = ""
    cost_micros: int | None = Field(default=None, description="null: not known")
    compliance: float | None = Field(default=None, ge=0, le=1, description="null: nothing was checked")


class Sums(Model):
    """Count, sum and sum of squares, in whole numbers: µ$ of a cost, millionths of a score."""

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, value: int | None) -> "Sums":
        """One value; nothing of ``None``."""
        return cls() if value is None else cls(count=1, total=value, squares=value**2)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            count=self.count + other.count, total=self.total + other.total, squares=self.squares + other.squares
        )

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            count=self.count - other.count, total=self.total - other.total, squares=self.squares - other.squares
        )

    def __or__(self, other: "Sums") -> "Sums":
        """The higher of each number."""
        return Sums(
            count=max(self.count, other.count),
            total=max(self.total, other.total),
            squares=max(self.squares, other.squares),
        )

    @property
    def mean(self) -> float | None:
        """In the unit of the sum; ``None`` without values."""
        return self.total / self.count if self.count > 0 else None


class ArmCounts(Model):
    """Everything observed of an arm in some time. ``latencies``: requests by latency class (``latency_class``).

    Of two counts, ``+`` is both together, ``-`` what one has on top of the other, ``|`` the higher of each number.
    """

    requests: int = 0
    errors: dict[str, int] = Field(default_factory=dict, description="by class")
    latencies: dict[int, int] = Field(default_factory=dict)
    cost: Sums = Sums()
    compliance: Sums = Sums()

    @classmethod
    def of(cls, observation: Observation) -> "ArmCounts":
        """One request."""
        score = observation.compliance
        return cls(
            requests=1,
            errors={observation.error: 1} if observation.error else {},
            latencies={latency_class(observation.latency_ms): 1},
            cost=Sums.of(observation.cost_micros),
            compliance=Sums.of(None if score is None else round(score * MICROS)),
        )

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            requests=self.requests + other.requests,
            errors=_added(self.errors, other.errors, 1),
            latencies=_added(self.latencies, other.latencies, 1),
            cost=self.cost + other.cost,
            compliance=self.compliance + other.compliance,
        )

    def __sub__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            requests=self.requests - other.requests,
            errors=_added(self.errors, other.errors, -1),
            latencies=_added(self.latencies, other.latencies, -1),
            cost=self.cost - other.cost,
            compliance=self.compliance - other.compliance,
        )

    def __or__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            requests=max(self.requests, other.requests),
            errors=_highest(self.errors, other.errors),
            latencies=_highest(self.latencies, other.latencies),
            cost=self.cost | other.cost,
            compliance=self.compliance | other.compliance,
        )

    @property
    def failed(self) -> int:
        """Requests with an error of any class."""
        return sum(self.errors.values())

    @property
    def error_rate(self) -> float | None:
        """From 0 to 1; ``None`` without requests."""
        return self.failed / self.requests if self.requests > 0 else None

    def slower_than(self, klass: int) -> int:
        """Requests above a latency class."""
        return sum(number for each, number in self.latencies.items() if each > klass)

    def quantile_class(self, share: float) -> int | None:
        """The lowest latency class that at least ``share`` of the requests do not exceed; ``None`` without any."""
        below, needed = 0, max(1, ceil(share * sum(self.latencies.values())))
        for klass in sorted(self.latencies):
            below += self.latencies[klass]
            if below >= needed:
                return klass
        return None

    def quantile(self, share: float) -> float | None:
        """The latency in ms that ``share`` of the requests do not exceed, rounded up to the bound of its class."""
        klass = self.quantile_class(share)
        return None if klass is None else latency_bound_ms(klass)


class MinuteCounts(Model):
    """One arm in one UTC minute. ``epoch`` names the memory that counted: a Redis that lost its data begins another,
    and both count."""

    flag: str
    arm: Arm
    minute: datetime
    epoch: str
    counts: ArmCounts


class Observed(Model):
    """Both arms over the same time. ``fresh_at``: when the newest request was counted; ``None``: none was."""

    baseline: ArmCounts = ArmCounts()
    canary: ArmCounts = ArmCounts()
    fresh_at: datetime | None = None

    def __add__(self, other: "Observed") -> "Observed":
        return Observed(
            baseline=self.baseline + other.baseline,
            canary=self.canary + other.canary,
            fresh_at=_latest(self.fresh_at, other.fresh_at),
        )

    def __sub__(self, other: "Observed") -> "Observed":
        """What came on top of ``other``, with this one's ``fresh_at``."""
        return Observed(
            baseline=self.baseline - other.baseline, canary=self.canary - other.canary, fresh_at=self.fresh_at
        )

    def __or__(self, other: "Observed") -> "Observed":
        return Observed(
            baseline=self.baseline | other.baseline,
            canary=self.canary | other.canary,
            fresh_at=_latest(self.fresh_at, other.fresh_at),
        )

    @property
    def requests(self) -> int:
        """Of both arms."""
        return self.baseline.requests + self.canary.requests


def latency_class(ms: float) -> int:
    """The class of a latency: the lowest whose bound is not below it, so a class holds ``(bound / 1.05, bound]``."""
    return min(bisect_left(LATENCY_BOUNDS_MS, ms), _LAST_CLASS)


def latency_bound_ms(klass: int) -> float:
    """The highest latency of a class; of the last class the least that is certain."""
    return LATENCY_BOUNDS_MS[min(max(klass, 0), _LAST_CLASS)]


def _added(these: Mapping[Key, int], those: Mapping[Key, int], sign: int) -> dict[Key, int]:
    sums = dict(these)
    for key, number in those.items():
        sums[key] = sums.get(key, 0) + sign * number
    return {key: number for key, number in sums.items() if number}


def _highest(these: Mapping[Key, int], those: Mapping[Key, int]) -> dict[Key, int]:
    return {key: max(these.get(key, 0), those.get(key, 0)) for key in {**these, **those}}


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)
