"""Breakers in a real Redis: shared by workers, one probe for all of them, and a local one while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from adapters import breaker as breakers
from adapters.breaker import AWAY_MS, MEMORY_MS, RedisBreaker
from adapters.redis import RedisClient, open_redis
from adapters.settings import Settings
from domain import breaker as machine
from domain.breaker import Admission, BreakerPolicy, BreakerState, BreakerStatus, BreakerView
from local.redis import serving, serving_cluster
from tests.adapters.limits import at

POLICY = BreakerPolicy()
CLOSED, OPEN, HALF_OPEN = BreakerStatus.CLOSED, BreakerStatus.OPEN, BreakerStatus.HALF_OPEN


class Clock:
    """Milliseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, milliseconds: int) -> None:
        self.now_ms += milliseconds


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the configuration that it was first used under, of which there are several in a session."""
    monkeypatch.setattr(breakers, "log", structlog.get_logger())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target() -> str:
    """A model that no other test calls."""
    return f"azure/{uuid4().hex}"


@pytest.fixture
async def workers(settings: Settings, clock: Clock) -> AsyncIterator[list[RedisBreaker]]:
    """Two breakers with connections of their own, on the test's clock."""
    async with AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(open_redis(settings)) for _ in range(2)]
        yield [RedisBreaker(client, POLICY, clock_ms=clock) for client in clients]


async def fail(breaker: RedisBreaker, target: str, times: int = 5) -> None:
    """Calls that are admitted and fail."""
    for _ in range(times):
        admission = await breaker.admit(target)
        assert admission.allowed
        await breaker.failed(target, admission)


async def seen(breaker: RedisBreaker, target: str) -> BreakerView:
    [view] = await breaker.views([target])
    return view


class TestShared:
    async def test_what_one_worker_opens_is_open_for_the_other(
        self, workers: list[RedisBreaker], target: str, clock: Clock
    ) -> None:
        one, other = workers
        await fail(one, target, 3)
        await fail(other, target, 2)
        for each in workers:
            denied = await each.admit(target)
            assert (denied.allowed, denied.status, denied.retry_after_ms) == (False, OPEN, POLICY.open_ms)
        view = await seen(one, target)
        assert view == await seen(other, target)
        assert (view.status, view.failures, view.open_for_ms) == (OPEN, 5, POLICY.open_ms)
        assert (view.opened, view.closed, view.rejected, view.shared) == (1, 0, 2, True)

    async def test_targets_do_not_share_a_breaker(self, workers: list[RedisBreaker], target: str) -> None:
        await fail(workers[0], target)
        assert (await workers[0].admit(f"{target}-mini")).allowed

    async def test_namespaces_do_not_share_a_breaker(self, redis: RedisClient, target: str) -> None:
        one, other = (RedisBreaker(redis, POLICY, namespace=name) for name in ("one:", "other:"))
        await fail(one, target)
        assert ((await one.admit(target)).allowed, (await other.admit(target)).allowed) == (False, True)

    async def test_one_probe_among_fifty_callers(self, workers: list[RedisBreaker], target: str, clock: Clock) -> None:
        await fail(workers[0], target)
        clock.advance(POLICY.open_ms)
        answers = await asyncio.gather(*(workers[number % 2].admit(target) for number in range(50)))
        assert [answer.allowed for answer in answers].count(True) == 1
        [probe] = [answer for answer in answers if answer.probe]
        assert {answer.status for answer in answers} == {HALF_OPEN}
        await workers[0].succeeded(target, probe)
        assert all([(await each.admit(target)).status is CLOSED for each in workers])
        view = await seen(workers[1], target)
        assert (view.failures, view.opened, view.closed, view.rejected) == (0, 1, 1, 49)

    async def test_a_probe_that_fails_opens_again(self, workers: list[RedisBreaker], target: str, clock: Clock) -> None:
        await fail(workers[0], target)
        clock.advance(POLICY.open_ms)
        await workers[0].failed(target, await workers[0].admit(target))
        assert (await workers[1].admit(target)).status is OPEN
        clock.advance(POLICY.open_ms)
        assert (await workers[1].admit(target)).probe

    async def test_a_probe_that_nobody_hears_of_is_given_up(
        self, workers: list[RedisBreaker], target: str, clock: Clock
    ) -> None:
        await fail(workers[0], target)
        clock.advance(POLICY.open_ms)
        lost = await workers[0].admit(target)
        clock.advance(POLICY.probe_ms)
        second = await workers[1].admit(target)
        assert (lost.probe, second.probe) == (True, True)
        await workers[0].failed(target, lost)
        await workers[0].succeeded(target, lost)
        assert (await seen(workers[0], target)).status is HALF_OPEN
        await workers[1].succeeded(target, second)
        assert (await seen(workers[0], target)).status is CLOSED

    async def test_late_failures_change_nothing(self, workers: list[RedisBreaker], target: str, clock: Clock) -> None:
        early = [await workers[1].admit(target) for _ in range(6)]
        await fail(workers[0], target)
        clock.advance(POLICY.open_ms - 1)
        await workers[1].failed(target, early[0])
        assert (await workers[0].admit(target)).retry_after_ms == 1
        clock.advance(1)
        probe = await workers[0].admit(target)
        await workers[1].failed(target, early[1])
        assert (await seen(workers[0], target)).status is HALF_OPEN
        await workers[0].succeeded(target, probe)
        for admission in early[2:]:
            await workers[1].failed(target, admission)
        view = await seen(workers[0], target)
        assert (view.status, view.failures) == (CLOSED, 0)

    async def test_transitions_are_logged(self, workers: list[RedisBreaker], target: str, clock: Clock) -> None:
        with capture_logs() as logs:
            await fail(workers[0], target)
            await workers[0].admit(target)
            clock.advance(POLICY.open_ms)
            await workers[0].succeeded(target, await workers[0].admit(target))
        assert [(entry["event"], entry["target"]) for entry in logs] == [
            ("breaker_opened", target),
            ("breaker_half_open", target),
            ("breaker_closed", target),
        ]

    async def test_redis_keeps_the_time_unless_a_test_does(self, redis: RedisClient, target: str) -> None:
        breaker = RedisBreaker(redis, BreakerPolicy(open_ms=50))
        await fail(breaker, target)
        denied = await breaker.admit(target)
        assert not denied.allowed
        assert denied.retry_after_ms <= 50
        async with asyncio.timeout(20):
            while not (await breaker.admit(target)).probe:
                await asyncio.sleep(0.01)


