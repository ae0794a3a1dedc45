"""Notes of single messages that no queue has yet, beside the records of their requests."""

from collections.abc import Sequence
from datetime import datetime

from adapters.delivery import message_put
from adapters.dynamodb import Dynamo, Item, from_item, sortable, to_item, value
from domain.delivery import Message
from domain.handover import HandOverNote

_NOTE = "handover"


class DynamoHandOvers:
    """``domain.ports.HandOvers``: the index by kind lists the notes, which are of a kind of their own, oldest first."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("campaigns")

    async def create(self, message: Message, *, keyed: bool) -> None:
        """A message that exists has its note, or is past it: neither is written."""
        note = to_item(
            HandOverNote(campaign_id=message.campaign_id, account_id=message.account_id, keyed=keyed),
            item=_NOTE,
            kind=_NOTE,
            createdAt=sortable(message.updated_at),
        )
        await self._dynamo.transact_each(
            {
                message.message_id: [
                    message_put(self._dynamo, message),
                    {"Put": {"TableName": self._table, "Item": note}},
                ]
            }
        )

    async def done(self, campaign_id: str) -> None:
        await self._dynamo.call(self._dynamo.client.delete_item, TableName=self._table, Key=_key(campaign_id))

    async def overdue(self, before: datetime) -> Sequence[HandOverNote]:
        found = self._dynamo.query(
            TableName=self._table,
            IndexName="by_kind",
            KeyConditionExpression="#kind = :kind AND createdAt < :before",
            ExpressionAttributeNames={"#kind": "kind"},
            ExpressionAttributeValues={":kind": value(_NOTE), ":before": value(sortable(before))},
        )
        return [from_item(HandOverNote, item) async for item in found]


def _key(campaign_id: str) -> Item:
    return {"campaignId": value(campaign_id), "item": value(_NOTE)}
