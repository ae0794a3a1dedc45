"""The limiter's decisions in a real Redis: exact, all or nothing, and with a reason."""

import asyncio
from datetime import UTC, datetime

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
from domain.rate_limit import UNLIMITED, AccountLimits, Cap, Layer, Lease, LimitPolicy, MessageType, Window, windows
from tests.adapters.limits import (
    LEASE_MS,
    Clock,
    StoredSlots,
    denial,
    of_account,
    of_recipient,
    of_type,
    pacing,
    send,
    take,
)
from tests.domain.builders import an_account

pytestmark = pytest.mark.usefixtures("other_times")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slots() -> StoredSlots:
    return StoredSlots()


@pytest.fixture
def limiter(redis: Redis, slots: StoredSlots, clock: Clock) -> RedisLimiter:
    """A limiter that goes by the test's clock."""
    return RedisLimiter(redis, slots, clock_us=clock)


@pytest.fixture
def account() -> str:
    return an_account()


class TestReserve:
    async def test_a_limit_of_one_grants_exactly_one(self, limiter: RedisLimiter, account: str) -> None:
        answers = [await limiter.reserve(account, [of_account(1, 60)], lease_ms=LEASE_MS) for _ in range(3)]
        assert [answer.granted for answer in answers] == [True, False, False]

    async def test_a_grant_says_how_many_are_left_in_the_fullest_window_of_each_layer(
        self, limiter: RedisLimiter, account: str
    ) -> None:
        asked = [of_account(9, 60), of_account(4, 3_600), of_type(3, 60), of_recipient(5, 60)]
        answers = [await limiter.reserve(account, asked, lease_ms=LEASE_MS) for _ in range(2)]
        assert [answer.remaining for answer in answers] == [
            {Layer.ACCOUNT: 3, Layer.MESSAGE_TYPE: 2, Layer.RECIPIENT: 4},
            {Layer.ACCOUNT: 2, Layer.MESSAGE_TYPE: 1, Layer.RECIPIENT: 3},
        ]
        assert [(answer.retry_after_ms, answer.binding_layer) for answer in answers] == [(0, None)] * 2

    async def test_the_lease_names_its_logs_and_its_end(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        lease = await take(limiter, account, of_account(9, 60), of_type(3, 60), of_recipient(5, 60))
        assert lease.subjects == ("account", "type:custom", "recipient:7")
        assert lease.expires_at_us == clock.now_us + LEASE_MS * 1_000

    async def test_a_denial_says_how_many_are_left_and_charges_nothing(
        self, redis: Redis, limiter: RedisLimiter, account: str
    ) -> None:
        asked = [of_account(3, 60), of_type(1, 1), of_recipient(2, 60)]
        await send(limiter, account, *asked)
        before = await memory(redis, account)
        for _ in range(5):
            answer = await denial(limiter, account, *asked)
            assert answer.remaining == {Layer.ACCOUNT: 2, Layer.MESSAGE_TYPE: 0, Layer.RECIPIENT: 1}
        assert await memory(redis, account) == before

    async def test_accounts_recipients_and_types_do_not_share_their_limits(self, limiter: RedisLimiter) -> None:
        one, other = an_account(), an_account()
        for account in (one, other):
            await take(limiter, account, of_account(1, 60))
        for recipient in ("7", "8"):
            await take(limiter, one, of_recipient(1, 60, recipient))
        for message_type in (MessageType.CUSTOM, MessageType.WELCOME):
            await take(limiter, one, of_type(1, 60, message_type))

    @pytest.mark.parametrize("limit", [1, 2, 5])
    async def test_the_wait_is_exact(self, limiter: RedisLimiter, account: str, clock: Clock, limit: int) -> None:
        only = of_account(limit, 60)
        for _ in range(limit):
            await send(limiter, account, only)
            clock.advance(137)
        wait_ms = (await denial(limiter, account, only)).retry_after_ms
        assert wait_ms is not None
        clock.now_us += wait_ms * 1_000 - 1
        assert (await denial(limiter, account, only)).retry_after_ms == 1
        clock.now_us += 1
        await take(limiter, account, only)

    async def test_a_wait_of_a_fraction_of_a_millisecond_is_rounded_up(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await send(limiter, account, of_account(1, 1))
        clock.now_us += 400
        assert (await denial(limiter, account, of_account(1, 1))).retry_after_ms == 1_000

    async def test_an_open_lease_counts_from_its_end(self, limiter: RedisLimiter, account: str, clock: Clock) -> None:
        await take(limiter, account, of_account(1, 10))
        assert (await denial(limiter, account, of_account(1, 10))).retry_after_ms == 10_000 + LEASE_MS
        clock.now_us += (10_000 + LEASE_MS) * 1_000 - 1
        await denial(limiter, account, of_account(1, 10))
        clock.now_us += 1
        await take(limiter, account, of_account(1, 10))

    async def test_zero_means_nothing_ever(self, limiter: RedisLimiter, account: str, clock: Clock) -> None:
        answer = await denial(limiter, account, of_account(0, 60), of_type(5, 60))
        assert (answer.retry_after_ms, answer.binding_layer, answer.window_seconds) == (None, Layer.ACCOUNT, 60)
        clock.advance(60_000)
        await denial(limiter, account, of_account(0, 60), of_type(5, 60))

    async def test_without_a_limit_anything_goes(self, limiter: RedisLimiter, account: str) -> None:
        free = LimitPolicy(ceiling=Cap(limit=None, seconds=60), recipient=(), system=())
        own = AccountLimits(
            account_id=account, account=(), message_types={MessageType.CUSTOM: (Cap(limit=None, seconds=60),)}
        )
        asked = windows(free, own, datetime.now(UTC), message_type=MessageType.CUSTOM, recipient_id="7")
        assert {window.limit for window in asked} == {UNLIMITED}
        leases = [await take(limiter, account, *asked) for _ in range(30)]
        assert await limiter.intact(leases) == {lease.lease_id for lease in leases}

    @pytest.mark.parametrize("layer", ["account", "message_types", "recipient", "system"])
    async def test_one_that_is_lifted_and_put_back_knows_what_was_sent_meanwhile(
        self, limiter: RedisLimiter, account: str, layer: str
    ) -> None:
        two, none = (Cap(limit=2, seconds=60),), (Cap(limit=None, seconds=60),)
        free = LimitPolicy(ceiling=none[0], recipient=none, system=none)
        unlimited = AccountLimits(account_id=account, account=none, message_types={MessageType.CUSTOM: none})

        def asked(caps: tuple[Cap, ...]) -> tuple[Window, ...]:
            value = {MessageType.CUSTOM: caps} if layer == "message_types" else caps
            policy = free.model_copy(update={layer: value} if layer == "system" else {})
            own = unlimited.model_copy(update={} if layer == "system" else {layer: value})
            return windows(policy, own, datetime.now(UTC), message_type=MessageType.CUSTOM, recipient_id="7")

        if layer != "system":
            await send(limiter, account, *asked(two))
        for _ in range(3):
            await send(limiter, account, *asked(none))
        assert (await denial(limiter, account, *asked(two))).window_seconds == 60

    @pytest.mark.parametrize("binding", [of_account(1, 40), pacing(40), of_type(1, 40), of_recipient(1, 40)])
    async def test_the_window_that_binds_longest_is_named(
        self, limiter: RedisLimiter, account: str, binding: Window
    ) -> None:
        asked = [of_account(1, 20), binding, of_type(1, 30), of_recipient(9, 60)]
        await send(limiter, account, *asked)
        answer = await denial(limiter, account, *asked)
        assert (answer.binding_layer, answer.window_seconds, answer.retry_after_ms) == (binding.layer, 40, 40_000)

    async def test_a_wait_ends_when_the_last_of_several_full_windows_admits_one_more(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        asked = [of_account(2, 60), of_type(1, 10), of_recipient(1, 20)]
        await send(limiter, account, *asked)
        assert (await denial(limiter, account, *asked)).retry_after_ms == 20_000
        clock.advance(20_000)
        await send(limiter, account, *asked)
        answer = await denial(limiter, account, *asked)
        assert (answer.binding_layer, answer.retry_after_ms) == (Layer.ACCOUNT, 40_000)

    @pytest.mark.parametrize("seconds", [1.001, 2.003, 0.0005, 0.1 * 3])
    async def test_a_window_of_a_fraction_is_exact_to_the_microsecond(
        self, limiter: RedisLimiter, account: str, clock: Clock, seconds: float
    ) -> None:
        await send(limiter, account, of_account(1, seconds))
        clock.now_us += round(seconds * 1_000_000) - 1
        await denial(limiter, account, of_account(1, seconds))
        clock.now_us += 1
        await take(limiter, account, of_account(1, seconds))

    async def test_a_hundred_at_once_against_a_limit_of_five_are_five(
        self, redis: Redis, slots: StoredSlots, account: str
    ) -> None:
        limiter = RedisLimiter(redis, slots)
        answers = await asyncio.gather(
            *(limiter.reserve(account, [of_account(5, 60)], lease_ms=LEASE_MS) for _ in range(100))
        )
        assert len({answer.lease.lease_id for answer in answers if answer.lease}) == 5
        assert sum(answer.granted for answer in answers) == 5
        assert len(slots.reads) == 1

    async def test_by_redis_own_clock_a_denial_names_a_wait_within_window_and_lease(
        self, redis: Redis, slots: StoredSlots, account: str
    ) -> None:
        limiter = RedisLimiter(redis, slots)
        await take(limiter, account, of_account(1, 60))
        wait_ms = (await denial(limiter, account, of_account(1, 60))).retry_after_ms
        assert wait_ms is not None
        assert 0 < wait_ms <= 60_000 + LEASE_MS

    @given(
        limits=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 90)), min_size=1, max_size=4),
        gaps_ms=st.lists(st.integers(0, 30_000), min_size=3, max_size=12),
        denials=st.integers(1, 5),
    )
    @hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_no_number_of_denials_moves_the_moment_that_can_succeed(
        self, redis: Redis, limits: list[tuple[int, int]], gaps_ms: list[int], denials: int
    ) -> None:
        clock, account = Clock(), an_account()
        limiter = RedisLimiter(redis, StoredSlots(), clock_us=clock)
        asked = [of_account(limit, seconds) for limit, seconds in limits]
        for gap_ms in gaps_ms:
            answer = await limiter.reserve(account, asked, lease_ms=LEASE_MS)
            if answer.lease is None:
                moments = {clock.now_us // 1_000 + (answer.retry_after_ms or 0)}
                for _ in range(denials):
                    clock.advance(1)
                    again = await limiter.check(account, asked)
                    if again.would_grant:
                        break
                    moments.add(clock.now_us // 1_000 + (again.retry_after_ms or 0))
                    assert not (await limiter.reserve(account, asked, lease_ms=LEASE_MS)).granted
                assert len(moments) == 1
            clock.advance(gap_ms)


class TestChangedLimits:
    async def test_a_raised_limit_admits_at_once(self, limiter: RedisLimiter, account: str) -> None:
        await send(limiter, account, of_account(1, 60))
        await denial(limiter, account, of_account(1, 60))
        await send(limiter, account, of_account(2, 60))
        await denial(limiter, account, of_account(2, 60))

    async def test_a_lowered_limit_waits_until_enough_has_left_the_window(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        for _ in range(3):
            await send(limiter, account, of_account(3, 60))
            clock.advance(10_000)
        # Sent 30, 20 and 10 s ago: only one may be left for another one to go.
        assert (await denial(limiter, account, of_account(2, 60))).retry_after_ms == 40_000
        assert (await denial(limiter, account, of_account(1, 60))).retry_after_ms == 50_000

    async def test_a_longer_window_counts_what_was_sent_before_it_was_set(
        self, limiter: RedisLimiter, slots: StoredSlots, account: str, clock: Clock
    ) -> None:
        for _ in range(4):
            slots.store(await send(limiter, account, of_account(2, 10)))
            clock.advance(10_000)
        answer = await denial(limiter, account, of_account(2, 10), of_account(4, 3_600))
        assert answer.window_seconds == 3_600
        await take(limiter, account, of_account(2, 10), of_account(5, 3_600))

    async def test_a_window_that_was_not_logged_is_rebuilt_once(
        self, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        asked = {
            "short": [of_account(9, 60), of_recipient(9, 60)],
            "long": [of_account(9, 60), of_account(9, 3_600), of_recipient(9, 60, "8")],
            "other type": [of_account(9, 60), of_type(9, 60, MessageType.WELCOME), of_recipient(9, 60, "9")],
        }
        reads = {}
        for name in [*asked, *asked]:
            await take(limiter, account, *asked[name])
            reads[name] = len(slots.reads)
        assert reads == {"short": 3, "long": 3, "other type": 3}

    async def test_a_layer_that_had_no_limit_counts_what_was_sent_before(
        self, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        for recipient in ("7", "7", "8"):
            slots.store(await send(limiter, account, of_account(9, 60)), recipient_id=recipient)
        await denial(limiter, account, of_account(9, 60), of_recipient(2, 60, "7"))
        await take(limiter, account, of_account(9, 60), of_recipient(2, 60, "8"))
        await denial(limiter, account, of_account(9, 60), of_recipient(2, 60, "8"))


class TestConfirm:
    async def test_the_slot_counts_from_the_moment_of_completion(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        lease = await take(limiter, account, of_account(1, 10), of_recipient(1, 20))
        clock.advance(120)
        await limiter.confirm(lease)
        assert (await denial(limiter, account, of_account(1, 10))).retry_after_ms == 10_000
        assert (await denial(limiter, account, of_recipient(1, 20))).retry_after_ms == 20_000

    async def test_a_call_that_outlived_its_lease_counts_from_its_completion(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        lease = await take(limiter, account, of_account(1, 10))
        clock.advance(LEASE_MS + 4_000)
        await limiter.confirm(lease)
        assert (await denial(limiter, account, of_account(1, 10))).retry_after_ms == 10_000

    async def test_repeating_it_takes_no_second_slot(self, limiter: RedisLimiter, account: str) -> None:
        lease = await take(limiter, account, of_account(2, 10))
        await limiter.confirm(lease)
        await limiter.confirm(lease)
        await take(limiter, account, of_account(2, 10))
        await denial(limiter, account, of_account(2, 10))

    async def test_a_lease_that_was_given_back_stays_given_back(self, limiter: RedisLimiter, account: str) -> None:
        lease = await take(limiter, account, of_account(1, 10))
        await limiter.release(lease)
        await limiter.confirm(lease)
        await take(limiter, account, of_account(1, 10))


class TestRelease:
    async def test_the_slot_is_free_again_at_once_in_every_window(self, limiter: RedisLimiter, account: str) -> None:
        asked = [of_account(1, 60), of_type(1, 60), of_recipient(1, 60)]
        await limiter.release(await take(limiter, account, *asked))
        await take(limiter, account, *asked)
        await denial(limiter, account, *asked)

    async def test_only_the_named_lease_is_given_back_once(self, limiter: RedisLimiter, account: str) -> None:
        lease = await take(limiter, account, of_account(2, 60))
        await take(limiter, account, of_account(2, 60))
        await limiter.release(lease)
        await limiter.release(lease)
        await take(limiter, account, of_account(2, 60))
        await denial(limiter, account, of_account(2, 60))

    async def test_an_account_that_was_emptied_by_it_is_not_taken_for_lost(
        self, limiter: RedisLimiter, slots: StoredSlots, account: str
    ) -> None:
        await limiter.release(await take(limiter, account, of_account(1, 60)))
        reads = len(slots.reads)
        await take(limiter, account, of_account(1, 60))
        assert len(slots.reads) == reads


class TestHold:
    async def test_nothing_is_granted_while_the_account_is_held(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await limiter.hold(account, 60_000, "throttled")
        answer = await denial(limiter, account, of_account(10, 60))
        assert (answer.binding_layer, answer.window_seconds, answer.retry_after_ms) == (Layer.PLATFORM, None, 60_000)
        clock.now_us += 60_000_000 - 1
        await denial(limiter, account, of_account(10, 60))
        clock.now_us += 1
        await take(limiter, account, of_account(10, 60))

    async def test_a_hold_also_binds_an_account_without_limits(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "session_expired")
        await denial(limiter, account)

    async def test_a_window_that_is_full_for_longer_binds(self, limiter: RedisLimiter, account: str) -> None:
        await send(limiter, account, of_account(1, 60))
        await limiter.hold(account, 59_999, "throttled")
        assert (await denial(limiter, account, of_account(1, 60))).binding_layer is Layer.ACCOUNT
        await limiter.hold(account, 60_001, "throttled")
        assert (await denial(limiter, account, of_account(1, 60))).binding_layer is Layer.PLATFORM

    async def test_a_shorter_one_changes_nothing(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "session expired")
        await limiter.hold(account, 1_000, "throttled")
        usage = await limiter.usage(account, [])
        assert (usage.held_ms, usage.held_reason) == (60_000, "session expired")

    async def test_others_go_on(self, limiter: RedisLimiter, account: str) -> None:
        await limiter.hold(account, 60_000, "throttled")
        await take(limiter, an_account(), of_account(1, 60))


class TestCheck:
    async def test_asking_takes_nothing_and_says_what_a_reservation_would(
        self, limiter: RedisLimiter, account: str
    ) -> None:
        asked = [of_account(2, 60), of_recipient(1, 60)]
        for _ in range(3):
            answer = await limiter.check(account, asked)
            assert (answer.would_grant, answer.granted, answer.retry_after_ms) == (True, False, 0)
            assert answer.remaining == {Layer.ACCOUNT: 1, Layer.RECIPIENT: 0}
        reserved = await limiter.reserve(account, asked, lease_ms=LEASE_MS)
        assert reserved.remaining == answer.remaining
        assert await limiter.check(account, asked) == await limiter.reserve(account, asked, lease_ms=LEASE_MS)


class TestUsage:
    async def test_it_tells_every_window_and_every_grant(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        asked = [of_account(2, 10), of_account(9, 60), of_type(0, 60), of_recipient(9, 60)]
        start = clock.now_us
        for _ in range(2):
            await send(limiter, account, of_account(2, 10), of_account(9, 60), of_recipient(9, 60))
            clock.advance(1_000)
        usage = await limiter.usage(account, asked)
        figures = [(each.layer, each.used, each.remaining, each.frees_in_ms) for each in usage.windows]
        assert figures == [
            (Layer.ACCOUNT, 2, 0, 8_000),
            (Layer.ACCOUNT, 2, 7, None),
            (Layer.MESSAGE_TYPE, 0, 0, None),
            (Layer.RECIPIENT, 2, 7, None),
        ]
        moments = (start, start + 1_000_000)
        assert usage.grants_us == {"account": moments, "type:custom": (), "recipient:7": moments}
        assert (usage.now_us, usage.held_ms) == (clock.now_us, 0)

    async def test_grants_that_no_window_counts_any_more_are_left_out(
        self, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        await send(limiter, account, of_account(5, 60))
        clock.advance(30_000)
        await send(limiter, account, of_account(5, 60))
        clock.advance(30_000)
        assert len((await limiter.usage(account, [of_account(5, 60)])).grants_us["account"]) == 1

    async def test_a_reservation_follows_what_it_tells(self, limiter: RedisLimiter, account: str) -> None:
        for _ in range(3):
            await send(limiter, account, of_account(3, 10), of_type(9, 60))
        usage = await limiter.usage(account, [of_account(3, 10), of_type(9, 60)])
        answer = await denial(limiter, account, of_account(3, 10), of_type(9, 60))
        assert usage.windows[0].frees_in_ms == answer.retry_after_ms


class TestKeys:
    async def test_every_key_of_an_account_lies_in_one_slot_of_a_cluster_and_expires(
        self, redis: Redis, limiter: RedisLimiter, account: str
    ) -> None:
        await take(limiter, account, of_account(1, 60), of_type(1, 60), of_recipient(1, 60))
        await limiter.hold(account, 1_000, "throttled")
        keys = [key async for key in redis.scan_iter(match=f"*{account}*")]
        assert len(keys) == 5
        for key in keys:
            assert f"{{{account}}}" in key
            assert 0 < await redis.pttl(key) <= 60_000 + LEASE_MS + 120_000

    async def test_a_log_that_counts_is_always_one_that_would_be_missed(
        self, redis: Redis, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        for _ in range(30):
            await send(limiter, account, of_account(9, 60), of_recipient(9, 30))
            for subject, span_us in (("account", 60_000_000), ("recipient:7", 30_000_000)):
                missed_until = await redis.zscore(f"rate:{{{account}}}:index", subject)
                assert missed_until is not None
                assert missed_until >= clock.now_us + span_us
            clock.advance(7_000)

    async def test_what_no_longer_counts_is_forgotten(
        self, redis: Redis, limiter: RedisLimiter, account: str, clock: Clock
    ) -> None:
        for number in range(1_000):
            await send(limiter, account, of_account(10, 10), of_recipient(5, 5, str(number)))
            clock.advance(1_000)
        # 10 count, and on average every sixteenth grant tidies up; what was promised stays for up to a minute.
        assert await redis.zcard(f"rate:{{{account}}}:account") < 200
        assert await redis.zcard(f"rate:{{{account}}}:index") < 300


class TestUnreachable:
    async def test_every_call_says_that_nothing_may_be_sent(self, settings: Settings, slots: StoredSlots) -> None:
        away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})
        lease = Lease(lease_id="1", account_id="acct_a", subjects=("account",), expires_at_us=1)
        async with open_redis(away) as nowhere:
            limiter = RedisLimiter(nowhere, slots)
            calls = [
                limiter.reserve("acct_a", [of_account(1, 60)], lease_ms=LEASE_MS),
                limiter.check("acct_a", [of_account(1, 60)]),
                limiter.usage("acct_a", [of_account(1, 60)]),
                limiter.intact([lease]),
                limiter.confirm(lease),
                limiter.release(lease),
                limiter.hold("acct_a", 1_000, "throttled"),
            ]
            for call in calls:
                with pytest.raises(DependencyUnavailable):
                    await call

    async def test_a_reachable_one_tells_its_version(self, redis: Redis) -> None:
        assert (await RedisDependency(redis).check())["version"].split(".")[0].isdecimal()


def log_of(account: str) -> str:
    return f"rate:{{{account}}}:account"


async def memory(redis: Redis, account: str) -> dict[str, object]:
    """Everything that is kept of an account."""
    keys = sorted([key async for key in redis.scan_iter(match=f"*{account}*")])
    return {key: await redis.zrange(key, 0, -1, withscores=True) for key in keys}
