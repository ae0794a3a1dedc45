"""Webhook events that were consumed, in DynamoDB."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from adapters.dynamodb import Dynamo, Item, plain, value
from adapters.tables import EXPIRY

REMEMBERED_FOR = timedelta(days=90)
"""An event that is repeated after this would act again; one that says that it is older is refused."""


class DynamoInbox:
    """``domain.ports.Inbox``: remembering an event and counting it is one transaction."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("inbox")

    async def seen(self, digest: str) -> bool:
        return await self._dynamo.get("inbox", _event_key(digest)) is not None

    async def take(self, digest: str, event: str, account_id: str, now: datetime) -> bool:
        counter = _counter_key(account_id, now.astimezone(UTC).date().isoformat(), event)
        put = {
            "Put": {
                "TableName": self._table,
                "Item": {
                    **_event_key(digest),
                    EXPIRY: value(int((now + REMEMBERED_FOR).timestamp())),
                },
                "ConditionExpression": "attribute_not_exists(#scope)",
                "ExpressionAttributeNames": {"#scope": "scope"},
            }
        }
        return bool(await self._dynamo.transact_each({digest: [put, self._count(counter)]}))

    async def counts(self, account_id: str, day: str) -> Mapping[str, int]:
        found = {}
        async for item in self._dynamo.query(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": value(_counter_scope(account_id, day))},
            ConsistentRead=True,
        ):
            fields = plain(item)
            found[str(fields["entry"]).removeprefix("event#")] = int(fields["taken"])
        return found

    def _count(self, counter: Item) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": counter,
                "UpdateExpression": "ADD taken :one",
                "ExpressionAttributeValues": {":one": value(1)},
            }
        }


def _event_key(digest: str) -> Item:
    return {"scope": value(f"event#{digest}"), "entry": value("taken")}


def _counter_scope(account_id: str, day: str) -> str:
    return f"day#{day}#{account_id}"


def _counter_key(account_id: str, day: str, event: str) -> Item:
    return {"scope": value(_counter_scope(account_id, day)), "entry": value(f"event#{event}")}
