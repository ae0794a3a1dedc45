"""From the store into the send queue: a single message is handed over now, or soon, or it ends.

What this process can't do because it ends, a worker does: ``activities.handover``.
"""

from contextlib import suppress
from uuid import uuid4

from adapters.bootstrap import Ports
from api.background import Background
from api.direct import Stored, enqueue, stored_message
from api.refusals import QueueFull
from domain.campaign import CampaignRecord
from domain.delivery import Message, MessageStatus, Priority
from domain.errors import HuntazeError, RateLimitExceeded
from domain.handover import NEVER_QUEUED
from domain.ports import SendQueues
from domain.send_queue import FULL_AGAIN, QueueOutlook, has_room


def require_room(outlook: QueueOutlook | None, priority: Priority, *, may_wait: bool) -> None:
    """Raises ``QueueFull`` when the queue has no room for one more, ``RateLimitExceeded`` for whoever must not wait.

    To be asked before anything is stored.
    """
    if outlook is not None and not has_room(outlook.depth, outlook.batches, 1, priority):
        raise _full(
            f"The send queue of the account has no room for the priority {priority}. Nothing was stored; come back "
            "after Retry-After.",
            may_wait=may_wait,
        )


async def hand_over(
    stored: Stored, queues: SendQueues, ports: Ports, background: Background, *, keyed: bool, may_wait: bool
) -> None:
    """Hand a message over that its caller waits for.

    When that fails, a request that can be repeated (``keyed``) goes on in the background: its repetition is the same
    message. Nobody can repeat a request without a key, what comes next is another message, so this one ends; and so
    does what a full queue has refused. A caller is told nothing that is not stored: a refusal is, and without a key the
    note is gone by which a worker would end the message.
    """
    record = stored.record

    async def end() -> None:
        await ports.messages.transition(
            record.campaign_id, [stored.message.message_id], MessageStatus.CANCELLED, reason=NEVER_QUEUED
        )

    async def forget() -> None:
        await ports.handovers.done(record.campaign_id)

    try:
        await enqueue(stored, queues)
        if not keyed:
            await forget()
    except RateLimitExceeded as error:
        await end()
        raise _full(
            "The send queue of the account has become full, so the message was not taken and never will be. Come "
            "back after Retry-After with a new Idempotency-Key.",
            may_wait=may_wait,
        ) from error
    except Exception:
        if keyed:
            hand_over_later(record, queues, ports, background)
        else:
            # What can't be ended now is ended by a worker, by its note.
            with suppress(Exception):
                await end()
        raise
    if keyed:
        # Nobody waits for it: a note that is left behind costs one more look.
        background.repeat(f"handed-over-{record.campaign_id}", forget)


def hand_over_later(record: CampaignRecord, queues: SendQueues, ports: Ports, background: Background) -> None:
    """Hand a stored message over in the background, unless it has ended by then. Harmless when it is queued."""

    async def step() -> None:
        message = await stored_message(record, ports)
        await enqueue(Stored(record, message, replayed=True), queues, again=str(uuid4()))
        await ports.handovers.done(record.campaign_id)

    background.repeat(record.campaign_id, step)


def is_lost(message: Message, outlook: QueueOutlook | None) -> bool:
    """Whether a message should wait in a queue that does not show it, as when the API died in between."""
    known = outlook is not None and any(each.message_id == message.message_id for each in outlook.messages)
    return message.status is MessageStatus.QUEUED and not known


def _full(detail: str, *, may_wait: bool) -> HuntazeError:
    kind = QueueFull if may_wait else RateLimitExceeded
    return kind(detail, retry_after_s=FULL_AGAIN.total_seconds())
