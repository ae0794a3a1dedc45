"""Whose turn it is in an account's queue: the order of service, and what follows from it.

Critical goes before high, high before medium, medium before low. Inside a priority the groups (campaigns, direct
messages) take turns: the one whose last turn is longest ago is next, and inside a group the message that waits
longest, since it arrived or since its not-before. Two groups that both wait never differ by more than one turn.

So that low never starves, every 5th message sent (``AGED_SHARE``) is the one that waits longest of all, if it waits
longer than 30 minutes (``AGE_AFTER``); it goes on top of its group's turns. A message that may go and of which ``m``
others have waited longer is therefore sent after at most ``AGE_AFTER`` and ``(m + 1) * AGED_SHARE`` sends.

Among all accounts a round has the priority of its most urgent message, and a higher one when no worker takes it
(``UNTAKEN_AFTER``).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from domain.delivery import Priority
from domain.rate_limit import Layer
from domain.send_queue import (
    DROP_SIZE,
    NEVER_SERVED,
    ROUND_SIZE,
    Candidate,
    EnqueueBatch,
    QueuedBatch,
    QueuedMessage,
    QueueOutlook,
    SendQueue,
    is_late,
    is_throttled,
    raised,
    stands_still,
    takes_aged_turn,
)


class Waiting(NamedTuple):
    """One message and the batch that it came with."""

    batch: QueuedBatch
    message_id: UUID


def order(queue: SendQueue, now: datetime, *, due_only: bool = False) -> Iterator[Waiting]:
    """The messages that wait to be sent, in the order of service, as if each of them were sent now.

    Lazy: the first few cost nothing for those behind them. ``due_only`` leaves out what has to wait although the
    account need not; otherwise that keeps its place. Parked messages and those that are only to be ended are not
    in it.
    """
    flows = _Flows(queue, lambda batch: _messages(queue, batch, now, due_only=due_only))
    served = queue.served
    while (head := flows.oldest()) is not None:
        if takes_aged_turn(head.batch, served, now):
            yield flows.take(head.batch.flow, turn=None)
        else:
            yield flows.take(flows.next_in_turn(), turn=served)
        served += 1


def ending(queue: SendQueue, now: datetime) -> Iterator[Candidate]:
    """Messages that need no slot, only an end: too late, cancelled, or ended elsewhere."""
    for batch in queue.batches:
        whole = batch.campaign_id in queue.dropped_campaigns or is_late(batch, now)
        if whole or queue.dropped_messages:
            for key in batch.message_ids:
                if (whole or key in queue.dropped_messages) and _due(queue, key, now) <= now:
                    yield Candidate(campaign_id=batch.campaign_id, message_id=key)


def candidates(queue: SendQueue, now: datetime, size: int = ROUND_SIZE) -> tuple[Candidate, ...]:
    """What a delivery round is to do now: end what has to end, then send the next ``size`` if the account may send."""
    ends = tuple(islice(ending(queue, now), DROP_SIZE))
    if stands_still(queue, now):
        return ends
    return ends + tuple(
        Candidate(campaign_id=batch.campaign_id, message_id=key)
        for batch, key in islice(order(queue, now, due_only=True), size)
    )


def urgency(queue: SendQueue, chosen: Sequence[Candidate]) -> Priority:
    """The highest priority among the campaigns of some candidates, and a step higher for each round nobody took."""
    campaigns = {candidate.campaign_id for candidate in chosen}
    found = (batch.priority for batch in queue.batches if batch.campaign_id in campaigns)
    return raised(min(found, key=lambda priority: priority.rank, default=Priority.LOW), queue.untaken)


def position(queue: SendQueue, request: EnqueueBatch, now: datetime) -> int:
    """The place of a batch's last message in the order of service, from 1; 0: it does not wait to be sent."""
    places = (
        place
        for place, (batch, _) in enumerate(_everything(queue, now), start=1)
        if (batch.campaign_id, batch.batch) == (request.campaign_id, request.batch)
    )
    return max(islice(places, len(request.message_ids)), default=0)


def outlook(queue: SendQueue, now: datetime) -> QueueOutlook:
    """Every message that waits to be sent, in the order of service, and why the first one does not move."""
    messages = tuple(
        QueuedMessage(
            campaign_id=batch.campaign_id,
            message_id=key,
            priority=batch.priority,
            message_type=batch.message_type,
            arrived_at=batch.arrived_at,
            not_before=max(filter(None, (batch.not_before, queue.not_before.get(key))), default=None),
            expires_at=batch.expires_at,
            group=batch.group,
            sequence=batch.sequence,
            turn=queue.turns.get(batch.flow, NEVER_SERVED),
            parked=batch.campaign_id in queue.paused_campaigns,
        )
        for batch, key in _everything(queue, now)
    )
    return QueueOutlook(
        account_id=queue.account_id,
        messages=messages,
        throttled_until=queue.throttled_until if is_throttled(queue, now) else None,
        asleep=queue.asleep,
        reason=_reason(queue, messages, now),
    )


def next_wake(queue: SendQueue, now: datetime) -> datetime | None:
    """When there is something to do without being woken; ``None``: only something new can change anything."""
    moments = (moment for batch in queue.batches for moment in _moments(queue, batch, now))
    earliest = min(moments, default=None)
    return None if earliest is None else max(earliest, now)


