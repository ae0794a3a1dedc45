"""An account's queue as a value: what waits, and what arrivals, signals and delivery rounds change.

Only ids, never texts. Every function returns a new queue; the workflow keeps the current one and carries it
through continue-as-new. ``domain.turn`` says what goes next.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field

from domain.delivery import MessageStatus, Priority
from domain.errors import RateLimitExceeded
from domain.model import AccountId, Model
from domain.rate_limit import MessageType

ROUND_SIZE = 50
"""Candidates handed to one delivery round: several times what a minute admits, so that limits end a round."""

DROP_SIZE = 100
"""Messages that one round ends without sending them."""

MAX_DEPTH = 10_000
MAX_BATCHES = 1_000
"""What one queue holds at most, so that its state stays one payload of Temporal, which ends at 2 MiB.

As JSON an id takes 39 bytes, its postponement 71 more, and a batch about 400: under 1.6 MB when every message of a
full queue is postponed. The campaign pages ahead of the queue wait in the message store, however many they are.
"""

_ROOM_PERCENT = {Priority.LOW: 70, Priority.MEDIUM: 70, Priority.HIGH: 90, Priority.CRITICAL: 100}
"""How full a queue may become by each priority: what is urgent finds room when everything else is turned away."""

FULL_AGAIN = timedelta(minutes=1)
"""How long a caller waits before it offers a batch to a full queue again."""

AGED_SHARE = 5
AGE_AFTER = timedelta(minutes=30)
"""Every ``AGED_SHARE``-th message sent is the one that waits longest, if it waits longer than ``AGE_AFTER``."""

UNTAKEN_AFTER = timedelta(minutes=10)
"""A round that no worker has taken for so long is asked for again with the next higher priority (``raised``).

Workers take strictly by priority from all accounts, and what waits for them keeps the priority that it came with. So,
whatever else arrives anywhere, every round has the highest priority after half an hour at the latest, and then keeps
its place among those that have it, too.
"""

NEVER_SERVED = -1
"""The last turn of a flow that had none."""

WORKFLOW = "SendQueueWorkflow"
ENQUEUE = "enqueue"
DROP_MESSAGE = "drop_message"
WAKE = "wake"
STATE = "state"
"""Names that clients outside the workflow layer use."""


class EnqueueBatch(Model):
    """The queue's only way in: one batch, one update. A batch that is already there changes nothing."""

    campaign_id: str
    batch: int = Field(ge=0, description="counted by the campaign, per account")
    priority: Priority
    message_type: MessageType = MessageType.CUSTOM
    message_ids: tuple[UUID, ...]
    not_before: datetime | None = None
    expires_at: datetime | None = Field(default=None, description="skipped rather than sent after this")
    group: str = Field(default="", description="who shares the account fairly with others; empty: the campaign")
    reports: bool = Field(default=True, description="whether a campaign workflow wants to hear of the outcomes")


class QueuedBatch(EnqueueBatch):
    """Messages of one campaign that arrived together and wait to be sent."""

    sequence: int = Field(description="order of arrival in this queue")
    arrived_at: datetime

    @property
    def flow(self) -> str:
        """Whose turn it takes: messages of one priority and group."""
        return f"{self.priority}:{self.group or self.campaign_id}"

    @property
    def age(self) -> tuple[datetime, int]:
        """Since when it waits, and its place among those that wait since the same moment."""
        return max(self.arrived_at, self.not_before or self.arrived_at), self.sequence


class Enqueued(Model):
    """The answer: the place of the batch's last message in the queue, from 1."""

    position: int


class QueuedMessage(Model):
    """One waiting message in the order of service."""

    campaign_id: str
    message_id: UUID
    priority: Priority
    message_type: MessageType
    arrived_at: datetime
    not_before: datetime | None = None
    expires_at: datetime | None = None
    group: str = Field(default="", description="as of its batch")
    sequence: int = Field(default=0, description="as of its batch")
    turn: int = Field(default=NEVER_SERVED, description="when its flow was served last")
    parked: bool = Field(default=False, description="its campaign is paused, so nobody knows when it goes")

    @property
    def flow(self) -> str:
        """Whose turn it takes."""
        return f"{self.priority}:{self.group or self.campaign_id}"


