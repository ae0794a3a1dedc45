"""An account's queue as a value: what waits, what may go next, and what a delivery round changed.

Only ids, never texts. Every function returns a new queue; the workflow keeps the current one and carries it
through continue-as-new.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field

from domain.delivery import MessageStatus, Priority
from domain.model import AccountId, Model

ROUND_SIZE = 20
"""Candidates handed to one delivery round: twice the hard ceiling of a minute."""


DROP_SIZE = 100
"""Messages of cancelled campaigns that one round ends."""

WORKFLOW = "SendQueueWorkflow"
ENQUEUE = "enqueue"
"""Names that clients outside the workflow layer use."""


class QueuedBatch(Model):
    """Messages of one campaign that arrived together and wait to be sent."""

    campaign_id: str
    batch: int = Field(ge=0)
    priority: Priority
    sequence: int = Field(description="order of arrival in this queue")
    message_ids: tuple[UUID, ...]


class EnqueueBatch(Model):
    """The queue's only way in: one batch, one update. A batch that is already there changes nothing."""

    campaign_id: str
    batch: int = Field(ge=0, description="counted by the campaign, per account")
    priority: Priority
    message_ids: tuple[UUID, ...]


class Enqueued(Model):
    """The answer: the place of the batch's last message in the queue, from 1."""

    position: int


class Candidate(Model):
    """A message that may be sent now, by reference."""

    campaign_id: str
    message_id: UUID


class Settled(Model):
    """A message that reached a terminal state."""

    message_id: UUID
    status: MessageStatus


class Deferred(Model):
    """A message that must wait although its account need not."""

    message_id: UUID
    delay_ms: int = Field(ge=0)


class DeliveryRound(Model):
    """What one run of the delivery activity is asked to do."""

    account_id: AccountId
    candidates: tuple[Candidate, ...]


