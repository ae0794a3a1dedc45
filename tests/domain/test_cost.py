"""Money: nothing is lost in rounding, and totals are the sum of their entries."""

from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.cost import (
    CostEntry,
    CostTotals,
    LongCallRates,
    Price,
    Usage,
    dollars_from_micros,
    micros_from_dollars,
    operation_id,
    total,
)
from tests.domain.builders import a_cost

tokens = st.integers(min_value=0, max_value=10**9)
usages = st.builds(Usage, input_tokens=tokens, output_tokens=tokens)
list_prices = st.decimals(min_value=0, max_value=1_000, places=6)
prices = st.tuples(list_prices, list_prices).map(
    lambda pair: Price(input_per_million=pair[0], output_per_million=pair[1], version="book-1")
)
entries = st.builds(
    a_cost,
    cost_micros=st.integers(min_value=0, max_value=10**9),
    provider=st.sampled_from(["openai", "azure"]),
    usage=usages,
)


def exact(price: Price, usage: Usage) -> Fraction:
    """The cost in µ$, without any rounding."""
    return usage.input_tokens * Fraction(price.input_per_million) + usage.output_tokens * Fraction(
        price.output_per_million
    )


class TestMicros:
    @given(prices, usages)
    def test_a_cost_is_never_below_the_exact_value_and_less_than_one_micro_dollar_above(
        self, price: Price, usage: Usage
    ) -> None:
        assert 0 <= price.micros(usage) - exact(price, usage) < 1

    def test_the_smallest_fraction_counts_as_a_whole_micro_dollar(self) -> None:
        price = Price(input_per_million=Decimal("0.000001"), output_per_million=Decimal(0), version="book-1")
        assert price.micros(Usage(input_tokens=1)) == 1

    def test_nothing_used_costs_nothing(self) -> None:
        assert Price(input_per_million=Decimal(5), output_per_million=Decimal(5), version="1").micros(Usage()) == 0

    @given(prices, usages, usages)
    def test_rounding_once_is_never_dearer_than_rounding_twice(self, price: Price, one: Usage, two: Usage) -> None:
        assert price.micros(one + two) <= price.micros(one) + price.micros(two) <= price.micros(one + two) + 1


# Behind a function: hypothesis would guess at the fields' other names.
def a_price(**fields: Any) -> Price:
    return Price(**fields)


def long_call_rates(**fields: Any) -> LongCallRates:
    return LongCallRates(**fields)


long_prices = st.builds(
    a_price,
    input_per_million=list_prices,
    output_per_million=list_prices,
    cached_per_million=st.none() | list_prices,
    written_per_million=st.none() | list_prices,
    version=st.just("book-1"),
    long_calls=st.lists(
        st.builds(
            long_call_rates,
            input_per_million=list_prices,
            output_per_million=list_prices,
            cached_per_million=st.none() | list_prices,
            written_per_million=st.none() | list_prices,
            above_input_tokens=st.integers(0, 2_000),
        ),
        max_size=2,
    ).map(tuple),
)
few = st.integers(0, 3_000)


class TestPrice:
    @given(long_prices, few, few, few, few, few)
    def test_a_call_never_costs_more_than_the_most_that_it_can_cost(
        self, price: Price, input_tokens: int, output_tokens: int, cached: int, less_in: int, less_out: int
    ) -> None:
        usage = Usage(
            input_tokens=max(0, input_tokens - less_in),
            output_tokens=max(0, output_tokens - less_out),
            cached_tokens=min(cached, max(0, input_tokens - less_in)),
            reasoning_tokens=max(0, output_tokens - less_out) // 2,
        )
        assert price.micros(usage) <= price.most(input_tokens, output_tokens)

    def test_cached_input_has_its_own_rate(self) -> None:
        price = Price(
            input_per_million=Decimal(4),
            cached_per_million=Decimal(1),
            output_per_million=Decimal(10),
            version="book-1",
        )
        assert price.micros(Usage(input_tokens=100, cached_tokens=60, output_tokens=5, reasoning_tokens=3)) == (
            40 * 4 + 60 * 1 + 5 * 10
        )

    def test_cached_input_without_a_rate_costs_what_other_input_does(self) -> None:
        price = Price(input_per_million=Decimal(4), output_per_million=Decimal(10), version="book-1")
        assert price.micros(Usage(input_tokens=100, cached_tokens=60)) == 400

    def test_a_long_call_is_dearer_in_every_token(self) -> None:
        longer = LongCallRates(input_per_million=Decimal(5), output_per_million=Decimal(20), above_input_tokens=1_000)
        price = Price(
            input_per_million=Decimal(2), output_per_million=Decimal(10), version="book-1", long_calls=(longer,)
        )
        assert price.micros(Usage(input_tokens=1_000, output_tokens=1)) == 2_010
        assert price.micros(Usage(input_tokens=1_001, output_tokens=1)) == 5_025


class TestTotal:
    @given(st.lists(entries), st.lists(entries))
    def test_totals_of_parts_add_up_to_the_total_of_the_whole(
        self, first: list[CostEntry], second: list[CostEntry]
    ) -> None:
        assert total(first) + total(second) == total([*first, *second])

    @given(st.lists(entries))
    def test_every_figure_is_the_sum_over_the_entries(self, found: list[CostEntry]) -> None:
        totals = total(found)
        assert totals.cost_micros == sum(entry.cost_micros for entry in found)
        assert totals.cost_micros == sum(totals.micros_by_provider.values())
        assert totals.calls == len(found)
        assert Usage(input_tokens=totals.input_tokens, output_tokens=totals.output_tokens) == reduce(
            add, (entry.usage for entry in found), Usage()
        )

    @given(st.lists(entries))
    def test_the_order_does_not_matter(self, found: list[CostEntry]) -> None:
        assert total(found) == total(reversed(found))

    def test_nothing_adds_up_to_nothing(self) -> None:
        assert total([]) == CostTotals()


class TestCostEntry:
    def test_a_negative_cost_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            a_cost(cost_micros=-1)


class TestOperationId:
    def test_the_same_operation_has_the_same_id(self) -> None:
        assert operation_id("campaign", "write", "openai", "1") == operation_id("campaign", "write", "openai", "1")

    @given(st.lists(st.sampled_from(["a", "b", "1", "2"]), min_size=1), st.lists(st.sampled_from(["a", "b", "1", "2"])))
    def test_another_operation_has_another_id(self, one: list[str], other: list[str]) -> None:
        assert (operation_id(*one) == operation_id(*other)) == (one == other)


class TestDollars:
    @given(st.integers(min_value=0, max_value=10**12))
    def test_micro_dollars_survive_the_way_through_a_json_number(self, micros: int) -> None:
        assert round(dollars_from_micros(micros) * 1_000_000) == micros

    @given(st.decimals(min_value=0, max_value=1_000_000, places=9))
    def test_a_limit_never_becomes_larger_than_what_was_asked_for(self, dollars: Decimal) -> None:
        assert 0 <= dollars * 1_000_000 - micros_from_dollars(dollars) < 1
