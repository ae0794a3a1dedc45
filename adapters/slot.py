"""Grants in DynamoDB: what the limiter is rebuilt from when Redis has lost its memory."""

from collections.abc import Sequence
from datetime import timedelta

from adapters.dynamodb import TRANSACTION_ITEMS, Dynamo, Item, chunks, from_item, to_item, value
from adapters.tables import EXPIRY
from domain.rate_limit import Slot

_KEPT_FOR = timedelta(days=2)
"""A slot counts for a day at most."""


class DynamoSlots:
    """``domain.ports.SlotLog``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("slots")

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        """One account is a query; all of them are a scan of what two days have left in the table."""
        since = value(f"{since_us:020d}")
        if account_id is None:
            found = self._dynamo.scan(
                TableName=self._table,
                FilterExpression="slot >= :since",
                ExpressionAttributeValues={":since": since},
                ConsistentRead=True,
            )
        else:
            found = self._dynamo.query(
                TableName=self._table,
                KeyConditionExpression="accountId = :account AND slot >= :since",
                ExpressionAttributeValues={":account": value(account_id), ":since": since},
                ConsistentRead=True,
            )
        return [from_item(Slot, item) async for item in found]

    async def keep(self, slots: Sequence[Slot]) -> None:
        await self._dynamo.batch_put("slots", [_item(slot) for slot in slots])

    async def forget(self, slots: Sequence[Slot]) -> None:
        for chunk in chunks(slots, TRANSACTION_ITEMS):
            await self._dynamo.transact([slot_delete(self._dynamo, slot) for slot in chunk])


def slot_name(slot: Slot) -> str:
    """The slot's name within its account: in the order of the moments from which slots count."""
    return f"{slot.counts_at_us:020d}#{slot.lease_id}"


def slot_put(dynamo: Dynamo, slot: Slot) -> Item:
    """The part of a transaction that remembers a slot."""
    return {"Put": {"TableName": dynamo.table("slots"), "Item": _item(slot)}}


def slot_delete(dynamo: Dynamo, slot: Slot) -> Item:
    """The part of a transaction that forgets a slot."""
    key = {"accountId": value(slot.account_id), "slot": value(slot_name(slot))}
    return {"Delete": {"TableName": dynamo.table("slots"), "Key": key}}


def _item(slot: Slot) -> Item:
    expires = slot.counts_at_us // 1_000_000 + int(_KEPT_FOR.total_seconds())
    return to_item(slot, slot=slot_name(slot), **{EXPIRY: expires})
