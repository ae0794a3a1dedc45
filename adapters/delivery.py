"""Messages in DynamoDB: one partition for each campaign, every change of state conditional on the one before."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from adapters.attempt import outcome_items
from adapters.dynamodb import (
    TRANSACTION_ITEMS,
    Dynamo,
    Item,
    chunks,
    from_cursor,
    from_item,
    plain,
    sortable,
    to_cursor,
    to_item,
    value,
)
from adapters.message import message_key, message_update
from adapters.receipt import begin_named, sent_beside
from adapters.review_queue import review_place, waiting_drafts
from domain.delivery import Attempt, Message, MessageOutline, MessageReview, MessageStatus, Outcome
from domain.errors import Conflict, InvalidRequest
from domain.ports import MessageListing, ReviewFilter, ReviewListing

_OF_A_TAKEN_MESSAGE = (
    *("text", "origin", "compliance", "quality", "reason", "attempts", "failures"),
    *("revision", "earlier", "updatedAt"),
)
"""What changes of a message whose recipient gets something else together with others."""


class DynamoMessages:
    """``domain.ports.MessageStore``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("messages")

    async def create_many(self, messages: Sequence[Message]) -> None:
        """All of a chunk in one transaction; when some exist already, only the missing ones are written."""
        for chunk in chunks(messages, TRANSACTION_ITEMS):
            try:
                await self._dynamo.transact([message_put(self._dynamo, message) for message in chunk])
            except self._dynamo.client.exceptions.TransactionCanceledException:
                stored = await self.get_many(chunk[0].campaign_id, [message.message_id for message in chunk])
                missing = [message for message in chunk if message.message_id not in stored]
                if len(missing) == len(chunk):
                    raise
                await self.create_many(missing)

    async def get_many(self, campaign_id: str, ids: Sequence[UUID]) -> dict[UUID, Message]:
        keys = [message_key(campaign_id, message_id) for message_id in dict.fromkeys(ids)]
        messages = [from_item(Message, item) for item in await self._dynamo.batch_get("messages", keys)]
        return {message.message_id: message for message in messages}

    async def transition(
        self,
        campaign_id: str,
        ids: Sequence[UUID],
        target: MessageStatus,
        *,
        reason: str = "",
        batch: int | None = None,
    ) -> int:
        """A chunk goes in one transaction; what can't make the step is left out and the rest is tried again."""
        changes: dict[str, object] = {"reason": reason}
        if batch is not None:
            changes["batch"] = batch
        made = await self._dynamo.transact_each(
            {
                message_id: [
                    {"Update": message_update(self._dynamo, message_key(campaign_id, message_id), target, changes)}
                ]
                for message_id in ids
            }
        )
        stuck = [message_id for message_id in ids if message_id not in made]
        stored = await self.get_many(campaign_id, stuck)
        return len(made) + sum(message.status is target for message in stored.values())

    async def decide(
        self,
        drafts: Sequence[Message],
        target: MessageStatus,
        *,
        reason: str,
        review: MessageReview | None,
        now: datetime,
    ) -> None:
        """Only from ``drafted``: an approval that came first is not taken back by what was decided about a draft.

        A person's decision (``review``) is about the revision in ``drafts``; a draft with another one stays.
        """
        await self._dynamo.transact_each(
            {
                message.message_id: [
                    {
                        "Update": self._from_draft(
                            message,
                            target,
                            _decided(message, target, reason, review, now),
                            only_if=None if review is None else {"revision": message.revision},
                        )
                    }
                ]
                for message in drafts
            }
        )

    async def edit(self, message: Message) -> bool:
        names = ("text", "origin", "compliance", "quality", "reason", "revision", "earlier", "review", "updatedAt")
        changes = _document(message, names)
        update = self._from_draft(message, message.status, changes, only_if={"revision": message.revision - 1})
        try:
            await self._dynamo.call(self._dynamo.client.update_item, **update)
        except self._dynamo.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    async def take(self, messages: Sequence[Message]) -> None:
        await self._dynamo.transact_each(
            {message.message_id: [{"Update": self._taking(message)}] for message in messages}
        )

    def _taking(self, message: Message) -> Item:
        return message_update(
            self._dynamo,
            message_key(message.campaign_id, message.message_id),
            MessageStatus.SENDING,
            _document(message, _OF_A_TAKEN_MESSAGE),
            # Three steps in one: whoever asked for the campaign has approved the text, and it goes at once.
            sources=[MessageStatus.DRAFTED, MessageStatus.APPROVED, MessageStatus.QUEUED],
            only_if={"revision": message.revision - 1},
            # Of what was tried before nothing is left.
            forget=["firstAttemptAt"],
        )

    async def waiting(self, filters: ReviewFilter, *, limit: int, cursor: str | None) -> ReviewListing:
        return await waiting_drafts(self._dynamo, filters, limit=limit, cursor=cursor)

    async def outlines(self, campaign_id: str, account_id: str) -> list[MessageOutline]:
        return [from_item(MessageOutline, item) async for item in self._standings(campaign_id, account_id)]

    async def begin_sends(self, attempts: Sequence[Attempt], now: datetime) -> frozenset[UUID]:
        return await self._dynamo.transact_each(
            {attempt.message.message_id: begin_named(self._dynamo, attempt, now) for attempt in attempts}
        )

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Raises when a receipt is for a message that was not on its way, after everything else is stored."""
        together: dict[UUID, Outcome] = {}
        for outcome in outcomes:
            # A transaction takes each message once.
            if outcome.attempt.message.message_id in together:
                await self._settle(together)
                together = {}
            together[outcome.attempt.message.message_id] = outcome
        await self._settle(together)

    async def _settle(self, outcomes: Mapping[UUID, Outcome]) -> None:
        made = await self._dynamo.transact_each(
            {message_id: outcome_items(self._dynamo, outcome) for message_id, outcome in outcomes.items()}
        )
        for message_id, outcome in outcomes.items():
            if outcome.status is MessageStatus.SENT and message_id not in made:
                campaign_id = outcome.attempt.message.campaign_id
                stored = (await self.get_many(campaign_id, [message_id])).get(message_id)
                if stored is None or not stored.status.is_terminal:
                    raise RuntimeError(f"message {message_id} arrived, but was not on its way")

    async def sent_beside(self, message: Message) -> Sequence[Message]:
        return await sent_beside(self._dynamo, message)

    async def record_recalled(self, message: Message, now: datetime) -> None:
        """Raises ``Conflict`` for a message that was not sent."""
        key = message_key(message.campaign_id, message.message_id)
        update = message_update(self._dynamo, key, MessageStatus.RECALLED, {"updatedAt": sortable(now)})
        try:
            await self._dynamo.call(self._dynamo.client.update_item, **update)
        except self._dynamo.client.exceptions.ConditionalCheckFailedException as error:
            stored = (await self.get_many(message.campaign_id, [message.message_id])).get(message.message_id)
            if stored is None or stored.status is not MessageStatus.RECALLED:
                raise Conflict("only a message that was sent can be recalled") from error

    async def dead_letters(self, account_id: str, *, limit: int, cursor: str | None) -> MessageListing:
        """By the time of the last attempt; a message appears here, and leaves, about a second late."""
        start = None if cursor is None else _dead_letter_of(cursor, account_id)
        return await _listing(self._dead_letters(account_id, start, Limit=limit + 1), limit, _dead_letter_cursor)

    async def dead_letter(self, account_id: str, message_id: UUID) -> Message | None:
        found = self._dead_letters(
            account_id,
            None,
            FilterExpression="messageId = :message",
            values={":message": value(str(message_id))},
        )
        async for indexed in found:
            item = await self._dynamo.get("messages", message_key(indexed["campaignId"]["S"], message_id))
            if item is not None and "deadLetterOf" in item:
                return from_item(Message, item)
        return None

    def _dead_letters(
        self, account_id: str, start: Item | None, values: Item | None = None, **arguments: Any
    ) -> AsyncIterator[Item]:
        return self._dynamo.query(
            start=start,
            TableName=self._table,
            IndexName="dead_letters",
            KeyConditionExpression="deadLetterOf = :account",
            ExpressionAttributeValues={":account": value(account_id), **(values or {})},
            ScanIndexForward=False,
            **arguments,
        )

    async def close_dead_letter(self, message: Message, note: str) -> str:
        """The note is kept beside the reason, as ``closedBecause``."""
        try:
            await self._dynamo.call(
                self._dynamo.client.update_item,
                TableName=self._table,
                Key=message_key(message.campaign_id, message.message_id),
                UpdateExpression="SET closedBecause = :note REMOVE deadLetterOf",
                ConditionExpression="attribute_exists(deadLetterOf)",
                ExpressionAttributeValues={":note": value(note)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException as error:
            stored = cast("dict[str, Any]", error.response).get("Item", {})
            return str(stored.get("closedBecause", {}).get("S", ""))
        return note

    async def count_by_status(self, campaign_id: str, account_id: str | None = None) -> dict[MessageStatus, int]:
        counts: dict[MessageStatus, int] = {}
        async for item in self._standings(campaign_id, account_id):
            status = MessageStatus(item["status"]["S"])
            counts[status] = counts.get(status, 0) + 1
        return counts

    def _standings(self, campaign_id: str, account_id: str | None) -> AsyncIterator[Item]:
        """Where messages stand, without what they say."""
        of_account = account_id is not None
        return self._dynamo.query(
            TableName=self._table,
            IndexName="by_account",
            KeyConditionExpression="campaignId = :campaign" + " AND accountId = :account" * of_account,
            ExpressionAttributeValues={
                ":campaign": value(campaign_id),
                **({":account": value(account_id)} if of_account else {}),
            },
            ConsistentRead=True,
        )

    async def list(
        self,
        campaign_id: str,
        *,
        status: MessageStatus | None,
        account_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> MessageListing:
        values: Item = {":campaign": value(campaign_id)}
        filters: list[str] = []
        names: dict[str, str] = {}
        if status is not None:
            values[":status"], names["#status"] = value(str(status)), "status"
            filters.append("#status = :status")
        if account_id is not None:
            values[":account"] = value(account_id)
            filters.append("accountId = :account")
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "campaignId = :campaign",
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
            **({"FilterExpression": " AND ".join(filters)} if filters else {}),
            **({"ExpressionAttributeNames": names} if names else {}),
        }
        start = None if cursor is None else message_key(campaign_id, _message_of(cursor))
        return await _listing(self._dynamo.query(start=start, **arguments), limit, _cursor)

    def _from_draft(
        self,
        message: Message,
        target: MessageStatus,
        changes: Mapping[str, object],
        only_if: Mapping[str, object] | None = None,
    ) -> Item:
        key = message_key(message.campaign_id, message.message_id)
        drafted = [MessageStatus.DRAFTED]
        return message_update(self._dynamo, key, target, changes, sources=drafted, only_if=only_if)


def message_put(dynamo: Dynamo, message: Message) -> Item:
    """The part of a transaction that stores a message which is not there yet."""
    return {
        "Put": {
            "TableName": dynamo.table("messages"),
            "Item": to_item(message, updatedAt=sortable(message.updated_at), **review_place(message)),
            "ConditionExpression": "attribute_not_exists(messageId)",
        }
    }


def _document(message: Message, names: Sequence[str]) -> dict[str, object]:
    document = plain(to_item(message, updatedAt=sortable(message.updated_at)))
    return {name: document[name] for name in names if name in document}


def _decided(
    message: Message, target: MessageStatus, reason: str, review: MessageReview | None, now: datetime
) -> dict[str, object]:
    changes: dict[str, object] = {"reason": reason, "updatedAt": sortable(now)}
    if review is not None:
        changes["review"] = plain(to_item(review))
    if review is not None and target is MessageStatus.APPROVED and message.origin is not None:
        changes["origin.approvedBy"] = review.decided_by
        changes["origin.approvedAt"] = sortable(review.decided_at)
    return changes


async def _listing(items: AsyncIterator[Item], limit: int, cursor: Callable[[Message], str]) -> MessageListing:
    found: list[Message] = []
    async for item in items:
        found.append(from_item(Message, item))
        if len(found) > limit:
            return MessageListing(messages=tuple(found[:limit]), cursor=cursor(found[limit - 1]))
    return MessageListing(messages=tuple(found), cursor=None)


def _cursor(message: Message) -> str:
    return to_cursor(str(message.message_id))


def _message_of(cursor: str) -> UUID:
    try:
        return UUID(from_cursor(cursor))
    except (ValueError, TypeError, AttributeError) as error:
        raise _foreign_cursor() from error


def _dead_letter_cursor(message: Message) -> str:
    return to_cursor([message.campaign_id, str(message.message_id), sortable(message.updated_at)])


def _dead_letter_of(cursor: str, account_id: str) -> Item:
    try:
        campaign_id, message_id, updated_at = from_cursor(cursor)
        key = message_key(str(UUID(campaign_id)), UUID(message_id))
        return {
            **key,
            "deadLetterOf": value(account_id),
            "updatedAt": value(sortable(datetime.fromisoformat(updated_at))),
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise _foreign_cursor() from error


def _foreign_cursor() -> InvalidRequest:
    return InvalidRequest("this cursor was not issued by this list; start again without it", field="cursor")
