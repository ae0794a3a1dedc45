"""Arms that never change, and statistics that a textbook confirms."""

import math
from collections import Counter
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.experiment import (
    ENOUGH,
    ArmObservation,
    ArmTotals,
    Interval,
    Metric,
    MetricTotals,
    Verdict,
    described,
    difference,
    results,
    student_t,
    weighted,
)

weights = st.lists(st.integers(0, 1_000), min_size=1, max_size=6).filter(any).map(tuple)
scores = st.floats(0, 1e6, allow_nan=False)


def totals(values: list[float]) -> MetricTotals:
    return sum((MetricTotals.of(value) for value in values), MetricTotals())


def holds(interval: Interval | None, value: float) -> bool:
    return interval is not None and interval.low <= value <= interval.high


class TestWeighted:
    @given(salt=st.text(), unit=st.text(), weights=weights)
    def test_the_position_exists_has_a_weight_and_stays(self, salt: str, unit: str, weights: tuple[int, ...]) -> None:
        position = weighted(salt, unit, weights)
        assert weights[position] > 0
        assert weighted(salt, unit, weights) == position

    @given(salt=st.text(), unit=st.text(), weights=weights, factor=st.integers(1, 1_000))
    def test_only_proportions_count(self, salt: str, unit: str, weights: tuple[int, ...], factor: int) -> None:
        scaled = tuple(weight * factor for weight in weights)
        assert weighted(salt, unit, scaled) == weighted(salt, unit, weights)

    @given(salt=st.text(), unit=st.text(), first=st.integers(0, 99), more=st.integers(0, 99))
    def test_who_has_the_first_arm_keeps_it_when_its_share_grows(
        self, salt: str, unit: str, first: int, more: int
    ) -> None:
        grown = min(100, first + more)
        if weighted(salt, unit, (first, 100 - first)) == 0:
            assert weighted(salt, unit, (grown, 100 - grown)) == 0

    def test_shares_follow_the_weights(self) -> None:
        counts = Counter(weighted("ramp", str(unit), (1, 0, 3, 6)) for unit in range(20_000))
        shares = [counts[position] / 20_000 for position in range(4)]
        assert shares == pytest.approx([0.1, 0, 0.3, 0.6], abs=0.015)

    @pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
    def test_without_any_weight_there_is_no_choice(self, weights: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="above 0"):
            weighted("salt", "unit", weights)


class TestObservation:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e10])
    def test_a_value_that_would_spoil_the_sums_is_refused(self, value: float) -> None:
        with pytest.raises(ValidationError):
            ArmObservation(observation_id="1", experiment="e", arm="a", values={Metric.LATENCY_MS: value})


class TestTotals:
    @given(values=st.lists(scores, min_size=2, max_size=50))
    def test_mean_and_variance_are_those_of_the_values(self, values: list[float]) -> None:
        kept = [round(value, 6) for value in values]
        found = totals(values)
        assert found.count == len(values)
        assert found.mean == pytest.approx(fmean(kept))
        assert found.variance is not None
        assert math.sqrt(found.variance) == pytest.approx(stdev(kept), rel=1e-9, abs=1e-9)

    @given(values=st.lists(scores, min_size=1, max_size=20), cut=st.integers(0, 20))
    def test_sums_may_be_added_in_parts(self, values: list[float], cut: int) -> None:
        parts = totals(values[:cut]) + totals(values[cut:])
        assert parts == totals(values)

    def test_small_variations_of_large_values_are_not_lost_to_rounding(self) -> None:
        """With sums of floats the variance of these would be 0 or negative."""
        found = totals([100_000_000.0 + tenth / 10 for tenth in range(10)] * 100)
        assert found.variance == pytest.approx(0.0825 * 1_000 / 999)

    def test_nothing_and_one_value(self) -> None:
        assert (MetricTotals().mean, MetricTotals().variance) == (None, None)
        assert (MetricTotals.of(2).mean, MetricTotals.of(2).variance) == (2.0, None)


class TestStudentT:
    @pytest.mark.parametrize(
        ("freedom", "published"),
        [(10, 2.2281), (15, 2.1314), (20, 2.0860), (29, 2.0452), (40, 2.0211), (60, 2.0003), (120, 1.9799)],
    )
    def test_it_is_the_published_table(self, freedom: float, published: float) -> None:
        assert student_t(freedom) == pytest.approx(published, abs=0.0001)

    def test_it_ends_at_the_normal_distribution(self) -> None:
        assert student_t(1e9) == pytest.approx(1.959964, abs=1e-6)


class TestDescribed:
    def test_a_worked_example(self) -> None:
        """1 to 36: mean 18.5, variance 36 * 37 / 12 = 111, t(35) = 2.0301, so 18.5 ± 2.0301 * sqrt(111 / 36)."""
        found = described(totals([float(value) for value in range(1, 37)]))
        assert (found.count, found.mean) == (36, 18.5)
        assert found.deviation == pytest.approx(10.5357, abs=0.0001)
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == pytest.approx((14.9352, 22.0648), abs=0.001)

    @pytest.mark.parametrize("values", [[], [1.0], [float(value) for value in range(ENOUGH - 1)], [0.5] * 100])
    def test_too_few_values_or_all_the_same_have_no_interval(self, values: list[float]) -> None:
        assert described(totals(values)).interval is None

    def test_ninety_five_of_a_hundred_intervals_hold_the_true_mean(self) -> None:
        random = Random(1)
        trials = [described(totals([random.expovariate(1) for _ in range(100)])) for _ in range(1_000)]
        assert 0.92 <= fmean(holds(trial.interval, 1.0) for trial in trials) <= 0.97