class TestMemory:
    async def calls(self, redis: RedisClient) -> int:
        """Scripts that the server has run."""
        assert isinstance(redis, Redis)
        stats = await redis.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))

    @pytest.fixture
    async def own(self, tmp_path: Path) -> AsyncIterator[RedisClient]:
        """A server that counts this test's calls alone."""
        async with serving(tmp_path) as port, open_redis(at(port)) as client:
            yield client

    async def test_a_closed_breaker_is_asked_about_once_in_a_while(self, own: RedisClient, clock: Clock) -> None:
        breaker = RedisBreaker(own, POLICY, clock_ms=clock)
        await breaker.admit("openai/a")
        before = await self.calls(own)
        for admission in [await breaker.admit("openai/a") for _ in range(50)]:
            await breaker.succeeded("openai/a", admission)
        assert await self.calls(own) == before
        clock.advance(MEMORY_MS)
        await asyncio.gather(*(breaker.admit("openai/a") for _ in range(50)))
        assert await self.calls(own) == before + 1

    async def test_it_lasts_a_tenth_of_a_second(self, workers: list[RedisBreaker], target: str, clock: Clock) -> None:
        one, other = workers
        assert (await other.admit(target)).allowed
        await fail(one, target)
        clock.advance(MEMORY_MS - 1)
        assert (await other.admit(target)).allowed
        clock.advance(1)
        assert not (await other.admit(target)).allowed

    async def test_a_worker_remembers_what_it_opened_itself(self, workers: list[RedisBreaker], target: str) -> None:
        await fail(workers[0], target)
        assert not (await workers[0].admit(target)).allowed

    async def test_an_open_breaker_is_asked_about_every_time(self, own: RedisClient, clock: Clock) -> None:
        breaker = RedisBreaker(own, POLICY, clock_ms=clock)
        await fail(breaker, "openai/a")
        before = await self.calls(own)
        await asyncio.gather(*(breaker.admit("openai/a") for _ in range(20)))
        assert await self.calls(own) == before + 20


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "admit", "succeeded", "failed", "wait"]), st.integers(1, 12)), max_size=40
)


