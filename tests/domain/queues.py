"""Queues for tests, and a slow and plain statement of the order of service."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from domain.delivery import MessageStatus, Priority
from domain.rate_limit import MessageType
from domain.round import apply, start_round
from domain.send_queue import (
    Candidate,
    DeliveryReport,
    EnqueueBatch,
    QueuedBatch,
    SendQueue,
    Settled,
    enqueue,
)
from tests.domain.builders import NOW

ACCOUNT = "acct_luna"
LONG_AGO = NOW - timedelta(hours=1)
_SOME = UUID(int=0)


def message(campaign: str, batch: int, number: int) -> UUID:
    return uuid5(_SOME, f"{campaign}/{batch}/{number}")


def a_batch(
    campaign: str = "spring", batch: int = 0, size: int = 3, priority: Priority = Priority.MEDIUM, **more: Any
) -> EnqueueBatch:
    ids = tuple(message(campaign, batch, number) for number in range(size))
    return EnqueueBatch(campaign_id=campaign, batch=batch, priority=priority, message_ids=ids, **more)


def a_queue(*batches: EnqueueBatch, at: datetime = NOW) -> SendQueue:
    queue = SendQueue(account_id=ACCOUNT)
    for batch in batches:
        queue = enqueue(queue, batch, at)
    return queue


def ids_of(chosen: Iterable[Candidate]) -> list[UUID]:
    return [candidate.message_id for candidate in chosen]


def settled(*ids: UUID, status: MessageStatus = MessageStatus.SENT) -> DeliveryReport:
    return DeliveryReport(settled=tuple(Settled(message_id=key, status=status) for key in ids))


def send(queue: SendQueue, now: datetime, *ids: UUID) -> SendQueue:
    """The queue after a round that sent exactly these."""
    after, _ = apply(start_round(queue), settled(*ids), now)
    return after


def limited(kind: MessageType, wait_ms: int) -> DeliveryReport:
    return DeliveryReport(type_waits_ms={kind: wait_ms})


def is_over(queue: SendQueue, batch: QueuedBatch, key: UUID, now: datetime) -> bool:
    """Whether a message is only to be ended."""
    late = batch.expires_at is not None and batch.expires_at <= now
    return late or batch.campaign_id in queue.dropped_campaigns or key in queue.dropped_messages


def may_go(queue: SendQueue, batch: QueuedBatch, key: UUID, now: datetime) -> bool:
    """Whether only the account can keep a message from being sent."""
    holds = (batch.not_before, queue.type_not_before.get(batch.message_type), queue.not_before.get(key))
    parked = batch.campaign_id in queue.paused_campaigns
    return not parked and not is_over(queue, batch, key, now) and all(at is None or at <= now for at in holds)


def waits_since(batch: QueuedBatch) -> tuple[datetime, int]:
    """Since when a batch waits, and its place among those that wait as long."""
    return max(at for at in (batch.arrived_at, batch.not_before) if at is not None), batch.sequence


def plain_order(queue: SendQueue, now: datetime) -> list[UUID]:
    """What may go, in the order of service: one look at everything for each message."""
    rest = [(batch, key) for batch in queue.batches for key in batch.message_ids if may_go(queue, batch, key, now)]
    turns, served, result = dict(queue.turns), queue.served, list[UUID]()
    while rest:
        oldest = min(rest, key=lambda each: waits_since(each[0]))
        if (served + 1) % 5 == 0 and now - waits_since(oldest[0])[0] > timedelta(minutes=30):
            taken = oldest
        else:
            taken = min(
                rest, key=lambda each: (each[0].priority.rank, turns.get(each[0].flow, -1), *waits_since(each[0]))
            )
            turns[taken[0].flow] = served
        rest.remove(taken)
        result.append(taken[1])
        served += 1
    return result
