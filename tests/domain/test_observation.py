"""Sums that do not depend on order, and quantiles that a sorted list confirms."""

from datetime import UTC, datetime
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.observation import (
    LATENCY_BOUNDS_MS,
    Arm,
    ArmCounts,
    Observation,
    Observed,
    Sums,
    latency_bound_ms,
    latency_class,
)

AT = datetime(2026, 11, 22, 18, tzinfo=UTC)


def total(several: list[Observation]) -> ArmCounts:
    return sum((ArmCounts.of(each) for each in several), ArmCounts())


latencies_ms = st.floats(0, 3_600_000, allow_nan=False)
observations = st.builds(
    Observation,
    flag=st.just("hybrid-orchestrator"),
    arm=st.sampled_from(Arm),
    at=st.just(AT),
    latency_ms=latencies_ms,
    error=st.sampled_from(["", "", "timeout", "server_error"]),
    cost_micros=st.none() | st.integers(0, 10_000_000),
    compliance=st.none() | st.floats(0, 1),
)
counts = st.lists(observations, max_size=8).map(total)


class TestLatencyClass:
    @given(ms=latencies_ms)
    def test_it_is_the_lowest_that_holds_the_latency(self, ms: float) -> None:
        klass = latency_class(ms)
        assert ms <= latency_bound_ms(klass) or klass == len(LATENCY_BOUNDS_MS) - 1
        assert klass == 0 or ms > latency_bound_ms(klass - 1)

    @given(ms=st.floats(1, 3_000_000))
    def test_its_bound_is_at_most_5_percent_above(self, ms: float) -> None:
        assert ms <= latency_bound_ms(latency_class(ms)) <= ms * 1.05 * (1 + 1e-9)

    @given(klass=st.integers(0, len(LATENCY_BOUNDS_MS) - 1))
    def test_a_bound_is_in_its_own_class(self, klass: int) -> None:
        assert latency_class(latency_bound_ms(klass)) == klass

    @pytest.mark.parametrize(("ms", "klass"), [(0, 0), (1, 0), (1.01, 1), (1e12, len(LATENCY_BOUNDS_MS) - 1)])
    def test_its_ends(self, ms: float, klass: int) -> None:
        assert latency_class(ms) == klass


class TestArithmetic:
    @given(one=counts, other=counts, third=counts)
    def test_counts_add_up_in_any_order_and_grouping(self, one: ArmCounts, other: ArmCounts, third: ArmCounts) -> None:
        assert one + other == other + one
        assert (one + other) + third == one + (other + third)
        assert one + ArmCounts() == one

    @given(one=counts, other=counts)
    def test_subtracting_undoes_adding(self, one: ArmCounts, other: ArmCounts) -> None:
        assert (one + other) - other == one

    @given(one=counts, other=counts, third=counts)
    def test_the_higher_of_each_number(self, one: ArmCounts, other: ArmCounts, third: ArmCounts) -> None:
        assert one | one == one
        assert one | other == other | one
        assert (one | other) | third == one | (other | third)
        assert (one + other) | one == one + other

    @given(several=st.lists(observations, max_size=20))
    def test_a_count_says_what_was_observed(self, several: list[Observation]) -> None:
        counted = total(several)
        assert counted.requests == len(several) == sum(counted.latencies.values())
        assert counted.failed == sum(bool(each.error) for each in several)
        costs = [each.cost_micros for each in several if each.cost_micros is not None]
        assert counted.cost == Sums(count=len(costs), total=sum(costs), squares=sum(cost**2 for cost in costs))
        assert counted.cost.mean == (sum(costs) / len(costs) if costs else None)
        assert counted.error_rate == (counted.failed / len(several) if several else None)

    @given(one=counts)
    def test_counts_survive_json(self, one: ArmCounts) -> None:
        assert ArmCounts.model_validate_json(one.model_dump_json()) == one

    @given(one=counts, other=counts)
    def test_both_arms_keep_the_latest_moment(self, one: ArmCounts, other: ArmCounts) -> None:
        early, late = Observed(baseline=one, fresh_at=AT), Observed(canary=other, fresh_at=AT.replace(hour=19))
        assert early + late == Observed(baseline=one, canary=other, fresh_at=late.fresh_at)
        assert (early | late).fresh_at == late.fresh_at
        assert (early + late).requests == one.requests + other.requests


class TestQuantile:
    @given(
        several=st.lists(st.floats(1, 3_000_000), min_size=1, max_size=50),
        share=st.sampled_from([Fraction(1, 100), Fraction(1, 2), Fraction(95, 100), Fraction(1)]),
    )
    def test_it_is_that_of_the_sorted_list_within_a_class(self, several: list[float], share: Fraction) -> None:
        counted = ArmCounts(requests=len(several))
        for ms in several:
            counted += ArmCounts(latencies={latency_class(ms): 1})
        exact = sorted(several)[max(1, ceil(float(share) * len(several))) - 1]
        assert counted.quantile(float(share)) == latency_bound_ms(latency_class(exact))

    def test_nothing_has_none(self) -> None:
        assert ArmCounts().quantile(0.95) is None

    def test_requests_above_a_class(self) -> None:
        counted = ArmCounts(requests=6, latencies={3: 1, 7: 2, 9: 3})
        assert [counted.slower_than(klass) for klass in (2, 3, 7, 9)] == [6, 5, 3, 0]
