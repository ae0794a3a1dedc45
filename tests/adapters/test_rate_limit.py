"""The limiter in a real Redis: exact to the millisecond, atomic, and never more than the platform allows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisDependency, open_redis
from adapters.settings import Settings
from domain.errors import DependencyUnavailable
from domain.rate_limit import Reservation, Window
from local.onlyfans.book import max_in_window
from tests.domain.builders import NOW, an_account

MS = 1_000
LEASE_MS = 500


class Clock:
    """Microseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def advance(self, milliseconds: float) -> None:
        self.now_us += round(milliseconds * MS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(redis: Redis, clock: Clock) -> RedisLimiter:
    """A limiter that goes by the test's clock."""
    return RedisLimiter(redis, clock_us=clock)


@pytest.fixture
def account() -> str:
    return an_account()


def window(limit: int | None, seconds: float, layer: str = "account") -> Window:
    return Window(layer=layer, limit=limit, seconds=seconds)


async def take(limiter: RedisLimiter, account: str, *windows: Window) -> str:
    """A lease that must be granted."""
    lease = (await limiter.reserve(account, windows, lease_ms=LEASE_MS)).lease_id
    assert lease is not None
    return lease


async def send(limiter: RedisLimiter, account: str, *windows: Window) -> None:
    """A lease that is used at once."""
    await limiter.confirm(account, await take(limiter, account, *windows))


async def denial(limiter: RedisLimiter, account: str, *windows: Window) -> Reservation:
    answer = await limiter.reserve(account, windows, lease_ms=LEASE_MS)
    assert not answer.granted
    return answer


class TestReserve:
    async def test_a_limit_of_one_grants_exactly_one(self, limiter: RedisLimiter, account: str) -> None:
        one = await limiter.reserve(account, [window(1, 60)], lease_ms=LEASE_MS)
        two = await limiter.reserve(account, [window(1, 60)], lease_ms=LEASE_MS)
        assert (one.granted, two.granted) == (True, False)

    async def test_it_says_how_many_are_left_of_which_window(self, limiter: RedisLimiter, account: str) -> None:
        windows = [window(9, 60, "wide"), window(3, 60, "narrow")]
        answers = [await limiter.reserve(account, windows, lease_ms=LEASE_MS) for _ in range(3)]
        assert [answer.remaining for answer in answers] == [2, 1, 0]
        assert {answer.binding_layer for answer in answers} == {"narrow"}

    async def test_accounts_do_not_share_their_limits(self, limiter: RedisLimiter) -> None:
        one, other = an_account(), an_account()
        await take(limiter, one, window(1, 60))
        await take(limiter, other, window(1, 60))

    async def test_a_denial_charges_nothing(self, limiter: RedisLimiter, account: str, clock: Clock) -> None:
        wide, narrow = window(3, 60, "wide"), window(1, 1, "narrow")
        await send(limiter, account, wide, narrow)
        for _ in range(5):
            await denial(limiter, account, wide, narrow)
        clock.advance(1_000)
        assert (await limiter.reserve(account, [wide], lease_ms=LEASE_MS)).remaining == 1

    @pytest.mark.parametrize("limit", [1, 2, 5])
    async def test_retry_after_is_exact(self, limiter: RedisLimiter, account: str, clock: Clock, limit: int) -> None:
        only = window(limit, 60)
        for _ in range(limit):
            await send(limiter, account, only)
            clock.advance(137)
        wait = (await denial(limiter, account, only)).retry_after_ms
        clock.advance(wait - 1)
        await denial(limiter, account, only)
        clock.advance(1)
        await take(limiter, account, only)
        await denial(limiter, account, only)

    async def test_retry_after_of_an_open_lease_counts_from_the_end_of_the_lease(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await take(limiter, account, window(1, 10))
        assert (await denial(limiter, account, window(1, 10))).retry_after_ms == 10_000 + LEASE_MS
        clock.advance(10_000 + LEASE_MS - 1)
        await denial(limiter, account, window(1, 10))
        clock.advance(1)
        await take(limiter, account, window(1, 10))

    async def test_zero_means_nothing_ever(self, limiter: RedisLimiter, account: str, clock: Clock) -> None:
        answer = await denial(limiter, account, window(0, 60))
        assert (answer.remaining, answer.retry_after_ms, answer.binding_layer) == (0, 60_000, "account")
        clock.advance(60_000)
        await denial(limiter, account, window(0, 60))

    async def test_none_means_no_limit(self, limiter: RedisLimiter, account: str) -> None:
        for _ in range(30):
            await take(limiter, account, window(None, 60))

    async def test_a_window_without_a_limit_does_not_hide_one_that_has_one(
        self, limiter: RedisLimiter, account: str
    ) -> None:
        windows = [window(None, 3_600, "hour"), window(1, 60, "minute")]
        await take(limiter, account, *windows)
        answer = await denial(limiter, account, *windows)
        assert (answer.binding_layer, answer.window_seconds) == ("minute", 60)

    async def test_the_binding_layer_is_the_one_that_binds_longest(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        windows = [window(1, 10, "short"), window(2, 60, "long"), window(1, 20, "middle")]
        await send(limiter, account, *windows)
        answer = await denial(limiter, account, *windows)
        assert (answer.binding_layer, answer.retry_after_ms, answer.window_seconds) == ("middle", 20_000, 20)
        clock.advance(20_000)
        await send(limiter, account, *windows)
        answer = await denial(limiter, account, *windows)
        assert (answer.binding_layer, answer.retry_after_ms) == ("long", 40_000)

    @pytest.mark.parametrize("seconds", [1.001, 2.003, 0.0005])
    async def test_a_window_of_a_fraction_is_never_shortened(
        self, limiter: RedisLimiter, account: str, clock: Clock, seconds: float
    ) -> None:
        await send(limiter, account, window(1, seconds))
        clock.now_us += round(seconds * 1_000_000) - 1
        await denial(limiter, account, window(1, seconds))

    async def test_a_hundred_at_once_against_a_limit_of_five_are_five(self, redis: Redis, account: str) -> None:
        limiter = RedisLimiter(redis)
        answers = await asyncio.gather(
            *(limiter.reserve(account, [window(5, 60)], lease_ms=LEASE_MS) for _ in range(100))
        )
        assert sum(answer.granted for answer in answers) == 5
        assert len({answer.lease_id for answer in answers if answer.granted}) == 5

    async def test_by_redis_own_clock_a_denial_names_a_wait_within_window_and_lease(
        self, redis: Redis, account: str
    ) -> None:
        limiter = RedisLimiter(redis)
        await take(limiter, account, window(1, 60))
        assert 0 < (await denial(limiter, account, window(1, 60))).retry_after_ms <= 60_000 + LEASE_MS


class TestConfirm:
    async def test_the_slot_counts_from_the_moment_of_completion(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        lease = await take(limiter, account, window(1, 10))
        clock.advance(120)
        await limiter.confirm(account, lease)
        assert (await denial(limiter, account, window(1, 10))).retry_after_ms == 10_000

    async def test_a_call_that_outlived_its_lease_counts_from_its_completion(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        lease = await take(limiter, account, window(1, 10))
        clock.advance(LEASE_MS + 4_000)
        await limiter.confirm(account, lease)
        assert (await denial(limiter, account, window(1, 10))).retry_after_ms == 10_000

    async def test_repeating_it_takes_no_second_slot(self, limiter: RedisLimiter, account: str) -> None:
        lease = await take(limiter, account, window(2, 10))
        await limiter.confirm(account, lease)
        await limiter.confirm(account, lease)
        await take(limiter, account, window(2, 10))
        await denial(limiter, account, window(2, 10))

    async def test_what_was_sent_counts_although_its_lease_was_forgotten(
        self, limiter: RedisLimiter, account: str
    ) -> None:
        await limiter.confirm(account, "forgotten")
        await denial(limiter, account, window(1, 10))


class TestRelease:
    async def test_the_slot_is_free_again_at_once(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.release(account, await take(limiter, account, window(1, 60)))
        await take(limiter, account, window(1, 60))
        await denial(limiter, account, window(1, 60))

    async def test_only_the_named_lease_is_given_back(self, limiter: RedisLimiter, account: str) -> None:
        lease = await take(limiter, account, window(2, 60))
        await take(limiter, account, window(2, 60))
        await limiter.release(account, lease)
        await limiter.release(account, lease)
        await take(limiter, account, window(2, 60))
        await denial(limiter, account, window(2, 60))


class TestHold:
    async def test_nothing_is_granted_while_the_account_is_held(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "throttled")
        answer = await denial(limiter, account, window(10, 60))
        assert answer.binding_layer == "hold"
        assert 0 < answer.retry_after_ms <= 60_000

    async def test_a_hold_also_binds_an_account_without_limits(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "session_expired")
        await denial(limiter, account, window(None, 60))

    async def test_others_go_on(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "throttled")
        await take(limiter, an_account(), window(1, 60))

    async def test_it_ends_by_itself(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 20, "throttled")
        async with asyncio.timeout(5):
            while (
                answer := await limiter.reserve(account, [window(1, 60)], lease_ms=LEASE_MS)
            ).binding_layer == "hold":
                assert answer.retry_after_ms <= 20
        assert answer.granted


class TestStatus:
    async def test_asking_takes_nothing(self, limiter: RedisLimiter, account: str) -> None:
        for _ in range(3):
            status = await limiter.status(account, [window(2, 60)], NOW)
            assert (status.remaining, status.throttled, status.reset_time) == (2, False, None)
        await take(limiter, account, window(2, 60))
        assert (await limiter.status(account, [window(2, 60)], NOW)).remaining == 1

    async def test_a_full_window_says_until_when(self, limiter: RedisLimiter, account: str) -> None:
        await send(limiter, account, window(1, 60))
        status = await limiter.status(account, [window(1, 60)], NOW)
        assert (status.remaining, status.throttled) == (0, True)
        assert status.reset_time == NOW + timedelta(seconds=60)


class TestKeys:
    async def test_every_key_of_an_account_lies_in_one_slot_of_a_cluster_and_expires(
        self, redis: Redis, limiter: RedisLimiter, account: str
    ) -> None:
        await take(limiter, account, window(1, 60))
        await limiter.hold(account, 1_000, "throttled")
        keys = [key async for key in redis.scan_iter(match=f"*{account}*")]
        assert len(keys) == 2
        for key in keys:
            assert f"{{{account}}}" in key
            assert 0 < await redis.pttl(key) <= 60_000 + LEASE_MS + 1_000


class TestUnreachable:
    async def test_every_call_says_that_nothing_may_be_sent(self, settings: Settings) -> None:
        away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})
        async with open_redis(away) as nowhere:
            limiter = RedisLimiter(nowhere)
            calls = [
                limiter.reserve("acct_a", [window(1, 60)], lease_ms=LEASE_MS),
                limiter.status("acct_a", [window(1, 60)], NOW),
                limiter.confirm("acct_a", "lease"),
                limiter.release("acct_a", "lease"),
                limiter.hold("acct_a", 1_000, "throttled"),
            ]
            for call in calls:
                with pytest.raises(DependencyUnavailable):
                    await call

    async def test_a_reachable_one_tells_its_version(self, redis: Redis) -> None:
        assert (await RedisDependency(redis).check())["version"].split(".")[0].isdecimal()


@dataclass(frozen=True)
class Attempt:
    """One message: how long after the one before, when it arrives, and what becomes of its lease."""

    gap_ms: int
    arrival_ms: int
    late_ms: int
    fate: str


attempts = st.lists(
    st.builds(
        Attempt,
        gap_ms=st.integers(min_value=0, max_value=700),
        arrival_ms=st.integers(min_value=0, max_value=LEASE_MS),
        late_ms=st.sampled_from([0, 1, 50, 2 * LEASE_MS]),
        fate=st.sampled_from(["confirm", "confirm", "confirm", "release", "crash"]),
    ),
    min_size=5,
    max_size=40,
)
limits = st.lists(
    st.tuples(st.integers(min_value=1, max_value=4), st.sampled_from([0.3, 1.0, 3.0])), min_size=1, max_size=3
)


class TestAnySchedule:
    @given(attempts, limits)
    @hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_no_window_at_the_platform_ever_holds_more_than_its_limit(
        self, redis: Redis, schedule: list[Attempt], layers: list[tuple[int, float]]
    ) -> None:
        windows = [window(limit, seconds, str(number)) for number, (limit, seconds) in enumerate(layers)]
        arrivals = await simulate(redis, schedule, windows)
        for limit, seconds in layers:
            assert max_in_window(arrivals, round(seconds * 1_000_000)) <= limit


async def simulate(redis: Redis, schedule: Sequence[Attempt], windows: Sequence[Window]) -> list[int]:
    """When messages arrived at the platform, in µs, if a sender does exactly what the limiter says.

    A lease is confirmed when the call has completed, which is after the arrival, however late; released when
    nothing was sent; or, after a crash, never heard of again although the message arrives.
    """
    clock, account = Clock(), an_account()
    limiter = RedisLimiter(redis, clock_us=clock)
    arrivals: list[int] = []
    completions: list[tuple[int, str, str]] = []
    for attempt in schedule:
        start = clock.now_us + attempt.gap_ms * MS
        for due in sorted(completion for completion in completions if completion[0] <= start):
            completions.remove(due)
            clock.now_us, lease, fate = due
            await (limiter.confirm if fate == "confirm" else limiter.release)(account, lease)
        clock.now_us = start
        answer = await limiter.reserve(account, windows, lease_ms=LEASE_MS)
        if answer.lease_id is None:
            continue
        arrival = start + attempt.arrival_ms * MS
        if attempt.fate != "release":
            arrivals.append(arrival)
        if attempt.fate != "crash":
            completions.append((arrival + attempt.late_ms * MS, answer.lease_id, attempt.fate))
    return sorted(arrivals)
