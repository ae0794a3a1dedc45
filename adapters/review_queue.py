"""The order of drafts that wait for a person, as an index of the message table: by shard, by the time of writing.

A queue is a shard of all owners, so that everybody's drafts can be listed with a handful of queries, and one owner's
with one. A place is a moment and the message's id, so that no two messages share one and a cursor is a place.
"""

import asyncio
from datetime import datetime
from itertools import chain
from typing import Any
from zlib import crc32

from adapters.dynamodb import Dynamo, Item, from_cursor, from_item, sortable, to_cursor, value
from domain.delivery import Message, MessageStatus
from domain.errors import InvalidRequest
from domain.ports import ReviewFilter, ReviewListing, WaitingDraft

SHARDS = 8
_READ_AT_ONCE = 200
"""Entries of the index in one query, before what the filter leaves of them."""


def review_place(message: Message) -> dict[str, str]:
    """The attributes that put a new message into the queue; none, unless it is a draft."""
    if message.status is not MessageStatus.DRAFTED:
        return {}
    place = f"{sortable(message.updated_at)}#{message.message_id}"
    return {"reviewQueue": _shard(message.owner), "reviewPlace": place}


async def waiting_drafts(dynamo: Dynamo, filters: ReviewFilter, *, limit: int, cursor: str | None) -> ReviewListing:
    """``domain.ports.MessageStore.waiting``."""
    after = "" if cursor is None else _place_of(cursor)
    shards = [str(shard) for shard in range(SHARDS)] if filters.owner is None else [_shard(filters.owner)]
    read = await asyncio.gather(*(_entries(dynamo, shard, filters, after, limit + 1) for shard in shards))
    entries = sorted(chain.from_iterable(read), key=lambda entry: entry["reviewPlace"]["S"])
    here, more = entries[:limit], entries[limit:]
    drafts = await _drafts(dynamo, here)
    return ReviewListing(drafts=tuple(drafts), cursor=to_cursor(here[-1]["reviewPlace"]["S"]) if more else None)


async def _entries(dynamo: Dynamo, shard: str, filters: ReviewFilter, after: str, most: int) -> list[Item]:
    """The first entries of a shard behind a place."""
    wanted = {
        "owner": filters.owner,
        "accountId": filters.account_id,
        "campaignId": filters.campaign_id,
    }
    given = {name: text for name, text in wanted.items() if text is not None}
    filtering: dict[str, Any] = {
        "FilterExpression": " AND ".join(f"#{name} = :{name}" for name in given),
        "ExpressionAttributeNames": {f"#{name}": name for name in given},
    }
    entries: list[Item] = []
    async for entry in dynamo.query(
        TableName=dynamo.table("messages"),
        IndexName="reviews",
        KeyConditionExpression="reviewQueue = :queue AND reviewPlace > :after",
        ExpressionAttributeValues={
            ":queue": value(shard),
            # No place is empty, but the value of a key must not be either.
            ":after": value(after or "0"),
            **{f":{name}": value(text) for name, text in given.items()},
        },
        Limit=_READ_AT_ONCE,
        **(filtering if given else {}),
    ):
        entries.append(entry)
        if len(entries) == most:
            break
    return entries


async def _drafts(dynamo: Dynamo, entries: list[Item]) -> list[WaitingDraft]:
    """What the entries stand for, read consistently: the index follows the table about a second late."""
    keys = [{name: entry[name] for name in ("campaignId", "messageId")} for entry in entries]
    found = [from_item(Message, item) for item in await dynamo.batch_get("messages", keys)]
    drafts = {str(message.message_id): message for message in found if message.status is MessageStatus.DRAFTED}
    return [
        WaitingDraft(message=drafts[entry["messageId"]["S"]], since=_since(entry["reviewPlace"]["S"]))
        for entry in entries
        if entry["messageId"]["S"] in drafts
    ]


def _shard(owner: str) -> str:
    return str(crc32(owner.encode()) % SHARDS)


def _since(place: str) -> datetime:
    return datetime.fromisoformat(place.partition("#")[0])


def _place_of(cursor: str) -> str:
    try:
        place = from_cursor(cursor)
        _since(place)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            "this cursor was not issued by this list; start again without it", field="cursor"
        ) from error
    return str(place)
