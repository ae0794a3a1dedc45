"""Comparisons of shadow runs in DynamoDB, by day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from adapters.dynamodb import Dynamo, from_item, sortable, to_item, value
from adapters.tables import EXPIRY
from domain.shadow import KEPT_FOR, Comparison


class DynamoShadow:
    """``domain.ports.ShadowStore``: adding a comparison again replaces it by itself."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("shadow")

    async def add(self, comparison: Comparison) -> None:
        """Count a comparison, once."""
        item = to_item(
            comparison,
            scope=_scope(comparison.at.astimezone(UTC).date()),
            entry=f"{sortable(comparison.at)}#{comparison.comparison_id}",
        )
        item[EXPIRY] = value(int((comparison.at + KEPT_FOR).timestamp()))
        await self._dynamo.call(self._dynamo.client.put_item, TableName=self._table, Item=item)

    async def comparisons(self, since: datetime, *, limit: int) -> Sequence[Comparison]:
        """Newest first; at most as old as they are kept."""
        now = datetime.now(UTC)
        since = max(since.astimezone(UTC), now - KEPT_FOR)
        # A clock of another process may be ahead of ours.
        day, found = (now + timedelta(minutes=5)).date(), list[Comparison]()
        while day >= since.date():
            items = self._dynamo.query(
                TableName=self._table,
                KeyConditionExpression="#scope = :scope AND entry >= :since",
                ExpressionAttributeNames={"#scope": "scope"},
                ExpressionAttributeValues={":scope": value(_scope(day)), ":since": value(sortable(since))},
                ScanIndexForward=False,
                ConsistentRead=True,
            )
            async for item in items:
                found.append(from_item(Comparison, item))
                if len(found) == limit:
                    return found
            day -= timedelta(days=1)
        return found


def _scope(day: date) -> str:
    return f"day#{day.isoformat()}"
