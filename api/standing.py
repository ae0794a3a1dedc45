"""Where a single message stands: its account, its place in the queue, and when it is likely to be sent."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.direct import MESSAGES
from api.outlook import expected, waiting, waiting_reason
from api.quota import Quota, quota
from domain.campaign import CampaignRecord
from domain.delivery import AccountControl, Message, MessageStatus, Priority
from domain.model import Model
from domain.ports import SendQueues
from domain.rate_limit import MessageType
from domain.send_queue import QueueOutlook


class DirectMessageView(Model):
    """A single message. ``position`` and ``eta`` while it is queued; ``reason``: why it waits, or why it ended so."""

    message_id: str
    account_id: str
    recipient_id: str
    message_type: MessageType
    priority: Priority
    status: MessageStatus
    reason: str
    text: str
    position: int | None = Field(description="its place in the account's queue, from 1")
    eta: datetime | None = Field(description="when it is likely to be sent; null: nobody can tell")
    attempts: int
    created_at: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    platform_message_id: str | None
    cancel_seconds: int | None
    status_url: str


class AccountNow(NamedTuple):
    """What decides about a message at this moment."""

    control: AccountControl
    quota: Quota
    outlook: QueueOutlook | None


async def account_now(
    record: CampaignRecord, recipient_id: str, ports: Ports, queues: SendQueues, settings: Settings
) -> AccountNow:
    """The account's state, limits and queue, asked at the same time."""
    return AccountNow(
        *await asyncio.gather(
            ports.accounts.control(record.account_id),
            quota(
                ports,
                settings.limit_policy,
                record.account_id,
                record.message_type,
                recipient_id,
                datetime.now(UTC),
            ),
            waiting(record.account_id, ports, queues),
        )
    )


def ahead(outlook: QueueOutlook | None, priority: Priority) -> int:
    """Messages that a new one of this priority has before it. Those of a paused campaign hold up nobody."""
    if outlook is None:
        return 0
    now = datetime.now(UTC)
    return sum(
        message.priority.rank <= priority.rank
        and not message.parked
        and (message.not_before is None or message.not_before <= now)
        for message in outlook.messages
    )


async def view_of(
    record: CampaignRecord, message: Message, account: AccountNow, ports: Ports, settings: Settings
) -> DirectMessageView:
    """The message as its caller sees it."""
    position, eta = await _place(message, account, ports, settings)
    reason = message.reason
    if not message.status.is_terminal:
        reason = reason or waiting_reason(account.outlook, account.control)
    return DirectMessageView(
        message_id=record.campaign_id,
        account_id=record.account_id,
        recipient_id=message.recipient_id,
        message_type=record.message_type,
        priority=record.priority,
        status=message.status,
        reason=reason,
        text=message.text,
        position=position,
        eta=eta,
        attempts=message.attempts,
        created_at=record.created_at,
        expires_at=message.expires_at,
        sent_at=message.sent_at,
        platform_message_id=message.platform_message_id,
        cancel_seconds=message.cancel_seconds,
        status_url=f"{MESSAGES}/{record.campaign_id}",
    )


async def _place(
    message: Message, account: AccountNow, ports: Ports, settings: Settings
) -> tuple[int | None, datetime | None]:
    """A queued message's place in the queue, from 1, and its likely time."""
    outlook = account.outlook
    if outlook is None or message.status is not MessageStatus.QUEUED:
        return None, None
    ids = [each.message_id for each in outlook.messages]
    if message.message_id not in ids:
        return None, None
    index = ids.index(message.message_id)
    now = datetime.now(UTC)
    moments = await expected(outlook, account.control, account.quota.limits, settings.limit_policy, ports, now)
    return index + 1, _admitted(moments[index], message, account.quota, now)


def _admitted(eta: datetime | None, message: Message, asked: Quota, now: datetime) -> datetime | None:
    """Not before the dry run for this very message says: it knows of the limits of its fan and of the installation."""
    reservation = asked.reservation
    if eta is None or reservation is None or asked.never:
        return None
    at = eta if asked.admits else max(eta, now + timedelta(milliseconds=reservation.retry_after_ms or 0))
    return None if message.expires_at is not None and message.expires_at <= at else at
