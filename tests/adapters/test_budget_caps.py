"""Caps in the store: field by field, one revision after another, and not asked for more often than needed."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from uuid import uuid4

import pytest

from adapters.budget import RedisBudgets
from adapters.budget_caps import REMEMBERED_S, DynamoBudgets
from adapters.cost import DynamoCosts
from adapters.dynamodb import Dynamo, open_dynamo
from adapters.redis import RedisClient
from adapters.settings import Settings
from domain.budget import EVERYBODY, BudgetCaps, BudgetScope, BudgetSettings
from domain.errors import DependencyUnavailable
from tests.adapters.budgets import NOW, may, of_campaign
from tests.adapters.conftest import tables
from tests.domain.builders import a_cost

DEFAULTS = BudgetCaps(campaign=Decimal(1), user_day=Decimal(5))


class Seconds:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_change(subject: str, revision: int = 1, **caps: Decimal | None) -> BudgetSettings:
    return BudgetSettings(
        subject=subject,
        caps=BudgetCaps(**caps),
        set_fields=tuple(caps),
        revision=revision,
        changed_by="root",
        changed_at=NOW,
        reason="Because of a test.",
    )


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


async def test_a_user_without_anything_set_has_the_defaults(dynamo: Dynamo, user: str) -> None:
    store = DynamoBudgets(dynamo, DEFAULTS)
    assert await store.caps(user) == DEFAULTS
    assert await store.settings(user) == BudgetSettings(subject=user)


async def test_what_was_set_for_the_user_is_over_what_was_set_for_everybody(settings: Settings, user: str) -> None:
    async with tables(settings) as dynamo:
        store = DynamoBudgets(dynamo, DEFAULTS)
        assert await store.put(None, a_change(EVERYBODY, campaign=Decimal(2), global_day=Decimal(100)))
        assert await store.put(user, a_change(user, user_day=None, user_month=Decimal("0.5")))
        assert await store.caps(user) == BudgetCaps(
            campaign=Decimal(2), user_day=None, user_month=Decimal("0.5"), global_day=Decimal(100)
        )
        assert (await store.caps("somebody")).user_day == 5


async def test_the_second_of_two_changes_of_one_revision_is_refused(dynamo: Dynamo, user: str) -> None:
    store = DynamoBudgets(dynamo, DEFAULTS)
    changes: Sequence[BudgetSettings] = [a_change(user, user_day=Decimal(n)) for n in (1, 2, 3)]
    assert sorted(await asyncio.gather(*(store.put(user, each) for each in changes))) == [False, False, True]
    assert await store.put(user, a_change(user, 2, user_day=Decimal(4)))
    assert [each.revision for each in await store.history(user, limit=5)] == [2, 1]
    assert len(await store.history(user, limit=1)) == 1
    assert (await store.settings(user)).caps.user_day == 4


async def test_a_change_made_elsewhere_is_seen_a_second_later(dynamo: Dynamo, user: str) -> None:
    clock = Seconds()
    here, there = DynamoBudgets(dynamo, DEFAULTS, clock=clock), DynamoBudgets(dynamo, DEFAULTS)
    assert (await here.caps(user)).user_day == 5
    await there.put(user, a_change(user, user_day=Decimal(7)))
    assert (await there.caps(user)).user_day == 7
    assert (await here.caps(user)).user_day == 5
    clock.now = REMEMBERED_S
    assert (await here.caps(user)).user_day == 7


async def test_a_failure_is_not_remembered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, user: str, dynamo: Dynamo
) -> None:
    async with open_dynamo(settings) as own:
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            async with open_dynamo(settings) as nowhere:
                store = DynamoBudgets(nowhere, DEFAULTS, clock=Seconds())
                with pytest.raises(DependencyUnavailable):
                    await store.caps(user)
        store._dynamo = own
        assert await store.caps(user) == DEFAULTS


async def test_budgets_are_read_from_the_real_ledger(redis: RedisClient, settings: Settings, user: str) -> None:
    async with tables(settings) as dynamo:
        costs = DynamoCosts(dynamo)
        campaign = str(uuid4())
        yesterday = NOW.replace(day=21)
        await costs.record(a_cost(campaign_id=campaign, owner=user, at=NOW, cost_micros=40))
        await costs.record(a_cost(campaign_id=str(uuid4()), owner=user, at=yesterday, cost_micros=30))
        store = RedisBudgets(redis, costs)
        caps = {"campaign": "0.000050", "user_day": "0.000060", "user_month": "0.000075"}
        charged = of_campaign(campaign, user, caps=caps)
        found = {each.budget.scope: each.remaining_micros for each in await store.standings(charged)}
        assert (found[BudgetScope.CAMPAIGN], found[BudgetScope.USER_DAY], found[BudgetScope.USER_MONTH]) == (10, 20, 5)
        assert not await may(store, uuid4(), charged, 6)
        assert await may(store, uuid4(), charged, 5)
