"""What the limiter does when Redis has lost its memory, in part or as a whole: nothing is granted on half of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisClient, open_redis
from domain.errors import DependencyUnavailable
from domain.rate_limit import Layer, Lease, Slot
from local import ports
from local.redis import serving
from tests.adapters.limits import (
    LEASE_MS,
    Clock,
    StoredSlots,
    at,
    denial,
    of_account,
    of_recipient,
    of_system,
    of_type,
    own_redis,
    send,
    take,
)
from tests.domain.builders import an_account

pytestmark = pytest.mark.usefixtures("other_times")

ALL = (of_account(3, 60), of_account(9, 3_600), of_type(3, 60), of_recipient(3, 60), of_system(50, 60))


@pytest.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisClient]:
    """A server whose data a test may destroy."""
    async with own_redis(tmp_path_factory.mktemp("redis")) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slots() -> StoredSlots:
    return StoredSlots()


@pytest.fixture
async def limiter(redis: RedisClient, slots: StoredSlots, clock: Clock) -> RedisLimiter:
    await redis.flushall()
    return RedisLimiter(redis, slots, clock_us=clock)


@pytest.fixture
def account() -> str:
    return an_account()


class TestFlush:
    async def test_what_was_stored_counts_to_the_end_of_its_lease(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        for _ in range(3):
            slots.store(await send(limiter, account, *ALL), "7")
        await redis.flushall()
        assert (await denial(limiter, account, *ALL)).retry_after_ms == 60_000 + LEASE_MS
        clock.advance(60_000 + LEASE_MS)
        await take(limiter, account, *ALL)

    async def test_the_store_is_asked_once_for_what_can_still_count(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        for _ in range(3):
            await take(limiter, account, *ALL)
        now = clock.now_us
        assert slots.reads == [(account, now - 3_600_000_000), (None, now - 60_000_000)]

    async def test_a_lease_that_was_not_stored_yet_is_not_intact(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        lease = await take(limiter, account, *ALL)
        await redis.flushall()
        assert await limiter.intact([lease]) == frozenset()
        kept = await take(limiter, account, *ALL)
        assert await limiter.intact([lease, kept]) == {kept.lease_id}

    async def test_a_lease_that_was_restored_counts_but_admits_nothing(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        # It was forgotten for a while, and others may have been granted in its place meanwhile.
        lease = await take(limiter, account, *ALL)
        await redis.flushall()
        for _ in range(3):
            slots.store(await take(limiter, account, *ALL), "7")
        slots.store(lease, "7")
        await redis.flushall()
        await denial(limiter, account, *ALL)
        assert await limiter.intact([lease]) == frozenset()

    async def test_a_restored_lease_can_be_given_back(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        leases = [await take(limiter, account, *ALL) for _ in range(3)]
        for lease in leases:
            slots.store(lease, "7")
        await redis.flushall()
        await denial(limiter, account, *ALL)
        await limiter.release(leases[0])
        await take(limiter, account, *ALL)
        await denial(limiter, account, *ALL)

    async def test_a_late_confirmation_neither_creates_a_log_nor_frees_a_restored_slot(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        leases = [await take(limiter, account, *ALL) for _ in range(3)]
        for lease in leases:
            slots.store(lease, "7")
        await redis.flushall()
        await limiter.confirm(leases[0])
        assert await redis.dbsize() == 0
        await denial(limiter, account, *ALL)
        await limiter.confirm(leases[1])
        assert (await denial(limiter, account, *ALL)).retry_after_ms == 60_000 + LEASE_MS

    async def test_check_and_usage_tell_of_restored_slots(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        for _ in range(3):
            slots.store(await send(limiter, account, *ALL), "7")
        await redis.flushall()
        assert [window.used for window in (await limiter.usage(account, ALL)).windows] == [3] * 5
        await redis.flushall()
        assert not (await limiter.check(account, ALL)).would_grant

    async def test_a_hold_ends_when_it_would_have(
        self, redis: RedisClient, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await limiter.hold(account, 60_000, "throttled")
        await limiter.hold(account, 50_000, "auth")
        clock.advance(1_000)
        await redis.flushall()
        asked = await denial(limiter, account, *ALL)
        assert (asked.binding_layer, asked.retry_after_ms) == (Layer.PLATFORM, 59_000)
        assert (await limiter.usage(account, ALL)).held_reason == "throttled"
        clock.advance(59_000)
        await take(limiter, account, *ALL)

    async def test_a_hold_that_is_over_is_not_brought_back(
        self, redis: RedisClient, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await limiter.hold(account, 60_000, "throttled")
        clock.advance(60_000)
        await redis.flushall()
        await take(limiter, account, *ALL)

    async def test_a_hold_binds_nobody_else(self, redis: RedisClient, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "throttled")
        await redis.flushall()
        await take(limiter, an_account(), *ALL)

    async def test_the_system_layer_is_rebuilt_from_every_account(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots
    ) -> None:
        only = of_system(4, 60)
        for _ in range(4):
            slots.store(await send(limiter, an_account(), only))
        await redis.flushall()
        await denial(limiter, an_account(), only)


class TestRaces:
    async def test_a_rebuild_that_reads_before_a_hold_is_stored_does_not_lose_it(
        self, redis: RedisClient, account: str, clock: Clock
    ) -> None:
        class Forgetful(StoredSlots):
            """When a hold arrives to be kept, Redis has just been flushed and rebuilt without it."""

            async def keep(self, slots: Sequence[Slot]) -> None:
                await redis.flushall()
                await take(slow, account, *ALL)
                await super().keep(slots)

        slow = RedisLimiter(redis, Forgetful(), clock_us=clock)
        await slow.hold(account, 60_000, "throttled")
        assert (await denial(slow, account, *ALL)).retry_after_ms == 60_000

    async def test_a_hold_without_redis_binds_once_redis_is_back(
        self, redis: RedisClient, slots: StoredSlots, account: str
    ) -> None:
        async with open_redis(at(9)) as nowhere:
            with pytest.raises(DependencyUnavailable):
                await RedisLimiter(nowhere, slots).hold(account, 60_000, "throttled")
        await redis.flushall()
        asked = await denial(RedisLimiter(redis, slots), account, *ALL)
        assert asked.binding_layer is Layer.PLATFORM

    @pytest.mark.parametrize("loss", ["flush", "eviction", "take-over by a replica that lacks the last writes"])
    async def test_a_reading_that_is_older_than_another_rebuild_is_thrown_away(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock, loss: str
    ) -> None:
        log, index = f"rate:{{{account}}}:account", f"rate:{{{account}}}:index"
        slow = SlowSlots(slots)
        late = RedisLimiter(redis, slow, clock_us=clock)
        await limiter.check(account, [of_type(9, 60)])
        asking = asyncio.create_task(late.reserve(account, [of_account(2, 60)], lease_ms=LEASE_MS))
        await slow.has_read.wait()
        members = map(str, await redis.zrange(index, 0, -1))
        replica = {member: await redis.zscore(index, member) for member in members}
        # Meanwhile another process rebuilds, sends, and the memory is lost again.
        for _ in range(2):
            slots.store(await send(limiter, account, of_account(2, 60)))
        if loss == "flush":
            await redis.flushall()
        elif loss == "eviction":
            await redis.unlink(log)
        else:
            await redis.unlink(log, index)
            await redis.zadd(index, {of_another_process(member): score or 0 for member, score in replica.items()})
        slow.may_answer.set()
        assert not (await asking).granted

    async def test_two_processes_that_rebuild_at_once_grant_no_more_than_one_would(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        limiters = [RedisLimiter(redis, slots, clock_us=clock) for _ in range(8)]
        answers = await asyncio.gather(
            *(each.reserve(account, ALL, lease_ms=LEASE_MS) for each in limiters for _ in range(4))
        )
        assert sum(answer.granted for answer in answers) == 3

    async def test_memory_that_is_lost_all_the_time_grants_nothing(
        self, redis: RedisClient, account: str, clock: Clock
    ) -> None:
        forgetful = RedisLimiter(redis, FlushingSlots(redis), clock_us=clock)
        with pytest.raises(DependencyUnavailable):
            await forgetful.reserve(account, ALL, lease_ms=LEASE_MS)

    async def test_a_call_whose_answer_was_lost_has_its_lease_when_the_client_repeats_it(
        self, redis: RedisClient, slots: StoredSlots, account: str
    ) -> None:
        async with losing_answers(redis) as (line, behind):
            limiter = RedisLimiter(behind, slots)
            await limiter.check(account, [of_account(1, 60)])
            line.answers_to_lose = 1
            lease = await take(limiter, account, of_account(1, 60))
            assert line.answers_to_lose == 0
            assert await limiter.intact([lease]) == {lease.lease_id}

    async def test_a_slot_that_was_granted_without_our_knowing_is_given_back(
        self, redis: RedisClient, slots: StoredSlots, account: str
    ) -> None:
        async with losing_answers(redis) as (line, behind):
            limiter = RedisLimiter(behind, slots)
            await limiter.check(account, [of_account(1, 60)])
            line.answers_to_lose = 2
            with pytest.raises(DependencyUnavailable):
                await limiter.reserve(account, [of_account(1, 60)], lease_ms=LEASE_MS)
            assert await redis.zcard(f"rate:{{{account}}}:account") == 1
            await take(limiter, account, of_account(1, 60))
            await denial(limiter, account, of_account(1, 60))


class TestEviction:
    @pytest.mark.parametrize("key", ["account", "type:custom", "recipient:7", "index"])
    async def test_a_key_that_was_evicted_is_rebuilt(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, key: str
    ) -> None:
        for _ in range(3):
            slots.store(await send(limiter, account, *ALL), "7")
        assert await redis.unlink(f"rate:{{{account}}}:{key}") == 1
        await denial(limiter, account, *ALL)
        for window in (of_account(3, 60), of_type(3, 60), of_recipient(3, 60)):
            await denial(limiter, account, window)

    async def test_what_was_not_evicted_keeps_its_exact_moments(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        for _ in range(3):
            slots.store(await send(limiter, account, *ALL), "7")
        await redis.unlink(f"rate:{{{account}}}:index")
        assert (await denial(limiter, account, *ALL)).retry_after_ms == 60_000

    async def test_an_evicted_key_of_the_system_layer_is_rebuilt(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots
    ) -> None:
        for _ in range(3):
            slots.store(await send(limiter, an_account(), of_system(3, 60)))
        assert await redis.unlink("rate:{system}:system") == 1
        await denial(limiter, an_account(), of_system(3, 60))

    @pytest.mark.parametrize("key", ["account", "type:custom", "recipient:7", "index"])
    async def test_a_lease_is_not_intact_where_one_of_its_keys_was_evicted(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, key: str
    ) -> None:
        lease = await take(limiter, account, *ALL)
        await redis.unlink(f"rate:{{{account}}}:{key}")
        assert await limiter.intact([lease]) == frozenset()

    async def test_a_lease_is_not_intact_in_a_log_whose_eviction_nobody_would_notice(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        lease = await take(limiter, account, *ALL)
        await redis.unlink(f"rate:{{{account}}}:index")
        # The new index does not name logs of which the store knows nothing yet.
        await limiter.check(account, ALL)
        slots.store(lease, "7")
        assert await limiter.intact([lease]) == frozenset()

    async def test_giving_a_lease_back_does_not_hide_an_eviction(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        for _ in range(2):
            slots.store(await send(limiter, account, of_account(3, 60)))
        lease = await take(limiter, account, of_account(3, 60))
        await redis.unlink(f"rate:{{{account}}}:account")
        await limiter.release(lease)
        await take(limiter, account, of_account(3, 60))
        await denial(limiter, account, of_account(3, 60))

    async def test_a_window_that_became_shorter_meanwhile_stays_right_when_it_is_made_longer_again(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        for _ in range(2):
            slots.store(await send(limiter, account, of_account(9, 3_600)))
            clock.advance(600_000)
        await send(limiter, account, of_account(9, 60))
        await redis.unlink(f"rate:{{{account}}}:account")
        await take(limiter, account, of_account(9, 60))
        # Two from before and the one just granted; the one that was not stored was not sent either.
        await denial(limiter, account, of_account(3, 3_600))
        await take(limiter, account, of_account(4, 3_600))


class TestRestart:
    async def test_a_server_with_an_old_file_is_rebuilt_and_vouches_for_nothing_before(self, tmp_path: Path) -> None:
        slots, clock, account = StoredSlots(), Clock(), an_account()
        async with serving(tmp_path) as port, open_redis(at(port)) as redis:
            limiter = RedisLimiter(redis, slots, clock_us=clock)
            lease = await take(limiter, account, *ALL)
            slots.store(lease, "7")
            await redis.config_set("appendonly", "no")
            # From here on nothing reaches the file.
            for _ in range(2):
                slots.store(await send(limiter, account, *ALL), "7")
        async with serving(tmp_path, port=port), open_redis(at(port)) as redis:
            limiter = RedisLimiter(redis, slots, clock_us=clock)
            assert await redis.zcard(f"rate:{{{account}}}:account") == 1
            assert await limiter.intact([lease]) == frozenset()
            await denial(limiter, account, *ALL)
            assert await redis.zcard(f"rate:{{{account}}}:account") == 3

    async def test_a_client_recovers_by_itself(self, tmp_path: Path) -> None:
        slots, account = StoredSlots(), an_account()
        async with serving(tmp_path) as port:
            pass
        async with open_redis(at(port)) as redis:
            limiter = RedisLimiter(redis, slots)
            async with serving(tmp_path, port=port):
                slots.store(await send(limiter, account, of_account(1, 60)))
            with pytest.raises(DependencyUnavailable):
                await limiter.reserve(account, [of_account(1, 60)], lease_ms=LEASE_MS)
            async with serving(tmp_path, port=port):
                await denial(limiter, account, of_account(1, 60))
                await take(limiter, account, of_account(2, 60))


class TestLargeRebuild:
    async def test_the_log_of_a_busy_day_is_restored_in_one_call(
        self, redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, clock: Clock
    ) -> None:
        day, number = of_system(50_000, 86_400), count()
        for _ in range(50_000):
            slots.store(stored_lease(str(next(number)), clock.now_us))
        await denial(limiter, an_account(), day)
        await take(limiter, an_account(), of_system(50_001, 86_400))


class LossyLine:
    """A connection to Redis that is cut after a script was run and before its answer arrives."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers_to_lose = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection(ports.HOST, self._port)
        while request := await reader.read(65_536):
            to_redis.write(request)
            answer = await from_redis.read(65_536)
            if self.answers_to_lose and b"EVALSHA" in request:
                self.answers_to_lose -= 1
                break
            writer.write(answer)
        writer.close()
        to_redis.close()


