"""Thousands of random schedules on a real Redis: no window at the platform ever holds more than its limit.

A schedule plays many workers that send to a few accounts, recipients and types, on a clock of its own: every message
goes through reserve, store, intact, arrival, confirm or release, each step after a latency from nothing to past the
send's time-out, and any worker may die between two steps. Meanwhile Redis is flushed, evicts keys, or is taken over by
a server that lacks its last writes; and while somebody rebuilds from the store, others go on. The message store and the
platform are lists here; the limiter and Redis are the real ones. What is checked is what the platform saw.

The schedules come from a seeded generator (a failure names its seed). Several run side by side, each in a database of
its own of one server, so that flushing one leaves the others alone.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple, Protocol

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.rate_limit import RedisLimiter
from domain.errors import DependencyUnavailable
from domain.rate_limit import Lease, MessageType, Slot, Window
from local import ports
from local.onlyfans.book import max_in_window
from local.redis import serving
from tests.adapters.limits import (
    MS,
    Clock,
    StoredSlots,
    of_account,
    of_recipient,
    of_system,
    of_type,
    pacing,
)

SCHEDULES = 2_000
LANES = 8
LEASE = 60
"""Milliseconds of a schedule's clock, like every duration below."""

Step = Callable[[], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
async def databases(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sequence[Redis]]:
    """Databases of one server that nobody else uses."""
    async with serving(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as port:
        clients = [Redis(host=ports.HOST, port=port, db=number, decode_responses=True) for number in range(LANES)]
        yield clients
        for client in clients:
            await client.aclose()


async def test_no_window_of_any_layer_ever_holds_more_than_its_limit(databases: Sequence[Redis]) -> None:
    seeds = iter(range(SCHEDULES))
    seen: dict[str, int] = defaultdict(int)

    async def lane(redis: Redis) -> None:
        for seed in seeds:
            schedule = Schedule(redis, Random(seed))
            await schedule.play()
            assert schedule.violations() == [], f"seed {seed}"
            for what, times in schedule.seen.items():
                seen[what] += times

    await in_lanes(lane, databases)
    # All kinds of trouble must have happened often, or the above says little.
    kinds = {"arrival", "denied", "released", "died", "unconfirmed", "lost lease"}
    kinds |= {"flush", "eviction", "take-over", "overtaken rebuild"}
    assert seen.keys() == kinds
    assert min(seen.values()) > SCHEDULES / 10


async def test_without_latency_it_sends_as_much_as_the_ideal_schedule(databases: Sequence[Redis]) -> None:
    seeds = iter(range(40))

    async def lane(redis: Redis) -> None:
        for seed in seeds:
            demand = Demand.random(Random(seed))
            ideal = len(await demand.serve(Ideal()))
            await redis.flushdb()
            clock = Clock()
            sent = len(await demand.serve(Limited(RedisLimiter(redis, StoredSlots(), clock_us=clock), clock)))
            assert ideal >= sent >= 0.98 * ideal, f"seed {seed}"

    await in_lanes(lane, databases)


async def in_lanes(lane: Callable[[Redis], Coroutine[None, None, None]], databases: Sequence[Redis]) -> None:
    # Each rebuild is worth a line in a log, but not tens of thousands of them.
    with capture_logs():
        async with asyncio.TaskGroup() as lanes:
            for redis in databases:
                lanes.create_task(lane(redis))


class Recipient(NamedTuple):
    account: str
    recipient: str
    message_type: MessageType


@dataclass(frozen=True)
class Limits:
    """Small limits on all layers, so that each of them binds now and then."""

    account: tuple[tuple[int, float], ...]
    pacing: float | None
    per_type: dict[MessageType, tuple[int, float]]
    recipient: tuple[int, float]
    system: tuple[int, float] | None

    @classmethod
    def random(cls, random: Random, unit_s: float) -> "Limits":
        def window(most: int, shortest: int, longest: int) -> tuple[int, float]:
            return random.randint(1, most), random.randint(shortest, longest) * unit_s

        return cls(
            account=(window(3, 20, 100), window(8, 150, 500)),
            pacing=random.choice([None, None, random.randint(5, 20) * unit_s]),
            per_type={kind: window(4, 30, 200) for kind in (MessageType.CUSTOM, MessageType.WELCOME)},
            recipient=window(3, 20, 300),
            system=random.choice([None, window(6, 20, 200)]),
        )

    def windows(self, to: Recipient) -> tuple[Window, ...]:
        return (
            *(of_account(*each) for each in self.account),
            *((pacing(self.pacing),) if self.pacing else ()),
            of_type(*self.per_type[to.message_type], to.message_type),
            of_recipient(*self.recipient, to.recipient),
            *((of_system(*self.system),) if self.system else ()),
        )


class Schedule:
    """One simulated stretch of time."""

    def __init__(self, redis: Redis, random: Random) -> None:
        self._redis = redis
        self._random = random
        self._clock = Clock()
        self._order = count()
        self._steps: list[tuple[int, int, Step]] = []
        self._store = OvertakenStore(self)
        # A rebuild that is overtaken runs other steps inside of itself: those belong to other processes.
        self._limiters = [RedisLimiter(redis, self._store, clock_us=self._clock) for _ in range(4)]
        self._depth = 0
        self._limits = Limits.random(random, 0.001)
        self._arrivals: list[tuple[int, Recipient]] = []
        self.seen: dict[str, int] = defaultdict(int)

    @property
    def _limiter(self) -> RedisLimiter:
        return self._limiters[self._depth]

    async def play(self) -> None:
        await self._redis.flushdb()
        accounts = self._random.randint(1, 3)
        for _ in range(self._random.randint(6, 18)):
            to = Recipient(
                f"acct_{self._random.randrange(accounts)}",
                f"fan{self._random.randrange(3)}",
                self._random.choice([MessageType.CUSTOM, MessageType.CUSTOM, MessageType.WELCOME]),
            )
            self._after(self._random.randint(0, 300), partial(self._reserve, to, tries=3))
        for disaster in (self._flush, self._evict, self._take_over):
            for _ in range(self._random.choice([0, 1, 3, 6])):
                self._after(self._random.randint(0, 500), disaster)
        while self._steps:
            await self.run_next()

    def violations(self) -> list[tuple[str, int, int]]:
        """Windows that held too many arrivals: subject, number, limit."""
        logs: dict[tuple[str, Window], list[int]] = defaultdict(list)
        for moment, to in sorted(self._arrivals):
            for window in self._limits.windows(to):
                owner = "" if window.subject == "system" else to.account
                logs[owner, window].append(moment)
        counted = [
            (f"{owner}/{window.subject}", max_in_window(times, round(window.seconds * 1_000_000)), window.limit)
            for (owner, window), times in logs.items()
        ]
        return [each for each in counted if each[1] > each[2]]

    async def run_next(self) -> None:
        """The next thing that happens."""
        moment, _, step = heappop(self._steps)
        self._clock.now_us = max(moment, self._clock.now_us)
        await step()

    async def overtake(self) -> None:
        """Others get ahead of somebody who is waiting for the store."""
        if self._depth + 1 == len(self._limiters) or self._random.random() < 0.4:
            return
        self._depth += 1
        for _ in range(min(len(self._steps), self._random.randint(1, 6))):
            self.seen["overtaken rebuild"] += 1
            if self._steps:
                await self.run_next()
        self._depth -= 1

    def _after(self, milliseconds: float, step: Step) -> None:
        heappush(self._steps, (self._clock.now_us + round(milliseconds * MS), next(self._order), step))

    def _latency(self) -> float:
        """Mostly short, sometimes past the end of the lease, to the microsecond."""
        return self._random.choice([0, self._random.uniform(0, 5), self._random.uniform(0, 40), LEASE * 1.2])

    def _dies(self) -> bool:
        died = self._random.random() < 0.06
        self.seen["died"] += died
        return died

    async def _reserve(self, to: Recipient, tries: int) -> None:
        try:
            answer = await self._limiter.reserve(to.account, self._limits.windows(to), lease_ms=LEASE)
        except DependencyUnavailable:
            return
        if answer.lease is None:
            self.seen["denied"] += 1
            assert answer.retry_after_ms is not None
            if tries:
                impatience = self._random.choice([1, 1, 1, 0.5])
                self._after(answer.retry_after_ms * impatience, lambda: self._reserve(to, tries - 1))
            return
        lease = answer.lease
        if not self._dies():
            self._after(self._latency(), lambda: self._begin(to, lease))

    async def _begin(self, to: Recipient, lease: Lease) -> None:
        self._store.store(lease, to.recipient, to.message_type)
        if not self._dies():
            self._after(self._latency(), lambda: self._send(to, lease))

    async def _send(self, to: Recipient, lease: Lease) -> None:
        if lease.lease_id not in await self._limiter.intact([lease]):
            self.seen["lost lease"] += 1
            await self._give_back(lease)
            return
        left_us = lease.expires_at_us - self._clock.now_us
        arrives_in = self._random.choice([0, self._random.random(), 1]) * (left_us - 1) / MS
        if self._random.random() < 0.15:
            self._after(arrives_in, lambda: self._give_back(lease))
            return
        self._after(arrives_in, lambda: self._arrive(to, lease))

    async def _arrive(self, to: Recipient, lease: Lease) -> None:
        assert self._clock.now_us < lease.expires_at_us
        self._arrivals.append((self._clock.now_us, to))
        self.seen["arrival"] += 1
        if self._random.random() < 0.25:
            self.seen["unconfirmed"] += 1
        else:
            self._after(self._latency(), lambda: self._limiter.confirm(lease))

    async def _give_back(self, lease: Lease) -> None:
        """The gateway refused it, or it was not tried at all."""
        self.seen["released"] += 1

        async def forget() -> None:
            self._store.stored.pop(lease.lease_id, None)

        async def release() -> None:
            await self._limiter.release(lease)

        for step in self._random.sample([forget, release], 2):
            await step()
            if self._dies():
                break

    async def _flush(self) -> None:
        self.seen["flush"] += 1
        await self._redis.flushdb()

    async def _evict(self) -> None:
        if keys := await self._keys():
            self.seen["eviction"] += 1
            await self._redis.unlink(self._random.choice(keys))

    async def _keys(self) -> list[str]:
        return sorted(map(str, await self._redis.keys("rate:*")))

    async def _take_over(self) -> None:
        """A replica becomes the server: another process, without the last writes."""
        self.seen["take-over"] += 1
        for key in await self._keys():
            if key.endswith(":index"):
                for member in map(str, await self._redis.zrange(key, 0, -1)):
                    if "run:" in member:
                        await self._redis.zadd(key, {f"{member}*": await self._redis.zscore(key, member) or 0})
                        await self._redis.zrem(key, member)
            elif not key.endswith(":hold"):
                await self._redis.zpopmax(key, self._random.randint(0, 3))


class OvertakenStore(StoredSlots):
    """Whoever reads it may find that others have gone on meanwhile."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        found = await super().slots(account_id, since_us)
        await self._schedule.overtake()
        return found


class Gate(Protocol):
    """Says when a message may go."""

    async def wait_us(self, to: Recipient, windows: Sequence[Window], now_us: int) -> int:
        """0: it goes now and counts; else how long it has to wait at least."""
        ...


class Ideal:
    """The definition: at any moment, each window holds at most its limit."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], list[int]] = defaultdict(list)

    async def wait_us(self, to: Recipient, windows: Sequence[Window], now_us: int) -> int:
        wait_us = 0
        logs = [self._logs["" if each.subject == "system" else to.account, each.subject] for each in windows]
        for window, log in zip(windows, logs, strict=True):
            span_us = round(window.seconds * 1_000_000)
            if len(log) - bisect_right(log, now_us - span_us) >= window.limit:
                wait_us = max(wait_us, log[-window.limit] + span_us - now_us)
        if not wait_us:
            for log in {id(log): log for log in logs}.values():
                log.append(now_us)
        return wait_us


class Limited:
    """The limiter, by whose word a message goes and arrives at once."""

    def __init__(self, limiter: RedisLimiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._start_us = clock.now_us

    async def wait_us(self, to: Recipient, windows: Sequence[Window], now_us: int) -> int:
        self._clock.now_us = self._start_us + now_us
        answer = await self._limiter.reserve(to.account, windows, lease_ms=LEASE)
        if answer.lease is not None:
            await self._limiter.confirm(answer.lease)
            return 0
        assert answer.retry_after_ms is not None
        return answer.retry_after_ms * MS


@dataclass(frozen=True)
class Demand:
    """More messages than the limits admit, in the order in which they ask, for some seconds."""

    limits: Limits
    messages: Sequence[Recipient]
    horizon_us: int = 10_000_000

    @classmethod
    def random(cls, random: Random) -> "Demand":
        accounts = random.randint(1, 2)
        messages = [
            Recipient(
                f"acct_{random.randrange(accounts)}",
                f"fan{random.randrange(6)}",
                random.choice([MessageType.CUSTOM, MessageType.WELCOME]),
            )
            for _ in range(60)
        ]
        return cls(Limits.random(random, 0.01), messages)

    async def serve(self, gate: Gate) -> list[int]:
        """The moments at which messages go: everybody asks when it is told to, the first in line first."""
        sent = []
        waiting = [(0, number) for number in range(len(self.messages))]
        while waiting and (now_us := min(waiting)[0]) < self.horizon_us:
            later = []
            for moment, number in sorted(waiting, key=lambda each: each[1]):
                to = self.messages[number]
                if moment > now_us:
                    later.append((moment, number))
                elif wait_us := await gate.wait_us(to, self.limits.windows(to), now_us):
                    later.append((now_us + wait_us, number))
                else:
                    sent.append(now_us)
            waiting = later
        return sent
