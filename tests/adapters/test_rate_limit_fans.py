"""The limits of many fans whom one call reaches: each decided by itself, none forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.rate_limit import RedisLimiter
from adapters.rate_limit_call import FANS_AT_ONCE
from adapters.redis import RedisClient
from domain.errors import DependencyUnavailable
from domain.rate_limit import Slot, Window
from tests.adapters.limits import LEASE_MS, Clock, StoredSlots, denial, of_account, of_recipient, own_redis, take
from tests.domain.builders import an_account


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


def fans(*names: str, limit: int = 1) -> dict[str, list[Window]]:
    return {name: [of_recipient(limit, 60, name), of_recipient(10, 3_600, name)] for name in names}


async def used(limiter: RedisLimiter, account: str, fan: str) -> int:
    return (await limiter.usage(account, fans(fan)[fan])).windows[0].used


async def test_a_fan_without_room_is_denied_and_the_others_are_charged_once(
    limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    await take(limiter, account, *fans("b")["b"])
    clock.advance(1_000)
    grants = await limiter.reserve_fans(account, fans("a", "b", "c"), lease_ms=LEASE_MS)
    # The slot of "b" counts from the end of its lease.
    assert grants.denied == {"b": 60_000 + LEASE_MS - 1_000}
    [lease] = grants.leases
    assert lease.subjects == ("recipient:a", "recipient:c")
    assert [await used(limiter, account, fan) for fan in "abc"] == [1, 1, 1]
    again = await limiter.reserve_fans(account, fans("a", "b", "c"), lease_ms=LEASE_MS)
    assert (again.leases, set(again.denied)) == ((), {"a", "b", "c"})


async def test_nothing_else_is_charged(limiter: RedisLimiter, account: str) -> None:
    await limiter.reserve_fans(account, fans("a", "b"), lease_ms=LEASE_MS)
    await take(limiter, account, of_account(1, 60))


async def test_a_limit_of_nothing_and_no_limit(limiter: RedisLimiter, account: str) -> None:
    grants = await limiter.reserve_fans(
        account, {**fans("closed", limit=0), "free": [], **fans("open")}, lease_ms=LEASE_MS
    )
    assert grants.denied == {"closed": None}
    assert [lease.subjects for lease in grants.leases] == [("recipient:open",)]


@pytest.mark.parametrize("ending", ["confirm", "release"])
async def test_leases_end_like_every_other_one(limiter: RedisLimiter, account: str, clock: Clock, ending: str) -> None:
    [lease] = (await limiter.reserve_fans(account, fans("a", "b"), lease_ms=LEASE_MS)).leases
    clock.advance(100)
    await getattr(limiter, ending)(lease)
    if ending == "release":
        assert await used(limiter, account, "a") == 0
        await take(limiter, account, *fans("a")["a"])
    else:
        assert (await denial(limiter, account, *fans("b")["b"])).retry_after_ms == 60_000


async def test_many_take_several_scripts(limiter: RedisLimiter, slots: StoredSlots, account: str) -> None:
    names = [str(number) for number in range(2 * FANS_AT_ONCE + 1)]
    grants = await limiter.reserve_fans(account, fans(*names), lease_ms=LEASE_MS)
    assert [len(lease.subjects) for lease in grants.leases] == [FANS_AT_ONCE, FANS_AT_ONCE, 1]
    assert {fan for slot in slots.stored.values() for fan in slot.also_for} == set(names)
    assert [await used(limiter, account, fan) for fan in (names[0], names[-1])] == [1, 1]


async def test_a_limiter_that_forgets_gets_it_from_the_store(
    redis: RedisClient, limiter: RedisLimiter, account: str, clock: Clock
) -> None:
    await limiter.reserve_fans(account, fans("a", "b"), lease_ms=LEASE_MS)
    await redis.flushall()
    grants = await limiter.reserve_fans(account, fans("a", "c"), lease_ms=LEASE_MS)
    assert grants.denied == {"a": 60_000 + LEASE_MS}
    # Slots of fans are nobody else's: the account has sent nothing.
    await take(limiter, account, of_account(1, 60))
    clock.advance(60_000 + LEASE_MS)
    assert not (await limiter.reserve_fans(account, fans("a", "b"), lease_ms=LEASE_MS)).denied


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
        await RedisLimiter(redis, ForgettingSlots(), clock_us=clock).reserve_fans(
            account, fans("a", "b"), lease_ms=LEASE_MS
        )


async def test_a_call_that_is_interrupted_gives_everything_back(
    redis: RedisClient, limiter: RedisLimiter, clock: Clock, account: str
) -> None:
    class NoStore(StoredSlots):
        async def keep(self, slots: Sequence[Slot]) -> None:
            raise asyncio.CancelledError

    interrupted = RedisLimiter(redis, NoStore(), clock_us=clock)
    with pytest.raises(asyncio.CancelledError):
        await interrupted.reserve_fans(account, fans("a", "b"), lease_ms=LEASE_MS)
    assert await used(limiter, account, "a") == 1
    # It is given back before the next thing that this process takes.
    await take(interrupted, account, of_account(9, 60))
    assert [await used(limiter, account, fan) for fan in "ab"] == [0, 0]


async def test_a_client_that_lost_the_answer_has_what_it_was_granted(
    redis: RedisClient, slots: StoredSlots, clock: Clock, account: str
) -> None:
    first, second = (RedisLimiter(redis, slots, clock_us=clock) for _ in range(2))
    first._ids, second._ids = iter(["lease-a"] * 2), iter(["lease-a"] * 2)  # type: ignore[assignment]
    granted = await first.reserve_fans(account, fans("a"), lease_ms=LEASE_MS)
    clock.advance(10)
    assert (await second.reserve_fans(account, fans("a"), lease_ms=LEASE_MS)) == granted


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
        grants = await limiter.reserve_fans(account, fans(*sorted(reached), limit=limit), lease_ms=LEASE_MS)
        for lease in grants.leases:
            await limiter.confirm(lease)
        for fan in reached - grants.denied.keys():
            arrivals[fan].append(clock.now_us)
    for moments in arrivals.values():
        for end in moments:
            assert sum(end - 60_000_000 < moment <= end for moment in moments) <= limit