@asynccontextmanager
async def losing_answers(redis: RedisClient) -> AsyncIterator[tuple[LossyLine, RedisClient]]:
    """A line that can be cut, and a client behind it."""
    line = LossyLine(int((await redis.config_get("port"))["port"] or 0))
    async with (
        await asyncio.start_server(line.accept, ports.HOST, 0) as server,
        open_redis(at(server.sockets[0].getsockname()[1])) as behind,
    ):
        yield line, behind


class SlowSlots:
    """A store that has read, but whose answer takes its time."""

    def __init__(self, inner: StoredSlots) -> None:
        self._inner = inner
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        answer = await self._inner.slots(account_id, since_us)
        self.has_read.set()
        await self.may_answer.wait()
        return answer

    async def keep(self, slots: Sequence[Slot]) -> None:
        await self._inner.keep(slots)

    async def forget(self, slots: Sequence[Slot]) -> None:
        await self._inner.forget(slots)


class FlushingSlots:
    """A store in whose time to answer Redis forgets everything again."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        await self._redis.flushall()
        return ()

    async def keep(self, slots: Sequence[Slot]) -> None: ...

    async def forget(self, slots: Sequence[Slot]) -> None: ...


def of_another_process(member: str) -> str:
    """A member of an index as a server leaves it behind that another one takes over from."""
    run, found, identity = member.rpartition("run:")
    return f"{run}{found}{'0' * len(identity)}" if found else member


def stored_lease(lease_id: str, expires_at_us: int) -> Lease:
    return Lease(lease_id=lease_id, account_id="acct_busy", subjects=("system",), expires_at_us=expires_at_us)
