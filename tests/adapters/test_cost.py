"""The ledger adds up exactly, and no model is ever free."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from genai_prices import data_snapshot

from adapters.cost import DynamoCosts, ListPrices
from domain.cost import CostEntry, CostTotals, Usage, total
from domain.provider import Provider
from tests.domain.builders import a_campaign, a_cost


def a_day() -> datetime:
    """The noon of a day that no other test uses, so that the global totals are a test's own."""
    return datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=uuid4().int % 2_000_000)


def entries(count: int, campaign: str, owner: str, at: datetime) -> list[CostEntry]:
    return [
        a_cost(
            campaign_id=campaign,
            owner=owner,
            at=at,
            provider="openai" if number % 3 else "azure",
            cost_micros=number,
            usage=Usage(input_tokens=number, output_tokens=2 * number),
        )
        for number in range(1, count + 1)
    ]


class TestRecord:
    async def test_fifty_at_once_add_up_exactly_in_all_three_totals(self, costs: DynamoCosts) -> None:
        campaign, owner, at = a_campaign(), f"user-{uuid4().hex}", a_day()
        made = entries(50, campaign, owner, at)
        day = at.date().isoformat()
        assert all(await asyncio.gather(*(costs.record(entry) for entry in made)))
        expected = total(made)
        assert await costs.campaign_totals(campaign) == expected
        assert await costs.user_totals(owner, day, day) == {day: expected}
        assert await costs.global_totals(day, day) == {day: expected}

    async def test_the_same_operation_counts_once(self, costs: DynamoCosts) -> None:
        campaign, owner, at = a_campaign(), f"user-{uuid4().hex}", a_day()
        entry = a_cost(campaign_id=campaign, owner=owner, at=at)
        answers = await asyncio.gather(*(costs.record(entry) for _ in range(5)))
        assert sorted(answers) == [False, False, False, False, True]
        assert await costs.record(entry.model_copy(update={"cost_micros": 999})) is False
        assert await costs.campaign_totals(campaign) == total([entry])
        day = at.date().isoformat()
        assert await costs.global_totals(day, day) == {day: total([entry])}

    async def test_an_answer_that_could_not_be_used_costs_all_the_same(self, costs: DynamoCosts) -> None:
        campaign = a_campaign()
        entry = a_cost(campaign_id=campaign, at=a_day(), usable=False)
        await costs.record(entry)
        assert await costs.campaign_totals(campaign) == total([entry])

    async def test_the_day_is_the_one_in_utc(self, costs: DynamoCosts) -> None:
        owner, noon = f"user-{uuid4().hex}", a_day()
        late = noon.replace(hour=23, minute=30)
        await costs.record(a_cost(campaign_id=a_campaign(), owner=owner, at=late))
        await costs.record(a_cost(campaign_id=a_campaign(), owner=owner, at=late + timedelta(hours=1)))
        first, second = noon.date(), noon.date() + timedelta(days=1)
        found = await costs.user_totals(owner, first.isoformat(), second.isoformat())
        assert list(found) == [first.isoformat(), second.isoformat()]


class TestTotals:
    async def test_nothing_recorded_is_nothing_spent(self, costs: DynamoCosts) -> None:
        assert await costs.campaign_totals(a_campaign()) == CostTotals()
        assert await costs.user_totals(f"user-{uuid4().hex}", "2026-01-01", "2026-12-31") == {}

    async def test_both_ends_of_a_span_of_days_are_included_and_nothing_beyond(self, costs: DynamoCosts) -> None:
        owner, first = f"user-{uuid4().hex}", a_day()
        days = [first + timedelta(days=number) for number in range(4)]
        for day in days:
            await costs.record(a_cost(campaign_id=a_campaign(), owner=owner, at=day))
        names = [day.date().isoformat() for day in days]
        assert list(await costs.user_totals(owner, names[1], names[2])) == names[1:3]


class TestListPrices:
    @pytest.mark.parametrize(
        ("provider", "model", "dollars_in", "dollars_out"),
        [
            (Provider.OPENAI, "gpt-4o-mini", "0.15", "0.6"),
            (Provider.OPENAI, "gpt-4o", "2.5", "10"),
            (Provider.AZURE, "gpt-4o", "2.5", "10"),
            (Provider.AZURE, "gpt-4o-mini", "0.15", "0.6"),
        ],
    )
    def test_known_models_have_their_list_price(
        self, provider: Provider, model: str, dollars_in: str, dollars_out: str
    ) -> None:
        price = ListPrices().price(provider, model)
        assert (price.input_per_million, price.output_per_million) == (Decimal(dollars_in), Decimal(dollars_out))
        assert price.version.startswith("genai-prices-")
        assert price.version.endswith(f"/{model}")

    @pytest.mark.parametrize("provider", Provider)
    def test_an_unknown_model_is_as_dear_as_the_dearest_known_one(self, provider: Provider) -> None:
        unknown = ListPrices().price(provider, "no-such-model-1")
        listed = next(each for each in data_snapshot.get_snapshot().providers if each.id == provider)
        for model in listed.models:
            price = ListPrices().price(provider, model.id)
            assert price.input_per_million <= unknown.input_per_million, model.id
            assert price.output_per_million <= unknown.output_per_million, model.id

    def test_an_unknown_model_says_whose_price_it_pays(self) -> None:
        assert not ListPrices().price(Provider.OPENAI, "no-such-model-1").version.endswith("no-such-model-1")