@given(STEPS)
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_scripts_are_the_state_machine(redis: RedisClient, steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order, Redis answers as ``domain.breaker`` does."""
    policy = BreakerPolicy(failures=3, window_ms=10 * MEMORY_MS, open_ms=5 * MEMORY_MS, probe_ms=8 * MEMORY_MS)
    clock, target, state = Clock(), f"azure/{uuid4().hex}", BreakerState()
    breaker = RedisBreaker(redis, policy, clock_ms=clock)
    under_way: list[Admission] = []
    for step, number in steps:
        if step == "wait":
            clock.advance(number * MEMORY_MS)
        elif step == "admit":
            state, expected = machine.admit(state, policy, clock())
            assert await breaker.admit(target) == expected
            under_way.append(expected)
        elif under_way:
            admission = under_way.pop(number % len(under_way))
            if step == "succeeded":
                state = machine.succeeded(state, admission)
                await breaker.succeeded(target, admission)
            else:
                state = machine.failed(state, policy, admission, clock())
                await breaker.failed(target, admission)
        assert await seen(breaker, target) == machine.view(target, state, policy, clock())


class TestRedisAway:
    async def test_a_local_breaker_takes_over_and_hands_back(self, tmp_path: Path, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            async with serving(tmp_path) as port:
                client = await stack.enter_async_context(open_redis(at(port)))
                breaker = RedisBreaker(client, POLICY, clock_ms=clock)
                early = await breaker.admit("openai/a")
            with capture_logs() as logs:
                clock.advance(MEMORY_MS)
                # What the shared breaker admitted counts here as well.
                await breaker.failed("openai/a", early)
                await fail(breaker, "openai/a", 4)
                denied = await breaker.admit("openai/a")
                assert (denied.allowed, denied.status, denied.shared) == (False, OPEN, False)
                view = await seen(breaker, "openai/a")
                assert (view.status, view.opened, view.rejected, view.shared) == (OPEN, 1, 1, False)
                clock.advance(POLICY.open_ms)
                probe = await breaker.admit("openai/a")
                assert (probe.probe, (await breaker.admit("openai/a")).allowed) == (True, False)
                await breaker.succeeded("openai/a", probe)
                late = await breaker.admit("openai/a")
                assert (late.status, late.shared) == (CLOSED, False)
            assert [entry["event"] for entry in logs] == [
                "breaker_local",
                "breaker_opened",
                "breaker_half_open",
                "breaker_closed",
            ]
            await stack.enter_async_context(serving(tmp_path, port=port))
            with capture_logs() as logs:
                async with asyncio.timeout(20):
                    while not (admission := await breaker.admit("openai/a")).shared:
                        clock.advance(AWAY_MS)
                        await asyncio.sleep(0.02)
            assert admission.allowed
            assert [entry["event"] for entry in logs] == ["breaker_shared"]
            # What the local breaker admitted counts in Redis.
            await breaker.failed("openai/a", late)
            assert (await seen(breaker, "openai/a")).failures == 1

    async def test_redis_is_left_alone_for_a_second(self, tmp_path: Path, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            async with serving(tmp_path) as port:
                client = await stack.enter_async_context(open_redis(at(port)))
                breaker = RedisBreaker(client, POLICY, clock_ms=clock)
            assert not (await breaker.admit("openai/a")).shared
            await stack.enter_async_context(serving(tmp_path, port=port))
            clock.advance(AWAY_MS - 1)
            for _ in range(5):
                assert not (await breaker.admit("openai/a")).shared
                await asyncio.sleep(0)
            clock.advance(1)
            async with asyncio.timeout(20):
                while not (await breaker.admit("openai/a")).shared:
                    await asyncio.sleep(0.02)

    async def test_only_the_first_caller_waits_for_a_redis_that_hangs(self, clock: Clock) -> None:
        """A server that was stopped in its tracks accepts connections and never answers."""
        accepted: list[asyncio.StreamWriter] = []

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Redis(host="127.0.0.1", port=port, socket_timeout=0.1, retry=Retry(NoBackoff(), 0)) as client:
            breaker = RedisBreaker(client, POLICY, clock_ms=clock)
            assert not (await breaker.admit("openai/a")).shared
            tried = len(accepted)
            clock.advance(AWAY_MS)
            for _ in range(3):
                # The first of these starts an attempt; none of them as much as yields to the event loop.
                with pytest.raises(StopIteration) as answered:
                    breaker.admit("openai/a").send(None)
                assert not answered.value.value.shared
            async with asyncio.timeout(20):
                while len(accepted) == tried:
                    await asyncio.sleep(0.01)
        server.close()
        for writer in accepted:
            writer.close()


async def test_on_a_cluster(tmp_path: Path, clock: Clock) -> None:
    async with serving_cluster(tmp_path) as started, open_redis(at(started[0], cluster=True)) as client:
        breaker = RedisBreaker(client, POLICY, clock_ms=clock)
        targets = [f"azure/{number}" for number in range(9)]
        for target in targets:
            await fail(breaker, target)
        clock.advance(POLICY.open_ms)
        for target in targets:
            probe = await breaker.admit(target)
            assert (probe.probe, probe.shared) == (True, True)
            await breaker.succeeded(target, probe)
        assert {view.status for view in await breaker.views(targets)} == {CLOSED}
