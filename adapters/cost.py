"""The ledger in DynamoDB, and how long reservations in Redis can live."""

from datetime import UTC
from typing import Any
from uuid import UUID

from adapters.dynamodb import Dynamo, Item, plain, to_item, value
from domain.cost import CostEntry, CostTotals

_HORIZON = {"scope": value("reservations"), "entry": value("horizon")}


class DynamoCosts:
    """``domain.ports.CostStore`` and ``adapters.budget.Ledger``: an entry and all its totals are one transaction."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("costs")

    async def record(self, entry: CostEntry) -> bool:
        day = entry.at.astimezone(UTC).date().isoformat()
        put = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(entry, scope=_campaign(entry.campaign_id), entry=f"entry#{entry.operation_id}"),
                "ConditionExpression": "attribute_not_exists(#scope)",
                "ExpressionAttributeNames": {"#scope": "scope"},
            }
        }
        totals = [
            self._add(_campaign(entry.campaign_id), "total", entry),
            self._add(_user(entry.owner), f"day#{day}", entry),
            self._add("global", f"day#{day}", entry),
        ]
        try:
            await self._dynamo.transact([put, *totals])
        except self._dynamo.client.exceptions.TransactionCanceledException as error:
            reasons: Any = error.response.get("CancellationReasons", [{}])
            if reasons[0].get("Code") == "ConditionalCheckFailed":
                return False
            raise
        return True

    async def operations(self, campaign_id: str) -> frozenset[UUID]:
        return frozenset(
            [
                UUID(str(plain(item)["entry"]).removeprefix("entry#"))
                async for item in self._dynamo.query(
                    TableName=self._table,
                    KeyConditionExpression="#scope = :scope AND begins_with(#entry, :entry)",
                    ProjectionExpression="#entry",
                    ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
                    ExpressionAttributeValues={":scope": value(_campaign(campaign_id)), ":entry": value("entry#")},
                    ConsistentRead=True,
                )
            ]
        )

    async def campaign_totals(self, campaign_id: str) -> CostTotals:
        answer = await self._dynamo.call(
            self._dynamo.client.get_item,
            TableName=self._table,
            Key={"scope": value(_campaign(campaign_id)), "entry": value("total")},
            ConsistentRead=True,
        )
        return _totals(answer.get("Item", {}))

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return await self._days(_user(owner), first_day, last_day)

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return await self._days("global", first_day, last_day)

    async def horizon_us(self) -> int:
        """The moment until which reservations may exist, in µs on Redis's clock; 0: there were none."""
        item = await self._dynamo.get("costs", _HORIZON)
        return 0 if item is None else int(plain(item)["untilUs"])

    async def extend_horizon(self, until_us: int) -> None:
        """Put a later one on record; an earlier one changes nothing."""
        try:
            await self._dynamo.call(
                self._dynamo.client.update_item,
                TableName=self._table,
                Key=_HORIZON,
                UpdateExpression="SET untilUs = :until",
                ConditionExpression="attribute_not_exists(untilUs) OR untilUs < :until",
                ExpressionAttributeValues={":until": value(until_us)},
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException:
            return

    async def _days(self, scope: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        days: dict[str, CostTotals] = {}
        async for item in self._dynamo.query(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope AND #entry BETWEEN :first AND :last",
            ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
            ExpressionAttributeValues={
                ":scope": value(scope),
                ":first": value(f"day#{first_day}"),
                ":last": value(f"day#{last_day}"),
            },
            ConsistentRead=True,
        ):
            days[str(plain(item)["entry"]).removeprefix("day#")] = _totals(item)
        return days

    def _add(self, scope: str, entry: str, cost: CostEntry) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"scope": value(scope), "entry": value(entry)},
                "UpdateExpression": "ADD costMicros :cost, inputTokens :input, outputTokens :output, calls :one, "
                "#provider :cost",
                "ExpressionAttributeNames": {"#provider": f"micros#{cost.provider}"},
                "ExpressionAttributeValues": {
                    ":cost": value(cost.cost_micros),
                    ":input": value(cost.usage.input_tokens),
                    ":output": value(cost.usage.output_tokens),
                    ":one": value(1),
                },
            }
        }


def _campaign(campaign_id: str) -> str:
    return f"campaign#{campaign_id}"


def _user(owner: str) -> str:
    return f"user#{owner}"


def _totals(item: Item) -> CostTotals:
    fields = plain(item)
    providers = {
        name.removeprefix("micros#"): int(amount) for name, amount in fields.items() if name.startswith("micros#")
    }
    return CostTotals(
        cost_micros=int(fields.get("costMicros", 0)),
        input_tokens=int(fields.get("inputTokens", 0)),
        output_tokens=int(fields.get("outputTokens", 0)),
        calls=int(fields.get("calls", 0)),
        micros_by_provider=providers,
    )