class TestDifference:
    def test_a_worked_example(self) -> None:
        """Means 18.5 and 30.5, variances 111 and 444, 36 values each: standard error sqrt(555 / 36) = 3.9264; by
        Welch and Satterthwaite 51.47 degrees of freedom, t = 2.0072."""
        low = [float(value) for value in range(1, 37)]
        high = [2 * value - 6.5 for value in low]
        found = difference(Metric.QUALITY, totals(low), totals(high))
        assert found.difference == pytest.approx(12.0)
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == pytest.approx((4.119, 19.881), abs=0.002)
        assert found.verdict is Verdict.BETTER

    @pytest.mark.parametrize("metric", Metric)
    def test_less_is_better_of_costs_and_latencies_more_of_everything_else(self, metric: Metric) -> None:
        low, high = totals([0.1, 0.2] * ENOUGH), totals([0.8, 0.9] * ENOUGH)
        less = metric in {Metric.COST_MICROS, Metric.LATENCY_MS}
        assert difference(metric, low, high).verdict is (Verdict.WORSE if less else Verdict.BETTER)
        assert difference(metric, high, low).verdict is (Verdict.BETTER if less else Verdict.WORSE)

    @given(one=st.lists(scores, max_size=60), other=st.lists(scores, max_size=60))
    def test_the_other_way_round_it_is_the_opposite(self, one: list[float], other: list[float]) -> None:
        there = difference(Metric.QUALITY, totals(one), totals(other))
        back = difference(Metric.QUALITY, totals(other), totals(one))
        opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
        assert back.verdict is opposite.get(there.verdict, there.verdict)
        if there.interval is not None and back.interval is not None:
            assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))
        else:
            assert there.interval is back.interval is None

    def test_the_same_values_are_undecided(self) -> None:
        same = totals([0.1, 0.9] * ENOUGH)
        assert difference(Metric.QUALITY, same, same).verdict is Verdict.UNDECIDED

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ([], [0.1, 0.2] * ENOUGH),
            ([0.1, 0.2] * ENOUGH, [0.9] * (ENOUGH - 1)),
            ([1.0] * ENOUGH, [0.0] * ENOUGH),
        ],
    )
    def test_too_few_values_or_no_variation_decide_nothing(self, one: list[float], other: list[float]) -> None:
        found = difference(Metric.QUALITY, totals(one), totals(other))
        assert (found.interval, found.verdict) == (None, Verdict.NOT_ENOUGH_DATA)

    def test_a_baseline_without_variation_is_still_compared_with(self) -> None:
        found = difference(Metric.COMPLIANCE, totals([1.0] * ENOUGH), totals([0.5, 0.9] * ENOUGH))
        assert found.verdict is Verdict.WORSE

    def test_equal_arms_are_told_apart_in_five_of_a_hundred_trials(self) -> None:
        random = Random(2)
        trials = [
            difference(
                Metric.LATENCY_MS,
                totals([random.gauss(100, 10) for _ in range(40)]),
                totals([random.gauss(100, 30) for _ in range(120)]),
            )
            for _ in range(1_000)
        ]
        assert 0.03 <= fmean(trial.verdict is not Verdict.UNDECIDED for trial in trials) <= 0.07


class TestResults:
    def test_arms_stand_in_the_policys_order_and_all_but_the_first_are_compared_with_it(self) -> None:
        low, high = totals([0.1, 0.2] * ENOUGH), totals([0.8, 0.9] * ENOUGH)
        found = results(
            "now",
            ("now", "new", "quiet"),
            [
                ArmTotals(arm="gone", metrics={Metric.QUALITY: low}),
                ArmTotals(arm="new", metrics={Metric.QUALITY: high}),
                ArmTotals(arm="now", metrics={Metric.QUALITY: low}),
            ],
        )
        assert [each.arm for each in found] == ["now", "new", "quiet", "gone"]
        baseline, new, quiet, gone = found
        assert baseline.to_baseline == {}
        assert new.to_baseline[Metric.QUALITY].verdict is Verdict.BETTER
        assert new.to_baseline[Metric.COST_MICROS].verdict is Verdict.NOT_ENOUGH_DATA
        assert quiet.metrics[Metric.QUALITY].count == 0
        assert gone.to_baseline[Metric.QUALITY].verdict is Verdict.UNDECIDED

    def test_without_a_baseline_nothing_is_compared(self) -> None:
        found = results(None, (), [ArmTotals(arm="a"), ArmTotals(arm="b")])
        assert [(each.arm, each.to_baseline) for each in found] == [("a", {}), ("b", {})]
