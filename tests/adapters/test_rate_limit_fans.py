"""The limits of many fans whom one call reaches: each decided by itself, none forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.rate_limit import RedisLimiter
from adapters.rate_limit_call import FANS_AT_ONCE
from adapters.redis import RedisClient
from domain.errors import DependencyUnavailable
from domain.rate_limit import Cap, Caps, FanGrants, Slot, Window
from tests.adapters.limits import LEASE_MS, Clock, StoredSlots, denial, of_account, of_recipient, own_redis, take
from tests.domain.builders import an_account

pytestmark = pytest.mark.usefixtures("other_times")


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
def limiter(redis: Redis, slots: StoredSlots, clock: Clock) -> RedisLimiter:
    return RedisLimiter(redis, slots, clock_us=clock)


@pytest.fixture
def account() -> str:
    return an_account()


def caps(limit: int | None = 1) -> Caps:
    return (Cap(limit=limit, seconds=60), Cap(limit=None if limit is None else 10, seconds=3_600))


def windows(fan: str) -> list[Window]:
    return [of_recipient(1, 60, fan), of_recipient(10, 3_600, fan)]


async def reserve(
    limiter: RedisLimiter, account: str, *fans: str, limit: int | None = 1, call: UUID | None = None
) -> FanGrants:
    """Slots for one more call, unless it is said which."""
    return await limiter.reserve_fans(account, fans, caps(limit), call=call or uuid4(), lease_ms=LEASE_MS)


async def used(limiter: RedisLimiter, account: str, fan: str) -> int:
    return (await limiter.usage(account, windows(fan))).windows[0].used


async def test_a_fan_without_room_is_denied_and_the_others_are_charged_once(
    limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    await take(limiter, account, *windows("b"))
    clock.advance(1_000)
    grants = await reserve(limiter, account, "a", "b", "c")
    # The slot of "b" counts from the end of its lease.
    assert grants.denied == {"b": 60_000 + LEASE_MS - 1_000}
    [lease] = grants.leases
    assert lease.subjects == ("recipient:a", "recipient:c")
    assert [await used(limiter, account, fan) for fan in "abc"] == [1, 1, 1]
    again = await reserve(limiter, account, "a", "b", "c")
    assert (again.leases, set(again.denied)) == ((), {"a", "b", "c"})


async def test_nothing_else_is_charged(limiter: RedisLimiter, account: str) -> None:
    await reserve(limiter, account, "a", "b")
    await take(limiter, account, of_account(1, 60))


async def test_a_limit_of_nothing_and_no_limit(limiter: RedisLimiter, account: str) -> None:
    assert await reserve(limiter, account, "a", limit=0) == FanGrants(leases=(), denied={"a": None})
    assert not (await reserve(limiter, account, "a", limit=None)).denied


async def test_a_call_that_completed_counts_from_then(limiter: RedisLimiter, account: str, clock: Clock) -> None:
    [lease] = (await reserve(limiter, account, "a", "b")).leases
    clock.advance(100)
    await limiter.confirm(lease)
    assert (await denial(limiter, account, *windows("b"))).retry_after_ms == 60_000


async def test_a_call_that_brings_its_messages_later_counts_from_then(
    limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    [lease] = (await reserve(limiter, account, "a")).leases
    await limiter.confirm(lease, arrives_within_ms=300)
    assert (await denial(limiter, account, *windows("a"))).retry_after_ms == 60_300


async def test_what_is_given_back_is_free_also_after_the_limiter_forgot(
    redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, account: str
) -> None:
    await limiter.release_fans((await reserve(limiter, account, "a", "b")).leases)
    assert await used(limiter, account, "a") == 0
    assert slots.stored == {}
    await redis.flushall()
    assert not (await reserve(limiter, account, "a", "b")).denied


@pytest.mark.parametrize("forgets", [False, True])
async def test_what_a_call_took_before_counts_for_others_and_not_against_it(
    redis: RedisClient, limiter: RedisLimiter, slots: StoredSlots, clock: Clock, account: str, forgets: bool
) -> None:
    call = uuid4()
    await reserve(limiter, account, "a", "b", call=call)
    if forgets:
        await redis.flushall()
    # As after a kill: another process knows nothing of the first one's leases.
    later = RedisLimiter(redis, slots, clock_us=clock)
    clock.advance(10)
    again = await reserve(later, account, "a", "b", call=call)
    assert (len(again.leases), again.denied) == (1, {})
    assert (await reserve(later, account, "a", call=uuid4())).denied.keys() == {"a"}
    # What one attempt gives back is its own: the other one may still arrive.
    await later.release_fans(again.leases)
    assert (await reserve(later, account, "a", call=uuid4())).denied.keys() == {"a"}


async def test_others_count_against_a_call_whatever_it_took_before(
    limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    call = uuid4()
    await reserve(limiter, account, "a", limit=2, call=call)
    clock.advance(10_000)
    for _ in range(2):
        assert not (await reserve(limiter, account, "a", limit=3, call=uuid4())).denied
        clock.advance(1_000)
    assert (await reserve(limiter, account, "a", limit=2, call=call)).denied == {"a": 60_000 + LEASE_MS - 2_000}


async def test_no_script_looks_after_more_than_a_hundred_fans(
    redis: RedisClient, limiter: RedisLimiter, account: str
) -> None:
    assert isinstance(redis, Redis)
    await redis.config_set("slowlog-log-slower-than", 0)
    await redis.config_set("slowlog-max-len", 100_000)
    await redis.slowlog_reset()
    await reserve(limiter, account, *(str(number) for number in range(3 * FANS_AT_ONCE)))
    entries = await redis.slowlog_get(100_000)
    await redis.config_set("slowlog-log-slower-than", -1)
    keys = [int(entry["command"].split()[2]) for entry in entries if entry["command"].startswith(b"EVALSHA")]
    assert len(keys) >= 6
    # One log for each, and their index; where they are rebuilt, the account's hold beside.
    assert max(keys) == FANS_AT_ONCE + 2


async def test_many_take_several_scripts(limiter: RedisLimiter, slots: StoredSlots, account: str) -> None:
    names = [str(number) for number in range(2 * FANS_AT_ONCE + 1)]
    grants = await reserve(limiter, account, *names)
    assert [len(lease.subjects) for lease in grants.leases] == [FANS_AT_ONCE, FANS_AT_ONCE, 1]
    assert {fan for slot in slots.stored.values() for fan in slot.also_for} == set(names)
    assert [await used(limiter, account, fan) for fan in (names[0], names[-1])] == [1, 1]


async def test_a_limiter_that_forgets_gets_it_from_the_store(
    redis: RedisClient, limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    await reserve(limiter, account, "a", "b")
    await redis.flushall()
    grants = await reserve(limiter, account, "a", "c")
    assert grants.denied == {"a": 60_000 + LEASE_MS}
    # Slots of fans are nobody else's: the account has sent nothing.
    await take(limiter, account, of_account(1, 60))
    clock.advance(60_000 + LEASE_MS)
    assert not (await reserve(limiter, account, "a", "b")).denied


async def test_what_was_granted_before_the_limiter_forgot_admits_nothing(
    redis: RedisClient, clock: Clock, account: str
) -> None:
    class ForgettingSlots(StoredSlots):
        """The limiter loses its memory, and is rebuilt for somebody else, before the slots are stored."""

        async def keep(self, slots: Sequence[Slot]) -> None:
            await redis.flushall()
            await take(RedisLimiter(redis, self, clock_us=clock), account, of_recipient(1, 60, "z"))
            await super().keep(slots)

    with pytest.raises(DependencyUnavailable):
        await reserve(RedisLimiter(redis, ForgettingSlots(), clock_us=clock), account, "a", "b")


async def test_a_call_that_is_interrupted_gives_everything_back(
    redis: RedisClient, limiter: RedisLimiter, clock: Clock, account: str
) -> None:
    class NoStore(StoredSlots):
        async def keep(self, slots: Sequence[Slot]) -> None:
            raise asyncio.CancelledError

    interrupted = RedisLimiter(redis, NoStore(), clock_us=clock)
    with pytest.raises(asyncio.CancelledError):
        await reserve(interrupted, account, "a", "b")
    assert await used(limiter, account, "a") == 1
    # It is given back before the next thing that this process takes.
    await take(interrupted, account, of_account(9, 60))
    assert [await used(limiter, account, fan) for fan in "ab"] == [0, 0]


async def test_a_client_that_lost_the_answer_is_charged_once(
    redis: RedisClient, slots: StoredSlots, clock: Clock, account: str
) -> None:
    call = uuid4()
    first, second = (RedisLimiter(redis, slots, clock_us=clock) for _ in range(2))
    first._ids, second._ids = iter(["lease-a"] * 2), iter(["lease-a"] * 2)  # type: ignore[assignment]
    await reserve(first, account, "a", call=call)
    clock.advance(10)
    assert not (await reserve(second, account, "a", call=call)).denied
    assert await used(first, account, "a") == 1


@given(
    calls=st.lists(
        st.tuples(st.integers(0, 40_000), st.sets(st.sampled_from("abcd"), min_size=1), st.booleans()), max_size=12
    ),
    limit=st.integers(1, 3),
)
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_window_of_a_fan_ever_holds_more_than_its_limit(
    redis: RedisClient, calls: list[tuple[int, set[str], bool]], limit: int
) -> None:
    clock, slots, account = Clock(), StoredSlots(), an_account()
    limiter = RedisLimiter(redis, slots, clock_us=clock)
    arrivals: dict[str, list[int]] = {fan: [] for fan in "abcd"}
    for pause_ms, reached, forgets in calls:
        clock.advance(pause_ms)
        if forgets:
            await redis.flushall()
        grants = await reserve(limiter, account, *sorted(reached), limit=limit)
        for lease in grants.leases:
            await limiter.confirm(lease)
        for fan in reached - grants.denied.keys():
            arrivals[fan].append(clock.now_us)
    for moments in arrivals.values():
        for end in moments:
            assert sum(end - 60_000_000 < moment <= end for moment in moments) <= limit


async def test_a_limit_that_is_lifted_and_put_back_knows_what_was_sent_meanwhile(
    limiter: RedisLimiter, account: str
) -> None:
    assert not (await reserve(limiter, account, "a", "b")).denied
    assert not (await reserve(limiter, account, "c", limit=None)).denied
    assert set((await reserve(limiter, account, "a", "b", "c", "d")).denied) == {"a", "b", "c"}
