"""The ledger adds up exactly."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.cost import DynamoCosts
from adapters.settings import Settings
from domain.cost import SETTLING, CostEntry, CostHold, CostTotals, Usage, total
from tests.adapters.conftest import tables
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
        assert await costs.operations(campaign) == {entry.operation_id for entry in made}
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


class TestHold:
    @pytest.fixture
    def hold(self) -> CostHold:
        at = a_day()
        return CostHold(
            operation_id=uuid4(),
            campaign_id=a_campaign(),
            owner=f"user-{uuid4().hex}",
            target="openai/gpt-4o",
            micros=700,
            at=at,
            settles_at=at + SETTLING,
        )

    async def held(self, costs: DynamoCosts, hold: CostHold) -> set[int]:
        """In each of the three totals, in µ$."""
        day = hold.at.date().isoformat()
        days = (await costs.user_totals(hold.owner, day, day), await costs.global_totals(day, day))
        return {(await costs.campaign_totals(hold.campaign_id)).held_micros, *(each[day].held_micros for each in days)}

    async def test_it_is_in_all_three_totals_once_and_out_of_them_once(
        self, costs: DynamoCosts, hold: CostHold
    ) -> None:
        placed = await asyncio.gather(*(costs.hold(hold) for _ in range(5)))
        assert sorted(placed) == [False, False, False, False, True]
        assert await costs.holds(hold.campaign_id) == [hold]
        assert await self.held(costs, hold) == {700}
        released = await asyncio.gather(*(costs.release(hold) for _ in range(5)))
        assert sorted(released) == [False, False, False, False, True]
        assert await costs.holds(hold.campaign_id) == []
        assert await self.held(costs, hold) == {0}

    async def test_what_is_booked_is_not_held(self, costs: DynamoCosts, hold: CostHold) -> None:
        """The providers may have been asked while the call's own end was still on its way."""
        entry = a_cost(hold.operation_id, campaign_id=hold.campaign_id, owner=hold.owner, at=hold.at)
        await costs.record(entry)
        assert await costs.hold(hold) is False
        assert await costs.campaign_totals(hold.campaign_id) == total([entry])


class TestTotals:
    async def test_nothing_recorded_is_nothing_spent(self, costs: DynamoCosts) -> None:
        assert await costs.campaign_totals(a_campaign()) == CostTotals()
        assert await costs.operations(a_campaign()) == frozenset()
        assert await costs.user_totals(f"user-{uuid4().hex}", "2026-01-01", "2026-12-31") == {}

    async def test_both_ends_of_a_span_of_days_are_included_and_nothing_beyond(self, costs: DynamoCosts) -> None:
        owner, first = f"user-{uuid4().hex}", a_day()
        days = [first + timedelta(days=number) for number in range(4)]
        for day in days:
            await costs.record(a_cost(campaign_id=a_campaign(), owner=owner, at=day))
        names = [day.date().isoformat() for day in days]
        assert list(await costs.user_totals(owner, names[1], names[2])) == names[1:3]


class TestHorizon:
    async def test_it_is_only_ever_extended(self, settings: Settings) -> None:
        async with tables(settings) as dynamo:
            costs = DynamoCosts(dynamo)
            assert await costs.horizon_us() == 0
            await asyncio.gather(*(costs.extend_horizon(moment) for moment in (5, 1_800_000_000_000_000, 7)))
            await costs.extend_horizon(6)
            assert await costs.horizon_us() == 1_800_000_000_000_000
