"""Comparisons in the store: once each, newest first, by time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from adapters.budget_caps import DynamoBudgets
from adapters.dynamodb import Dynamo
from adapters.shadow import DynamoShadow
from domain.budget import BudgetCaps, BudgetSettings
from domain.legacy import SHADOW_USER
from domain.shadow import KEPT_FOR, Comparison, FieldParity


def comparison(name: str, at: datetime) -> Comparison:
    return Comparison(
        comparison_id=name,
        at=at,
        intent="content_planning",
        fields=(FieldParity(field="status", same=1),),
        legacy_ms=1.5,
        hybrid_ms=20.25,
        cost_micros=7,
    )


async def test_it_comes_back_as_it_was_and_only_once(dynamo: Dynamo) -> None:
    shadow, now = DynamoShadow(dynamo), datetime.now(UTC)
    kept = [comparison("a", now - timedelta(days=2)), comparison("b", now - timedelta(hours=1)), comparison("c", now)]
    for each in (*kept, kept[1]):
        await shadow.add(each)
    assert list(await shadow.comparisons(now - timedelta(days=3), limit=10)) == kept[::-1]
    assert [each.comparison_id for each in await shadow.comparisons(now - timedelta(hours=2), limit=10)] == ["c", "b"]
    assert len(await shadow.comparisons(now - 10 * KEPT_FOR, limit=10)) == len(kept)
    assert await shadow.comparisons(now + timedelta(minutes=1), limit=10) == []
    assert [each.comparison_id for each in await shadow.comparisons(now - timedelta(days=3), limit=2)] == ["c", "b"]


async def test_the_cap_of_its_user_holds_whatever_is_set(dynamo: Dynamo) -> None:
    most = {SHADOW_USER: Decimal(1)}
    store = DynamoBudgets(dynamo, BudgetCaps(user_day=Decimal(50)), days_at_most=most)
    assert (await store.caps(SHADOW_USER)).user_day == 1
    assert (await store.caps("somebody")).user_day == 50
    for amount, in_force in (("70", 1), ("0.5", Decimal("0.5"))):
        revision = (await store.settings(SHADOW_USER)).revision + 1
        caps = BudgetCaps(user_day=Decimal(amount))
        own = BudgetSettings(subject=SHADOW_USER, caps=caps, set_fields=("user_day",), revision=revision)
        assert await store.put(SHADOW_USER, own)
        assert (await store.caps(SHADOW_USER)).user_day == in_force
    without_default = DynamoBudgets(dynamo, BudgetCaps(), days_at_most={"another": Decimal(1)})
    assert (await without_default.caps("another")).user_day == 1
