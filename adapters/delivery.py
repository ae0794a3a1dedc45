"""Messages in DynamoDB: one partition for each campaign, every change of state conditional on the one before."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.campaign import record_key
from adapters.dynamodb import (
    TRANSACTION_ITEMS,
    Dynamo,
    Item,
    cancellation_reasons,
    chunks,
    from_item,
    plain,
    to_item,
    value,
)
from domain.campaign import CampaignStatus
from domain.delivery import Delivered, Message, MessageOutline, MessageStatus, StartOutcome, sources_of
from domain.errors import InvalidRequest
from domain.ports import MessageListing


class DynamoMessages:
    """``domain.ports.MessageStore``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("messages")

    async def create_many(self, messages: Sequence[Message]) -> None:
        """All of a chunk in one transaction; when some exist already, only the missing ones are written."""
        for chunk in chunks(messages, TRANSACTION_ITEMS):
            try:
                await self._dynamo.transact([self._put_new(message) for message in chunk])
            except self._dynamo.client.exceptions.TransactionCanceledException:
                stored = await self.get_many(chunk[0].campaign_id, [message.message_id for message in chunk])
                missing = [message for message in chunk if message.message_id not in stored]
                if len(missing) == len(chunk):
                    raise
                await self.create_many(missing)

    async def get_many(self, campaign_id: str, ids: Sequence[UUID]) -> dict[UUID, Message]:
        items = await self._dynamo.batch_get("messages", [_key(campaign_id, message_id) for message_id in ids])
        messages = [from_item(Message, item) for item in items]
        return {message.message_id: message for message in messages}

    async def transition(
        self,
        campaign_id: str,
        ids: Sequence[UUID],
        target: MessageStatus,
        *,
        reason: str = "",
        approved_by: str | None = None,
        batch: int | None = None,
    ) -> int:
        """A chunk goes in one transaction; what can't make the step is left out and the rest is tried again."""
        arrived = 0
        for chunk in chunks(ids, TRANSACTION_ITEMS):
            pending = chunk
            while pending:
                updates = [
                    self._step(campaign_id, message_id, target, reason, approved_by, batch) for message_id in pending
                ]
                try:
                    await self._dynamo.transact(updates)
                    arrived += len(pending)
                    break
                except self._dynamo.client.exceptions.TransactionCanceledException as error:
                    refused = [reason.get("Code") == "ConditionalCheckFailed" for reason in cancellation_reasons(error)]
                    if not any(refused):
                        raise
                    stuck = [message_id for message_id, no in zip(pending, refused, strict=True) if no]
                    stored = await self.get_many(campaign_id, stuck)
                    arrived += sum(message.status is target for message in stored.values())
                    pending = [message_id for message_id, no in zip(pending, refused, strict=True) if not no]
        return arrived

    async def outlines(self, campaign_id: str, account_id: str) -> list[MessageOutline]:
        return [
            from_item(MessageOutline, item)
            async for item in self._dynamo.query(
                TableName=self._table,
                KeyConditionExpression="campaignId = :campaign",
                FilterExpression="accountId = :account",
                ProjectionExpression="messageId, page, #status, reason, #batch",
                ExpressionAttributeNames={"#status": "status", "#batch": "batch"},
                ExpressionAttributeValues={":campaign": value(campaign_id), ":account": value(account_id)},
                ConsistentRead=True,
            )
        ]

    async def begin_send(self, message: Message, now: datetime) -> StartOutcome:
        check = {
            "ConditionCheck": {
                "TableName": self._dynamo.table("campaigns"),
                "Key": record_key(message.campaign_id),
                "ConditionExpression": "#status = :running",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":running": value(str(CampaignStatus.RUNNING))},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        update = self._update(
            message.campaign_id,
            message.message_id,
            "SET #status = :target, attempts = if_not_exists(attempts, :zero) + :one, "
            "firstAttemptAt = if_not_exists(firstAttemptAt, :now), updatedAt = :now",
            sources_of(MessageStatus.SENDING),
            {":target": str(MessageStatus.SENDING), ":zero": 0, ":one": 1, ":now": _iso(now)},
        )
        try:
            await self._dynamo.transact([check, {"Update": update}])
        except self._dynamo.client.exceptions.TransactionCanceledException as error:
            campaign, own = cancellation_reasons(error)
            if campaign.get("Code") == "ConditionalCheckFailed":
                return _why_not(campaign.get("Item") or {})
            if own.get("Code") == "ConditionalCheckFailed":
                return StartOutcome.NOT_SENDABLE
            raise
        return StartOutcome.STARTED

    async def record_sent(self, message: Message, delivered: Delivered, now: datetime) -> None:
        """Idempotent: a message that is sent already stays as it is."""
        await self._leave_sending(
            message,
            "SET #status = :target, platformMessageId = :platform, sentAt = :sent, cancelSeconds = :seconds, "
            "updatedAt = :now, reason = :none",
            {
                ":target": str(MessageStatus.SENT),
                ":platform": delivered.platform_message_id,
                ":sent": _iso(delivered.created_at or now),
                ":seconds": delivered.cancel_seconds,
                ":now": _iso(now),
                ":none": "",
            },
        )

    async def record_unsent(self, message: Message, reason: str, now: datetime, *, attempts: int) -> None:
        update = self._update(
            message.campaign_id,
            message.message_id,
            "SET #status = :target, reason = :reason, updatedAt = :now",
            [MessageStatus.SENDING],
            {":target": str(MessageStatus.QUEUED), ":reason": reason, ":now": _iso(now), ":attempts": attempts},
        )
        update["ConditionExpression"] += " AND attempts = :attempts"
        try:
            await self._dynamo.call(self._dynamo.client.update_item, **update)
        except self._dynamo.client.exceptions.ConditionalCheckFailedException:
            return

    async def count_by_status(self, campaign_id: str, account_id: str | None = None) -> dict[MessageStatus, int]:
        counts: dict[MessageStatus, int] = {}
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "campaignId = :campaign",
            "ExpressionAttributeValues": {":campaign": value(campaign_id)},
            "ExpressionAttributeNames": {"#status": "status"},
            "ProjectionExpression": "#status",
            "ConsistentRead": True,
        }
        if account_id is not None:
            arguments["FilterExpression"] = "accountId = :account"
            arguments["ExpressionAttributeValues"] |= {":account": value(account_id)}
        async for item in self._dynamo.query(**arguments):
            status = MessageStatus(item["status"]["S"])
            counts[status] = counts.get(status, 0) + 1
        return counts

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
        start = None if cursor is None else _key(campaign_id, _message_of(cursor))
        found: list[Message] = []
        async for item in self._dynamo.query(start=start, **arguments):
            found.append(from_item(Message, item))
            if len(found) > limit:
                return MessageListing(messages=tuple(found[:limit]), cursor=_cursor(found[limit - 1]))
        return MessageListing(messages=tuple(found), cursor=None)

    def _put_new(self, message: Message) -> Item:
        return {
            "Put": {
                "TableName": self._table,
                "Item": to_item(message),
                "ConditionExpression": "attribute_not_exists(messageId)",
            }
        }

    def _step(
        self,
        campaign_id: str,
        message_id: UUID,
        target: MessageStatus,
        reason: str,
        approved_by: str | None,
        batch: int | None,
    ) -> Item:
        expression = "SET #status = :target, reason = :reason"
        values: dict[str, object] = {":target": str(target), ":reason": reason}
        if approved_by is not None:
            expression += ", origin.approvedBy = :approver"
            values[":approver"] = approved_by
        if batch is not None:
            expression += ", #batch = :batch"
            values[":batch"] = batch
        return {"Update": self._update(campaign_id, message_id, expression, sources_of(target), values)}

    def _update(
        self,
        campaign_id: str,
        message_id: UUID,
        expression: str,
        sources: Sequence[MessageStatus],
        values: dict[str, Any],
    ) -> Item:
        names = {"#status": "status", **({"#batch": "batch"} if "#batch" in expression else {})}
        states = {f":from{number}": str(status) for number, status in enumerate(sources)}
        return {
            "TableName": self._table,
            "Key": _key(campaign_id, message_id),
            "UpdateExpression": expression,
            "ConditionExpression": f"#status IN ({', '.join(states)})",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {name: value(raw) for name, raw in (states | values).items()},
        }

    async def _leave_sending(self, message: Message, expression: str, values: dict[str, Any]) -> None:
        target = MessageStatus(values[":target"])
        update = self._update(message.campaign_id, message.message_id, expression, [MessageStatus.SENDING], values)
        try:
            await self._dynamo.call(self._dynamo.client.update_item, **update)
        except self._dynamo.client.exceptions.ConditionalCheckFailedException:
            stored = (await self.get_many(message.campaign_id, [message.message_id])).get(message.message_id)
            if stored is None or (stored.status is not target and not stored.status.is_terminal):
                raise


def _key(campaign_id: str, message_id: UUID) -> Item:
    return {"campaignId": value(campaign_id), "messageId": value(str(message_id))}


def _iso(moment: datetime) -> str:
    return moment.isoformat()


def _why_not(record: Item) -> StartOutcome:
    status = plain(record).get("status")
    if status in {CampaignStatus.PAUSED, CampaignStatus.PLANNING}:
        return StartOutcome.CAMPAIGN_PAUSED
    return StartOutcome.CAMPAIGN_CANCELLED


def _cursor(message: Message) -> str:
    return base64.urlsafe_b64encode(json.dumps(str(message.message_id)).encode()).decode()


def _message_of(cursor: str) -> UUID:
    try:
        return UUID(json.loads(base64.urlsafe_b64decode(cursor.encode())))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            "this cursor was not issued by this list; start again without it", field="cursor"
        ) from error
