"""The schedule against the real limiter and the real queue, in simulated time."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest
from redis.asyncio import Redis

from adapters.rate_limit import RedisLimiter
from domain.delivery import MessageStatus, Priority
from domain.rate_limit import AccountLimits, Layer, LimitPolicy, MessageType, windows
from domain.round import apply, start_round
from domain.schedule import arrivals, relevant_windows
from domain.send_queue import Candidate, DeliveryReport, EnqueueBatch, SendQueue, Settled, enqueue
from domain.turn import candidates, next_wake, outlook
from tests.adapters.limits import LEASE_MS, Clock, StoredSlots
from tests.domain.builders import an_account
from tests.domain.queues import a_batch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = EPOCH + timedelta(microseconds=Clock().now_us)
POLICY = LimitPolicy()
SHORT_WAIT_MS = 5_000
SENDING_MS = (80, 240)


class Delivery:
    """What the workflow and its activity do, in simulated time; every message has a recipient of its own."""

    def __init__(self, limiter: RedisLimiter, clock: Clock, queue: SendQueue) -> None:
        self.sent: dict[UUID, datetime] = {}
        self.limits = AccountLimits(account_id=queue.account_id)
        self._limiter, self._clock, self._queue = limiter, clock, queue
        self._types = {key: batch.message_type for batch in queue.batches for key in batch.message_ids}
        self._recipients: Iterator[int] = count(1)
        self._chance = random.Random(500)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us)

    async def run(self) -> None:
        while self._queue.depth:
            chosen = candidates(self._queue, self.now)
            if chosen:
                self._queue = start_round(self._queue)
                report = await self._round(chosen)
                self._queue, _ = apply(self._queue, report, self.now, chosen)
            else:
                due = next_wake(self._queue, self.now)
                assert due is not None
                self._clock.advance((due - self.now) / timedelta(milliseconds=1))

    async def _round(self, chosen: tuple[Candidate, ...]) -> DeliveryReport:
        settled: list[Settled] = []
        waits: dict[MessageType, int] = {}
        for candidate in chosen:
            kind = self._types[candidate.message_id]
            wait_ms = None if kind in waits else await self._send(candidate.message_id, kind, waits)
            if wait_ms:
                return DeliveryReport(settled=tuple(settled), type_waits_ms=waits, wait_ms=wait_ms)
            if candidate.message_id in self.sent:
                settled.append(Settled(message_id=candidate.message_id, status=MessageStatus.SENT))
        return DeliveryReport(settled=tuple(settled), type_waits_ms=waits)

    async def _send(self, key: UUID, kind: MessageType, waits: dict[MessageType, int]) -> int | None:
        """Send one; the answer is how long the account has to wait instead."""
        recipient = str(next(self._recipients))
        asked = windows(POLICY, self.limits, self.now, message_type=kind, recipient_id=recipient)
        while True:
            answer = await self._limiter.reserve(self._queue.account_id, asked, lease_ms=LEASE_MS)
            if answer.lease is not None:
                self.sent[key] = self.now
                self._clock.advance(self._chance.uniform(*SENDING_MS))
                await self._limiter.confirm(answer.lease)
                return None
            assert answer.retry_after_ms is not None
            if answer.binding_layer is Layer.MESSAGE_TYPE:
                waits[kind] = answer.retry_after_ms
                return None
            if answer.retry_after_ms > SHORT_WAIT_MS:
                return answer.retry_after_ms
            self._clock.advance(answer.retry_after_ms)


async def run(redis: Redis, *requests: EnqueueBatch) -> tuple[dict[UUID, float], dict[UUID, float]]:
    """When the messages of a new account were expected at the start and when they went, in seconds from the start."""
    clock = Clock()
    limiter = RedisLimiter(redis, StoredSlots(), clock_us=clock)
    queue = SendQueue(account_id=an_account())
    for number, request in enumerate(requests):
        queue = enqueue(queue, request, START - timedelta(seconds=len(requests) - number))
    delivery = Delivery(limiter, clock, queue)
    asked = relevant_windows(POLICY, delivery.limits, START, {batch.message_type for batch in queue.batches})
    messages = outlook(queue, START).messages
    usage = await limiter.usage(queue.account_id, asked)
    foreseen = arrivals(usage, messages, send_ms=sum(SENDING_MS) // 2)
    await delivery.run()
    etas = {message.message_id: seconds(at) for message, at in zip(messages, foreseen, strict=True) if at is not None}
    return etas, {key: seconds(at) for key, at in delivery.sent.items()}


def seconds(moment: datetime) -> float:
    return (moment - START).total_seconds()


def worst_error(foreseen: Sequence[float], actual: Sequence[float]) -> float:
    """Of every tenth message. The first ten go at once, so that there is no wait to be wrong about."""
    pairs = list(zip(foreseen, actual, strict=True))[19::10]
    return max(abs(eta - went) / went for eta, went in pairs)


@pytest.mark.timeout(120)
async def test_of_500_messages_every_tenth_goes_within_5_percent_of_its_eta(redis: Redis) -> None:
    kind = MessageType.FOLLOW_UP
    etas, sent = await run(
        redis,
        a_batch("spring", 0, 200, Priority.MEDIUM, message_type=kind),
        a_batch("summer", 0, 160, Priority.MEDIUM, message_type=kind),
        a_batch("autumn", 0, 100, Priority.LOW, message_type=kind),
        a_batch("direct", 0, 40, Priority.HIGH, message_type=kind, not_before=START + timedelta(minutes=90)),
    )
    in_order = sorted(sent, key=sent.__getitem__)
    assert len(in_order) == 500
    assert worst_error([etas[key] for key in in_order], [sent[key] for key in in_order]) < 0.05


@pytest.mark.timeout(120)
async def test_where_types_share_an_account_every_tenth_slot_is_within_5_percent_of_its_eta(redis: Redis) -> None:
    etas, sent = await run(
        redis,
        a_batch("spring", 0, 200, Priority.MEDIUM, message_type=MessageType.CUSTOM),
        a_batch("summer", 0, 150, Priority.MEDIUM, message_type=MessageType.FOLLOW_UP),
        a_batch("autumn", 0, 50, Priority.LOW, message_type=MessageType.WELCOME),
        a_batch("winter", 0, 60, Priority.LOW, message_type=MessageType.PROMOTIONAL),
        a_batch("direct", 0, 40, Priority.HIGH, not_before=START + timedelta(minutes=90)),
    )
    assert len(sent) == 500
    assert worst_error(sorted(etas.values()), sorted(sent.values())) < 0.05
