"""The schedule against the real limiter and the real queue, in simulated time."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple
from uuid import UUID

import pytest
from redis.asyncio import Redis

from adapters.rate_limit import RedisLimiter
from domain.delivery import MessageStatus, Priority
from domain.rate_limit import AccountLimits, Layer, LimitPolicy, MessageType, windows
from domain.round import apply, start_round
from domain.schedule import arrivals, call_ms, relevant_windows
from domain.send_queue import Candidate, DeliveryReport, EnqueueBatch, SendQueue, Settled, enqueue
from domain.turn import candidates, next_wake, outlook
from tests.adapters.limits import LEASE_MS, Clock, StoredSlots
from tests.domain.builders import an_account
from tests.domain.queues import a_batch

pytestmark = pytest.mark.usefixtures("other_times")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = EPOCH + timedelta(microseconds=Clock().now_us)
POLICY = LimitPolicy(system=())
"""Every test begins at the same moment: what others have sent by then is not to count."""

SHORT_WAIT_MS = 5_000
CALL_MS = (80, 240)
EARLIER = 8
"""Messages that the account has sent before, from which the length of its calls is known."""


class Delivery:
    """What the workflow and its activity do, in simulated time; every message has a recipient of its own."""

    def __init__(self, limiter: RedisLimiter, clock: Clock, limits: AccountLimits, call_ms: tuple[int, int]) -> None:
        self.sent: dict[UUID, datetime] = {}
        self.queue = SendQueue(account_id=limits.account_id)
        self._limiter, self._clock, self._limits, self._call_ms = limiter, clock, limits, call_ms
        self._types: dict[UUID, MessageType] = {}
        self._recipients: Iterator[int] = count(1)
        self._chance = random.Random(500)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us)

    def enqueue(self, *requests: EnqueueBatch) -> None:
        for number, request in enumerate(requests):
            self.queue = enqueue(self.queue, request, self.now - timedelta(seconds=len(requests) - number))
            self._types |= dict.fromkeys(request.message_ids, request.message_type)

    async def foresee(self) -> dict[UUID, datetime]:
        """When what waits is expected to be sent."""
        asked = relevant_windows(POLICY, self._limits, self.now, set(self._types.values()))
        seen = outlook(self.queue, self.now)
        usage = await self._limiter.usage(self.queue.account_id, asked)
        moments = arrivals(usage, seen.messages, send_ms=call_ms(usage), throttled_until=seen.throttled_until)
        pairs = zip(seen.messages, moments, strict=True)
        return {message.message_id: at for message, at in pairs if at is not None}

    async def run(self) -> None:
        while self.queue.depth:
            chosen = candidates(self.queue, self.now)
            if chosen:
                self.queue = start_round(self.queue)
                report = await self._round(chosen)
                self.queue, _ = apply(self.queue, report, self.now, chosen)
            else:
                due = next_wake(self.queue, self.now)
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
        asked = windows(POLICY, self._limits, self.now, message_type=kind, recipient_id=recipient)
        while True:
            answer = await self._limiter.reserve(self.queue.account_id, asked, lease_ms=LEASE_MS)
            if answer.lease is not None:
                self.sent[key] = self.now
                self._clock.advance(self._chance.uniform(*self._call_ms))
                await self._limiter.confirm(answer.lease)
                return None
            assert answer.retry_after_ms is not None
            if answer.binding_layer is Layer.MESSAGE_TYPE:
                waits[kind] = answer.retry_after_ms
                return None
            if answer.retry_after_ms > SHORT_WAIT_MS:
                return answer.retry_after_ms
            self._clock.advance(answer.retry_after_ms)


class Run(NamedTuple):
    """When messages were expected at the start and when they went, in seconds from the start."""

    foreseen: dict[UUID, float]
    sent: dict[UUID, float]

    def worst_error(self) -> float:
        """Of every tenth message. The first ones go at once, so that there is no wait to be wrong about."""
        in_order = sorted(self.sent, key=self.sent.__getitem__)
        return max(abs(self.foreseen[key] - self.sent[key]) / self.sent[key] for key in in_order[19::10])


async def run(
    redis: Redis, *requests: EnqueueBatch, call_ms: tuple[int, int] = CALL_MS, pacing_ms: int | None = None
) -> Run:
    """A new account, which has sent a little before."""
    clock = Clock()
    limits = AccountLimits(account_id=an_account(), pacing_ms=pacing_ms)
    delivery = Delivery(RedisLimiter(redis, StoredSlots(), clock_us=clock), clock, limits, call_ms)
    delivery.enqueue(a_batch("earlier", 0, EARLIER, message_type=MessageType.WELCOME))
    await delivery.run()
    earlier = set(delivery.sent)
    delivery.enqueue(*requests)
    start = delivery.now
    foreseen = await delivery.foresee()
    await delivery.run()

    def seconds(moments: dict[UUID, datetime]) -> dict[UUID, float]:
        return {key: (at - start).total_seconds() for key, at in moments.items() if key not in earlier}

    return Run(seconds(foreseen), seconds(delivery.sent))


@pytest.mark.timeout(120)
async def test_of_500_messages_every_tenth_goes_within_5_percent_of_its_eta(redis: Redis) -> None:
    kind = MessageType.FOLLOW_UP
    found = await run(
        redis,
        a_batch("spring", 0, 200, Priority.MEDIUM, message_type=kind),
        a_batch("summer", 0, 160, Priority.MEDIUM, message_type=kind),
        a_batch("autumn", 0, 100, Priority.LOW, message_type=kind),
        a_batch("direct", 0, 40, Priority.HIGH, message_type=kind, not_before=START + timedelta(minutes=90)),
    )
    assert len(found.sent) == 500
    assert found.worst_error() < 0.05


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pacing_ms", [None, 6_000])
@pytest.mark.parametrize("call_ms", [(300, 300), (1_000, 1_000), (200, 1_800)])
async def test_it_knows_how_long_the_calls_of_an_account_take(
    redis: Redis, call_ms: tuple[int, int], pacing_ms: int | None
) -> None:
    found = await run(redis, a_batch("spring", 0, 500), call_ms=call_ms, pacing_ms=pacing_ms)
    assert len(found.sent) == 500
    assert found.worst_error() < 0.05


@pytest.mark.timeout(120)
async def test_where_types_share_an_account_every_tenth_slot_is_within_5_percent_of_its_eta(redis: Redis) -> None:
    found = await run(
        redis,
        a_batch("spring", 0, 200, Priority.MEDIUM, message_type=MessageType.CUSTOM),
        a_batch("summer", 0, 150, Priority.MEDIUM, message_type=MessageType.FOLLOW_UP),
        a_batch("autumn", 0, 50, Priority.LOW, message_type=MessageType.WELCOME),
        a_batch("winter", 0, 60, Priority.LOW, message_type=MessageType.PROMOTIONAL),
        a_batch("direct", 0, 40, Priority.HIGH, not_before=START + timedelta(minutes=90)),
    )
    assert len(found.sent) == 500
    # Which message of a type takes a slot is decided late; when there is one is not.
    slots = zip(sorted(found.foreseen.values()), sorted(found.sent.values()), strict=True)
    assert max(abs(eta - went) / went for eta, went in list(slots)[19::10]) < 0.05