class QueueOutlook(Model):
    """What an account's queue shows: everything that waits to be sent, in the order of service.

    A message that must wait although others may go keeps its place and steps aside until then. Parked messages
    come last. What is only to be ended is left out.
    """

    account_id: AccountId
    messages: tuple[QueuedMessage, ...]
    throttled_until: datetime | None = None
    asleep: bool = Field(default=False, description="nothing goes until somebody changes the account")
    reason: str = Field(default="", description="why the head of the line does not move")
    depth: int = Field(default=0, description="messages that take up room, also those that are only to be ended")
    batches: int = Field(default=0, description="batches that take up room")


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
    reason: str = ""


class DeliveryRound(Model):
    """What one run of the delivery activity is asked to do."""

    account_id: AccountId
    candidates: tuple[Candidate, ...]


class DeliveryReport(Model):
    """What one run of the delivery activity did. ``wait_ms``: the account must wait that long, for ``reason``.

    ``until_woken``: the account waits until somebody changes something; with ``wait_ms``, it is looked at then all the
    same. ``type_waits_ms``: types of messages that have to wait although others may go.
    """

    settled: tuple[Settled, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    paused_campaigns: tuple[str, ...] = ()
    type_waits_ms: dict[MessageType, int] = Field(default_factory=dict)
    wait_ms: int = 0
    until_woken: bool = False
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
    served: int = Field(default=0, description="messages sent so far: whose turn it is follows from it")
    turns: dict[str, int] = Field(default_factory=dict, description="by flow, when it was served last")
    type_not_before: dict[MessageType, datetime] = Field(default_factory=dict)
    dropped_messages: frozenset[UUID] = frozenset()
    asleep: bool = Field(default=False, description="waits until woken")
    paused_campaigns: frozenset[str] = frozenset()
    dropped_campaigns: frozenset[str] = frozenset()
    rechecked: frozenset[str] = Field(default=frozenset(), description="campaigns that changed during a round")
    woken: bool = Field(default=False, description="the account changed during a round")
    untaken: int = Field(default=0, description="rounds since the last one that no worker took in time")
    not_before: dict[UUID, datetime] = Field(default_factory=dict)
    throttled_until: datetime | None = None
    reason: str = ""

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return sum(len(batch.message_ids) for batch in self.batches)


def enqueue(queue: SendQueue, request: EnqueueBatch, now: datetime) -> SendQueue:
    """Add a batch; repeating a request is harmless. Whether there is room has to be asked before: ``ensure_room``."""
    if not request.message_ids or knows(queue, request):
        return queue
    added = QueuedBatch(**request.model_dump(), sequence=queue.next_sequence, arrived_at=now)
    return queue.model_copy(
        update={"batches": (*queue.batches, added), "next_sequence": queue.next_sequence + 1},
    )


def knows(queue: SendQueue, request: EnqueueBatch) -> bool:
    """Whether messages of this batch wait already."""
    return any(batch.campaign_id == request.campaign_id and batch.batch == request.batch for batch in queue.batches)


def ensure_room(queue: SendQueue, request: EnqueueBatch) -> None:
    """Raise ``RateLimitExceeded`` when a batch that is new to the queue does not fit into it."""
    if knows(queue, request):
        return
    if not has_room(queue.depth, len(queue.batches), len(request.message_ids), request.priority):
        percent = _ROOM_PERCENT[request.priority]
        raise RateLimitExceeded(
            f"the send queue of this account is full for the priority {request.priority}: {queue.depth} messages in "
            f"{len(queue.batches)} batches wait (at most {percent} % of {MAX_DEPTH} in {MAX_BATCHES})",
            retry_after_s=FULL_AGAIN.total_seconds(),
        )


def has_room(depth: int, batches: int, added: int, priority: Priority) -> bool:
    """Whether one more batch of ``added`` messages fits beside ``depth`` messages in ``batches`` batches.

    Low and medium priority fill 70 % of a queue, high 90 %, critical all of it.
    """
    percent = _ROOM_PERCENT[priority]
    return (depth + added) * 100 <= MAX_DEPTH * percent and (batches + 1) * 100 <= MAX_BATCHES * percent


def maybe_under_way(outlook: QueueOutlook) -> dict[str, tuple[UUID, ...]]:
    """By campaign, the messages that a delivery round may be sending at this moment; the store knows which it is."""
    by_campaign: dict[str, tuple[UUID, ...]] = {}
    for message in outlook.messages[:ROUND_SIZE]:
        by_campaign[message.campaign_id] = (*by_campaign.get(message.campaign_id, ()), message.message_id)
    return by_campaign


def still_waiting(outlook: QueueOutlook, statuses: Mapping[UUID, MessageStatus]) -> QueueOutlook:
    """The queue without what is being sent or was sent by the running round, which reports only at its end.

    ``statuses``: the stored ones of ``maybe_under_way``, read after the outlook. The limiter's log, read after
    them, counts everything that is left out here.
    """
    round_, rest = outlook.messages[:ROUND_SIZE], outlook.messages[ROUND_SIZE:]
    waiting = tuple(message for message in round_ if statuses.get(message.message_id) is MessageStatus.QUEUED)
    return outlook.model_copy(update={"messages": (*waiting, *rest)})


def fairness_key(account_id: str) -> str:
    """Who takes turns with others for Temporal's workers: the account, in at most 64 bytes."""
    return account_id.removeprefix("acct_")


def raised(priority: Priority, steps: int) -> Priority:
    """The priority that is so many steps higher, at most the highest."""
    rank = max(0, priority.rank - steps)
    return next(each for each in Priority if each.rank == rank)


def is_late(batch: EnqueueBatch, now: datetime) -> bool:
    """Whether it is too late to send the messages of a batch."""
    return batch.expires_at is not None and batch.expires_at <= now


def is_throttled(queue: SendQueue, now: datetime) -> bool:
    """Whether the whole account has to wait."""
    return queue.throttled_until is not None and queue.throttled_until > now


def stands_still(queue: SendQueue, now: datetime) -> bool:
    """Whether nothing is sent: throttled, or asleep without a time at which to look again."""
    return is_throttled(queue, now) or (queue.asleep and queue.throttled_until is None)


def takes_aged_turn(batch: QueuedBatch, served: int, now: datetime) -> bool:
    """Whether a message that goes after ``served`` others goes for its age and takes no turn of its flow."""
    return (served + 1) % AGED_SHARE == 0 and batch.age[0] < now - AGE_AFTER


def drop(queue: SendQueue, campaign_id: str) -> SendQueue:
    """The campaign was cancelled: its messages are ended before anything else is sent."""
    if all(batch.campaign_id != campaign_id for batch in queue.batches):
        return queue
    rechecked = _forget_waits(queue, campaign_id)
    return rechecked.model_copy(update={"dropped_campaigns": queue.dropped_campaigns | {campaign_id}})


def drop_message(queue: SendQueue, message_id: UUID) -> SendQueue:
    """The message was ended outside of the queue: it is settled before anything else is sent."""
    if all(message_id not in batch.message_ids for batch in queue.batches):
        return queue
    return queue.model_copy(
        update={
            "dropped_messages": queue.dropped_messages | {message_id},
            "not_before": {key: due for key, due in queue.not_before.items() if key != message_id},
        }
    )


def recheck(queue: SendQueue, campaign_id: str) -> SendQueue:
    """The campaign changed: ask the store again as soon as the account may send."""
    return _forget_waits(queue, campaign_id).model_copy(update={"asleep": False})


def wake(queue: SendQueue) -> SendQueue:
    """The account or its limits changed: everything that a delivery round has said about waiting is out of date."""
    return queue.model_copy(
        update={
            "woken": True,
            "asleep": False,
            "throttled_until": None,
            "reason": "",
            "type_not_before": {},
            "paused_campaigns": frozenset(),
            "not_before": {},
        }
    )


def _forget_waits(queue: SendQueue, campaign_id: str) -> SendQueue:
    waiting = {key for batch in queue.batches if batch.campaign_id == campaign_id for key in batch.message_ids}
    return queue.model_copy(
        update={
            "paused_campaigns": queue.paused_campaigns - {campaign_id},
            "rechecked": queue.rechecked | {campaign_id},
            "not_before": {key: due for key, due in queue.not_before.items() if key not in waiting},
        }
    )