class DeliveryReport(Model):
    """What one run of the delivery activity did. ``wait_ms``: the account must wait that long, for ``reason``."""

    settled: tuple[Settled, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    paused_campaigns: tuple[str, ...] = ()
    wait_ms: int = 0
    reason: str = ""


class BatchReceipt(Model):
    """How many messages of a batch ended how, since the last receipt."""

    batch: int
    counts: dict[MessageStatus, int]


class Receipts(Model):
    """Sent to a campaign after each round: what became of its messages, and whether the account waits."""

    account_id: AccountId
    batches: tuple[BatchReceipt, ...] = ()
    throttled_until: datetime | None = None
    reason: str = ""


class SendQueue(Model):
    """Everything the sender of one account remembers."""

    account_id: AccountId
    batches: tuple[QueuedBatch, ...] = ()
    next_sequence: int = 0
    paused_campaigns: frozenset[str] = frozenset()
    dropped_campaigns: frozenset[str] = frozenset()
    rechecked: frozenset[str] = Field(default=frozenset(), description="campaigns that changed during a round")
    not_before: dict[UUID, datetime] = Field(default_factory=dict)
    throttled_until: datetime | None = None
    reason: str = ""

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return sum(len(batch.message_ids) for batch in self.batches)


def enqueue(queue: SendQueue, request: EnqueueBatch) -> tuple[SendQueue, Enqueued]:
    """Add a batch behind everything of its own priority; repeating a request is harmless."""
    known = any(batch.campaign_id == request.campaign_id and batch.batch == request.batch for batch in queue.batches)
    if not known and request.message_ids:
        added = QueuedBatch(
            campaign_id=request.campaign_id,
            batch=request.batch,
            priority=request.priority,
            sequence=queue.next_sequence,
            message_ids=request.message_ids,
        )
        ordered = sorted((*queue.batches, added), key=lambda batch: (batch.priority.rank, batch.sequence))
        queue = queue.model_copy(update={"batches": tuple(ordered), "next_sequence": queue.next_sequence + 1})
    position = 0
    for batch in queue.batches:
        position += len(batch.message_ids)
        if batch.campaign_id == request.campaign_id and batch.batch == request.batch:
            break
    return queue, Enqueued(position=position)


def start_round(queue: SendQueue) -> SendQueue:
    """The queue at the start of a delivery round: what changes from now on is newer than what the round sees."""
    return queue.model_copy(update={"rechecked": frozenset()})


def candidates(queue: SendQueue, now: datetime, size: int = ROUND_SIZE) -> tuple[Candidate, ...]:
    """The next messages in order of priority, then age; paused campaigns and waiting messages step aside."""
    chosen: list[Candidate] = []
    for batch in queue.batches:
        if batch.campaign_id in queue.paused_campaigns:
            continue
        for message_id in batch.message_ids:
            due = queue.not_before.get(message_id)
            if due is not None and due > now:
                continue
            chosen.append(Candidate(campaign_id=batch.campaign_id, message_id=message_id))
            if len(chosen) == size:
                return tuple(chosen)
    return tuple(chosen)


def dropped(queue: SendQueue, now: datetime, size: int = DROP_SIZE) -> tuple[Candidate, ...]:
    """Messages of cancelled campaigns: they need no slot, only an end, and go before everything else."""
    own = queue.model_copy(
        update={"batches": tuple(batch for batch in queue.batches if batch.campaign_id in queue.dropped_campaigns)}
    )
    return candidates(own, now, size)


def apply(queue: SendQueue, report: DeliveryReport, now: datetime) -> tuple[SendQueue, Mapping[str, Receipts]]:
    """The queue after a round, and what each campaign with something to learn is told."""
    ended = {settled.message_id: settled.status for settled in report.settled}
    throttled_until = now + timedelta(milliseconds=report.wait_ms) if report.wait_ms > 0 else None
    receipts: dict[str, list[BatchReceipt]] = {}
    batches: list[QueuedBatch] = []
    for batch in queue.batches:
        counts: dict[MessageStatus, int] = {}
        for message_id in batch.message_ids:
            if message_id in ended:
                counts[ended[message_id]] = counts.get(ended[message_id], 0) + 1
        if counts:
            receipts.setdefault(batch.campaign_id, []).append(BatchReceipt(batch=batch.batch, counts=counts))
            rest = tuple(message_id for message_id in batch.message_ids if message_id not in ended)
            if rest:
                batches.append(batch.model_copy(update={"message_ids": rest}))
        else:
            batches.append(batch)
    not_before = {key: due for key, due in queue.not_before.items() if key not in ended and due > now}
    # Nor may a campaign that was resumed or cancelled meanwhile wait for what the round postponed.
    rechecked = {key for batch in batches if batch.campaign_id in queue.rechecked for key in batch.message_ids}
    for deferred in report.deferred:
        if deferred.message_id in rechecked:
            continue
        not_before[deferred.message_id] = now + timedelta(milliseconds=deferred.delay_ms)
    alive = {batch.campaign_id for batch in batches}
    # A campaign that was resumed while the round ran must not be parked by what the round saw before.
    paused_now = set(report.paused_campaigns) - queue.rechecked
    after = queue.model_copy(
        update={
            "batches": tuple(batches),
            "not_before": not_before,
            "paused_campaigns": (queue.paused_campaigns | paused_now) & alive,
            "rechecked": frozenset(),
            "dropped_campaigns": queue.dropped_campaigns & alive,
            "throttled_until": throttled_until,
            "reason": report.reason,
        }
    )
    return after, {
        campaign_id: Receipts(
            account_id=queue.account_id,
            batches=tuple(batch_receipts),
            throttled_until=throttled_until if campaign_id in alive else None,
            reason=report.reason if campaign_id in alive else "",
        )
        for campaign_id, batch_receipts in receipts.items()
    }


def drop(queue: SendQueue, campaign_id: str) -> SendQueue:
    """The campaign was cancelled: its messages are ended before anything else is sent."""
    if all(batch.campaign_id != campaign_id for batch in queue.batches):
        return queue
    rechecked = recheck(queue, campaign_id)
    return rechecked.model_copy(update={"dropped_campaigns": queue.dropped_campaigns | {campaign_id}})


def recheck(queue: SendQueue, campaign_id: str) -> SendQueue:
    """The campaign changed: ask the store again, at once."""
    waiting = {
        message_id for batch in queue.batches if batch.campaign_id == campaign_id for message_id in batch.message_ids
    }
    return queue.model_copy(
        update={
            "paused_campaigns": queue.paused_campaigns - {campaign_id},
            "rechecked": queue.rechecked | {campaign_id},
            "not_before": {key: due for key, due in queue.not_before.items() if key not in waiting},
        }
    )


def next_wake(queue: SendQueue, now: datetime) -> datetime | None:
    """When to try again without being woken; ``None``: only something new can change anything."""
    if dropped(queue, now, 1):
        return now
    if candidates(queue, now, 1):
        if queue.throttled_until is None or queue.throttled_until <= now:
            return now
        return queue.throttled_until
    waiting = {
        message_id
        for batch in queue.batches
        if batch.campaign_id not in queue.paused_campaigns
        for message_id in batch.message_ids
    }
    dues = [due for message_id, due in queue.not_before.items() if message_id in waiting]
    if not dues:
        return None
    earliest = min(dues)
    return max(earliest, queue.throttled_until) if queue.throttled_until else earliest
