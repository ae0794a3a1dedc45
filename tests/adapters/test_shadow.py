"""Comparisons in the store: once each, newest first, by time."""

from datetime import UTC, datetime, timedelta

from adapters.dynamodb import Dynamo
from adapters.shadow import KEPT_FOR, DynamoShadow
from domain.shadow import Comparison, FieldParity


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
    assert list(await shadow.comparisons(now - timedelta(days=3))) == kept[::-1]
    assert [each.comparison_id for each in await shadow.comparisons(now - timedelta(hours=2))] == ["c", "b"]
    assert len(await shadow.comparisons(now - 10 * KEPT_FOR)) == len(kept)
    assert await shadow.comparisons(now + timedelta(minutes=1)) == []