def _moments(queue: SendQueue, batch: QueuedBatch, now: datetime) -> Iterator[datetime]:
    """The first moments at which a batch gives something to end and something to send."""
    free = min((_due(queue, key, now) for key in batch.message_ids), default=now) if queue.not_before else now
    if queue.dropped_messages:
        yield from (_due(queue, key, now) for key in batch.message_ids if key in queue.dropped_messages)
    if batch.campaign_id in queue.dropped_campaigns:
        yield free
        return
    if batch.expires_at is not None:
        yield max(free, batch.expires_at)
    sleeps = queue.asleep and queue.throttled_until is None
    if not sleeps and batch.campaign_id not in queue.paused_campaigns:
        holds = (queue.throttled_until, batch.not_before, queue.type_not_before.get(batch.message_type))
        yield max((free, *(hold for hold in holds if hold is not None)))


def _due(queue: SendQueue, message_id: UUID, now: datetime) -> datetime:
    return queue.not_before.get(message_id, now)


def _batch_is_due(queue: SendQueue, batch: QueuedBatch, now: datetime) -> bool:
    holds = (batch.not_before, queue.type_not_before.get(batch.message_type))
    return all(hold is None or hold <= now for hold in holds)


def _messages(queue: SendQueue, batch: QueuedBatch, now: datetime, *, due_only: bool) -> Iterator[Waiting]:
    """The messages of a batch that wait to be sent."""
    if batch.campaign_id in queue.paused_campaigns or batch.campaign_id in queue.dropped_campaigns:
        return
    if is_late(batch, now) or (due_only and not _batch_is_due(queue, batch, now)):
        return
    for key in batch.message_ids:
        if key not in queue.dropped_messages and not (due_only and _due(queue, key, now) > now):
            yield Waiting(batch, key)


def _everything(queue: SendQueue, now: datetime) -> Iterator[Waiting]:
    """The order of service with the parked messages behind it."""
    yield from order(queue, now)
    for batch in queue.batches:
        parked = batch.campaign_id in queue.paused_campaigns and batch.campaign_id not in queue.dropped_campaigns
        if parked and not is_late(batch, now):
            yield from (Waiting(batch, key) for key in batch.message_ids if key not in queue.dropped_messages)


def _reason(queue: SendQueue, messages: Sequence[QueuedMessage], now: datetime) -> str:
    if stands_still(queue, now):
        return queue.reason
    if not messages or next(order(queue, now, due_only=True), None) is not None:
        return ""
    if messages[0].parked:
        return "campaign_paused"
    limited = queue.type_not_before.get(messages[0].message_type)
    return f"rate_limit:{Layer.MESSAGE_TYPE}" if limited is not None and limited > now else "not_before"


class _Flows:
    """The flows of a queue while they are merged: the head of each, by turn and by age.

    Both heaps may hold entries that a later one has replaced; an entry counts if it still describes its flow.
    """

    def __init__(self, queue: SendQueue, messages: Callable[[QueuedBatch], Iterator[Waiting]]) -> None:
        batches: dict[str, list[QueuedBatch]] = {}
        for batch in queue.batches:
            batches.setdefault(batch.flow, []).append(batch)
        for own in batches.values():
            own.sort(key=lambda batch: batch.age)
        self._rest = {flow: (waiting for batch in own for waiting in messages(batch)) for flow, own in batches.items()}
        self._turn = {flow: queue.turns.get(flow, NEVER_SERVED) for flow in self._rest}
        self._head: dict[str, Waiting] = {}
        for flow, rest in self._rest.items():
            if (first := next(rest, None)) is not None:
                self._head[flow] = first
        self._by_turn = [self._place(flow) for flow in self._head]
        self._by_age = [(head.batch.age, flow) for flow, head in self._head.items()]
        heapify(self._by_turn)
        heapify(self._by_age)

    def oldest(self) -> Waiting | None:
        """The message that waits longest; ``None``: nothing is left."""
        while self._by_age:
            age, flow = self._by_age[0]
            head = self._head.get(flow)
            if head is not None and head.batch.age == age:
                return head
            heappop(self._by_age)
        return None

    def next_in_turn(self) -> str:
        """The flow whose turn it is."""
        while True:
            flow = self._by_turn[0][-1]
            if flow in self._head and self._by_turn[0] == self._place(flow):
                return flow
            heappop(self._by_turn)

    def take(self, flow: str, turn: int | None) -> Waiting:
        """Serve the head of a flow; ``turn``: what it counts as, ``None`` if it goes on top."""
        taken = self._head[flow]
        before = self._place(flow)
        if turn is not None:
            self._turn[flow] = turn
        following = next(self._rest[flow], None)
        if following is None:
            del self._head[flow]
            return taken
        self._head[flow] = following
        if (place := self._place(flow)) != before:
            heappush(self._by_turn, place)
        if following.batch is not taken.batch:
            heappush(self._by_age, (following.batch.age, flow))
        return taken

    def _place(self, flow: str) -> tuple[int, int, tuple[datetime, int], str]:
        batch = self._head[flow].batch
        return batch.priority.rank, self._turn[flow], batch.age, flow
