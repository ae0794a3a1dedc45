"""The ledger in DynamoDB, and how long reservations in Redis can live."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from adapters.dynamodb import Dynamo, Item, from_item, plain, to_item, value
from domain.cost import CostEntry, CostHold, CostTotals

_HORIZON = {"scope": value("reservations"), "entry": value("horizon")}
_HOLD = "hold#"
_ABSENT: Item = {
    "ConditionExpression": "attribute_not_exists(#scope)",
    "ExpressionAttributeNames": {"#scope": "scope"},
}


class DynamoCosts:
    """``domain.ports.CostStore`` and ``adapters.budget.Ledger``: an entry and all its totals are one transaction."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("costs")

    async def record(self, entry: CostEntry) -> bool:
        put = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(entry, scope=_campaign(entry.campaign_id), entry=f"entry#{entry.operation_id}"),
                **_ABSENT,
            }
        }
        totals = [self._add(scope, total, entry) for scope, total in _totals_of(entry)]
        return await self._once([put, *totals])

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

    async def hold(self, hold: CostHold) -> bool:
        key = {"scope": value(_campaign(hold.campaign_id)), "entry": value(f"entry#{hold.operation_id}")}
        unbooked = {"TableName": self._table, "Key": key, **_ABSENT}
        placed = {"TableName": self._table, "Item": to_item(hold, **_hold_key(hold)), **_ABSENT}
        return await self._once([{"ConditionCheck": unbooked}, {"Put": placed}, *self._held(hold, hold.micros)])

    async def holds(self, campaign_id: str) -> Sequence[CostHold]:
        return [
            from_item(CostHold, item)
            async for item in self._dynamo.query(
                TableName=self._table,
                KeyConditionExpression="#scope = :scope AND begins_with(#entry, :hold)",
                ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
                ExpressionAttributeValues={":scope": value(_campaign(campaign_id)), ":hold": value(_HOLD)},
                ConsistentRead=True,
            )
        ]

    async def release(self, hold: CostHold) -> bool:
        placed = {
            "TableName": self._table,
            "Key": {name: value(part) for name, part in _hold_key(hold).items()},
            "ConditionExpression": "attribute_exists(#scope)",
            "ExpressionAttributeNames": {"#scope": "scope"},
        }
        return await self._once([{"Delete": placed}, *self._held(hold, -hold.micros)])

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

    async def _once(self, items: list[Item]) -> bool:
        """False when a condition says that it is done already."""
        try:
            await self._dynamo.transact(items)
        except self._dynamo.client.exceptions.TransactionCanceledException as error:
            reasons: Any = error.response.get("CancellationReasons", [{}])
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                return False
            raise
        return True

    def _held(self, hold: CostHold, micros: int) -> list[Item]:
        return [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": {"scope": value(scope), "entry": value(total)},
                    "UpdateExpression": "ADD heldMicros :held",
                    "ExpressionAttributeValues": {":held": value(micros)},
                }
            }
            for scope, total in _totals_of(hold)
        ]

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


def _totals_of(booked: CostEntry | CostHold) -> tuple[tuple[str, str], ...]:
    """Scope and entry of each total that counts it: the campaign's, the user's day, everybody's day."""
    day = f"day#{booked.at.astimezone(UTC).date().isoformat()}"
    return (_campaign(booked.campaign_id), "total"), (_user(booked.owner), day), ("global", day)


def _hold_key(hold: CostHold) -> dict[str, str]:
    return {"scope": _campaign(hold.campaign_id), "entry": f"{_HOLD}{hold.operation_id}"}


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
        held_micros=int(fields.get("heldMicros", 0)),
        input_tokens=int(fields.get("inputTokens", 0)),
        output_tokens=int(fields.get("outputTokens", 0)),
        calls=int(fields.get("calls", 0)),
        micros_by_provider=providers,
    )
