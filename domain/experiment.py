"""Sticky A/B between models: which arm a campaign or fan is in, and what is known of each arm's results.

An arm is chosen by a hash of the experiment's salt and the unit, so that the same unit always gets the same arm, in
every process, without anything being stored. Results are sums by arm; means, intervals and differences follow from
them. Intervals are those of a sample whose size was settled in advance and whose values are independent of each
other: stopping at the first difference that shows finds differences that are not there.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from math import sqrt
from statistics import NormalDist
from typing import Annotated

from pydantic import Field, FiniteFloat

from domain.flag_evaluation import BUCKETS, bucket
from domain.model import Model

ENOUGH = 30
"""Values that an arm needs before anything is said beyond its mean. With fewer, the mean of values as skewed as costs
and latencies is too far from normally distributed for Student's t."""

CONFIDENCE = 0.95

_PARTS = 1_000_000


class Metric(StrEnum):
    """What is observed of an arm. Satisfaction: 1 approved as written, 0.5 approved after an edit, 0 rejected."""

    COST_MICROS = "cost_micros"
    LATENCY_MS = "latency_ms"
    QUALITY = "quality"
    COMPLIANCE = "compliance"
    SATISFACTION = "satisfaction"


LESS_IS_BETTER = frozenset({Metric.COST_MICROS, Metric.LATENCY_MS})


class ArmObservation(Model):
    """Values of one call or message; added once per ``observation_id``."""

    observation_id: str
    experiment: str
    arm: str
    values: dict[Metric, Annotated[FiniteFloat, Field(ge=0, le=1e9)]]


class MetricTotals(Model):
    """The sums that mean, variance and their confidence interval follow from.

    Integers, and so exact: ``total`` in millionths of the metric's unit, ``squares`` in squares of such millionths.
    """

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, value: float) -> "MetricTotals":
        """One value, to six decimal places."""
        millionths = round(value * _PARTS)
        return cls(count=1, total=millionths, squares=millionths**2)

    def __add__(self, other: "MetricTotals") -> "MetricTotals":
        return MetricTotals(
            count=self.count + other.count,
            total=self.total + other.total,
            squares=self.squares + other.squares,
        )

    @property
    def mean(self) -> float | None:
        """``None`` without values."""
        return self.total / (self.count * _PARTS) if self.count else None

    @property
    def variance(self) -> float | None:
        """Of the population, estimated from this sample; ``None`` below two values.

        In whole numbers to the last step: the difference of two large sums of floats may be nothing but rounding.
        """
        if self.count < 2:
            return None
        deviations = self.count * self.squares - self.total**2
        return deviations / (self.count * (self.count - 1) * _PARTS**2)


class ArmTotals(Model):
    """Everything observed of one arm."""

    arm: str
    metrics: dict[Metric, MetricTotals] = Field(default_factory=dict)


class Interval(Model):
    """Both ends of a 95 % confidence interval."""

    low: float
    high: float


class MetricResult(Model):
    """One metric of one arm, in the metric's unit (µ$, ms, or a score from 0 to 1)."""

    count: int
    mean: float | None = Field(description="null: nothing was observed")
    deviation: float | None = Field(description="standard deviation; null below two values")
    interval: Interval | None = Field(
        description=f"of the mean, at 95 %; null: not enough data, which is below {ENOUGH} values or all of them equal"
    )


class Verdict(StrEnum):
    """What a difference to the baseline means. ``undecided``: its interval holds 0."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    NOT_ENOUGH_DATA = "not_enough_data"


class Difference(Model):
    """An arm's mean minus the baseline's. Less is better of costs and latencies, more of everything else."""

    difference: float | None = Field(description="null: one of the two has no values")
    interval: Interval | None = Field(description="at 95 %; null: not enough data")
    verdict: Verdict


class ArmResult(Model):
    """What is known of an arm. ``to_baseline`` is empty for the baseline itself."""

    arm: str
    metrics: dict[Metric, MetricResult]
    to_baseline: dict[Metric, Difference]


def weighted(salt: str, unit: str, weights: tuple[int, ...]) -> int:
    """The position that a unit falls on, in proportion to the weights, in steps of 0.01 %.

    Raises ``ValueError`` when no weight is above 0.
    """
    bounds = list(accumulate(weights))
    if not bounds or bounds[-1] <= 0:
        raise ValueError("weights: at least one must be above 0")
    place = bucket(salt, unit) * bounds[-1]
    return next(position for position, bound in enumerate(bounds) if place < bound * BUCKETS)


def results(baseline: str | None, arms: Sequence[str], totals: Sequence[ArmTotals]) -> tuple[ArmResult, ...]:
    """Every arm in the order of ``arms``, then those that only have totals; each compared with ``baseline``."""
    found: Mapping[str, Mapping[Metric, MetricTotals]] = {each.arm: each.metrics for each in totals}
    listed = dict.fromkeys((*arms, *sorted(found)))
    compared = found.get(baseline, {}) if baseline is not None else {}
    return tuple(
        ArmResult(
            arm=arm,
            metrics={metric: described(found.get(arm, {}).get(metric, MetricTotals())) for metric in Metric},
            to_baseline={
                metric: difference(
                    metric, compared.get(metric, MetricTotals()), found.get(arm, {}).get(metric, MetricTotals())
                )
                for metric in Metric
            }
            if baseline is not None and arm != baseline
            else {},
        )
        for arm in listed
    )


def described(totals: MetricTotals) -> MetricResult:
    """Count, mean, standard deviation, and the interval of the mean by Student's t."""
    mean, variance = totals.mean, totals.variance
    interval = None
    if mean is not None and variance and totals.count >= ENOUGH:
        interval = _around(mean, sqrt(variance / totals.count), totals.count - 1)
    return MetricResult(
        count=totals.count,
        mean=mean,
        deviation=None if variance is None else sqrt(variance),
        interval=interval,
    )


def difference(metric: Metric, baseline: MetricTotals, arm: MetricTotals) -> Difference:
    """The arm's mean minus the baseline's, with Welch's interval: their variances may differ."""
    if baseline.mean is None or arm.mean is None:
        return Difference(difference=None, interval=None, verdict=Verdict.NOT_ENOUGH_DATA)
    delta = arm.mean - baseline.mean
    samples = [(each.variance or 0.0) / each.count for each in (baseline, arm)]
    if min(baseline.count, arm.count) < ENOUGH or not sum(samples):
        return Difference(difference=delta, interval=None, verdict=Verdict.NOT_ENOUGH_DATA)
    # The Welch-Satterthwaite equation, by shares of the variance, so that nothing under- or overflows.
    shares = [each / sum(samples) for each in samples]
    freedom = 1 / sum(share**2 / (each.count - 1) for share, each in zip(shares, (baseline, arm), strict=True))
    interval = _around(delta, sqrt(sum(samples)), freedom)
    return Difference(difference=delta, interval=interval, verdict=_verdict(metric, interval))


def student_t(freedom: float) -> float:
    """The two-sided 95 % quantile of Student's t; ``freedom`` from 10 on, where it is exact to 0.0001.

    The expansion of Cornish and Fisher (Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5).
    """
    x = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160,
    )
    return x + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def _around(middle: float, standard_error: float, freedom: float) -> Interval:
    half = student_t(freedom) * standard_error
    return Interval(low=middle - half, high=middle + half)


def _verdict(metric: Metric, interval: Interval) -> Verdict:
    if interval.low <= 0 <= interval.high:
        return Verdict.UNDECIDED
    return Verdict.BETTER if (interval.high < 0) == (metric in LESS_IS_BETTER) else Verdict.WORSE
