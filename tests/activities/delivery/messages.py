"""Messages of a campaign as the store has them, and what became of them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from adapters.bootstrap import Ports
from domain.alert import AlertKind
from domain.campaign import CampaignRecord
from domain.delivery import Attempt, Message, MessageStatus, Outcome, message_id
from domain.rate_limit import Slot
from domain.send_queue import DeliveryReport
from tests.local import Simulator

Deliver = Callable[..., Awaitable[DeliveryReport]]


async def queue(ports: Ports, record: CampaignRecord, *recipients: str, **changes: object) -> list[Message]:
    """Messages of the campaign that wait to be sent."""
    account = record.lanes[0].account_id
    queued = [
        Message(
            message_id=message_id(record.campaign_id, account, recipient),
            campaign_id=record.campaign_id,
            account_id=account,
            recipient_id=recipient,
            page=0,
            message_type=record.message_type,
            status=MessageStatus.QUEUED,
            text="Hello Maya, spring is here.",
            updated_at=datetime.now(UTC),
        ).model_copy(update=changes)
        for recipient in recipients
    ]
    await ports.messages.create_many(queued)
    return queued


async def stored(ports: Ports, message: Message) -> Message:
    return (await ports.messages.get_many(message.campaign_id, [message.message_id]))[message.message_id]


async def grow_old(ports: Ports, message: Message, age: timedelta = timedelta(minutes=1)) -> None:
    """Let an open attempt be old."""
    old = datetime.now(UTC) - age
    slot = Slot(
        lease_id=uuid4().hex,
        account_id=message.account_id,
        message_type=message.message_type,
        recipient_id=message.recipient_id,
        counts_at_us=int(old.timestamp() * 1_000_000),
    )
    attempt = Attempt(message=message, slot=slot)
    await ports.messages.begin_sends([attempt], old)
    await ports.messages.settle(
        [
            Outcome(
                attempt=attempt,
                status=MessageStatus.SENDING,
                reason=message.reason,
                attempts=message.attempts + 1,
                failures=message.failures,
                at=old,
            )
        ]
    )


async def accepted(onlyfans: Simulator) -> int:
    number: int = (await onlyfans.get("report"))["totals"]["accepted"]
    return number


async def alerts(ports: Ports, account_id: str) -> list[AlertKind]:
    since = datetime.now(UTC) - timedelta(hours=1)
    return [alert.kind for alert in await ports.alerts.since(since, account_id=account_id)]
