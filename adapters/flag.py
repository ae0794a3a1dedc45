"""Flags in DynamoDB, which is the truth.

A change is one transaction, after which it is pushed over Redis. A push says only that something changed.
"""

import asyncio
from collections.abc import Sequence

import structlog
from redis.exceptions import RedisClusterException, RedisError

from adapters.audit import audit_items
from adapters.dynamodb import Dynamo, Item, plain, to_item, value
from adapters.redis import RedisClient
from domain.audit import AuditEntry
from domain.flag import Flag

_PUBLISH_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_PUBLISH_WAIT_S = 0.25

_PRESENT = "flags"

log = structlog.get_logger()


class DynamoFlags:
    """``domain.ports.FlagStore``: all flags in one partition, and one for the revisions of each."""

    def __init__(self, dynamo: Dynamo, redis: RedisClient) -> None:
        self._dynamo = dynamo
        self._redis = redis
        self._publishing: set[asyncio.Task[None]] = set()

    async def get(self, name: str) -> Flag | None:
        """As it is now, read consistently."""
        item = await self._dynamo.get("flags", {"scope": value(_PRESENT), "entry": value(name)})
        return None if item is None else _flag(item)

    async def all(self) -> Sequence[Flag]:
        """By name, read consistently."""
        return await stored_flags(self._dynamo)

    async def put(self, flag: Flag, entry: AuditEntry) -> bool:
        """Store revision ``n`` over revision ``n - 1`` together with its audit entry; False when somebody else was
        faster. Idempotent: repeated after an answer that got lost, it is True again.

        A push that fails is tried again for a while, without the caller; its failure is none of the change.
        """
        table = self._dynamo.table("flags")
        present = {
            "TableName": table,
            "Item": to_item(flag, scope=_PRESENT, entry=flag.name),
            **_follows(flag.revision),
        }
        revision = {
            "TableName": table,
            "Item": to_item(flag, scope=_revisions_of(flag.name), entry=f"{flag.revision:010d}"),
        }
        items: list[Item] = [{"Put": present}, {"Put": revision}, *audit_items(self._dynamo, entry)]
        if not await self._dynamo.transact_each({flag.name: items}) and await self.get(flag.name) != flag:
            return False
        publishing = asyncio.create_task(self._publish(flag))
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        await asyncio.wait({publishing}, timeout=_PUBLISH_WAIT_S)
        return True

    async def history(self, name: str, *, limit: int) -> Sequence[Flag]:
        """Every revision, newest first, the present one included."""
        found: list[Flag] = []
        async for item in self._dynamo.query(
            TableName=self._dynamo.table("flags"),
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": value(_revisions_of(name))},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=limit,
        ):
            found.append(_flag(item))
            if len(found) == limit:
                break
        return found

    async def _publish(self, flag: Flag) -> None:
        for pause_s in _PUBLISH_PAUSES_S:
            try:
                await self._redis.execute_command("PUBLISH", channel_of(self._dynamo), flag.name)
            except (RedisError, RedisClusterException, OSError):
                await asyncio.sleep(pause_s)
            else:
                return
        log.warning("flag_not_pushed", flag=flag.name, revision=flag.revision, effect="processes find it by asking")


async def stored_flags(dynamo: Dynamo) -> Sequence[Flag]:
    """All flags by name, read consistently."""
    return [
        _flag(item)
        async for item in dynamo.query(
            TableName=dynamo.table("flags"),
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": value(_PRESENT)},
            ConsistentRead=True,
        )
    ]


def channel_of(dynamo: Dynamo) -> str:
    """Where changes of an installation's flags are pushed: several may share a Redis."""
    return dynamo.table("flags")


def _flag(item: Item) -> Flag:
    # What the next release added to a flag's parts is no misspelling.
    return Flag.model_validate(plain(item), extra="ignore")


def _revisions_of(name: str) -> str:
    return f"revisions#{name}"


def _follows(revision: int) -> Item:
    """The condition that the stored revision is the one before."""
    if revision == 1:
        return {
            "ConditionExpression": "attribute_not_exists(#scope)",
            "ExpressionAttributeNames": {"#scope": "scope"},
        }
    return {
        "ConditionExpression": "revision = :before",
        "ExpressionAttributeValues": {":before": value(revision - 1)},
    }
