"""Budgets hold: all or nothing, under crashes, races and loss of memory; and nothing is denied without need."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from adapters.budget import READING_HOLDS_MS, RECORDED_AHEAD_MS, RedisBudgets
from adapters.redis import RedisClient, open_redis
from domain.budget import BudgetScope
from domain.errors import CostLimitExceeded, DependencyUnavailable
from local import ports
from local.redis import serving, serving_cluster
from tests.adapters.budgets import LEASE_MS, Books, left, may, of_campaign
from tests.adapters.limits import Clock, at, own_redis

ALL = {"campaign": "0.001", "user_day": "0.002", "user_month": "0.003", "global_day": "0.004", "global_month": "0.005"}


@pytest.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisClient]:
    """A server whose data a test may destroy."""
    async with own_redis(tmp_path_factory.mktemp("redis")) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
async def store(redis: RedisClient, books: Books, clock: Clock) -> RedisBudgets:
    await redis.flushall()
    return RedisBudgets(redis, books, clock_us=clock)


async def spend(store: RedisBudgets, books: Books, micros: int, actual: int | None = None) -> UUID:
    """Reserve, enter, commit."""
    operation, charged = uuid4(), of_campaign(caps=ALL)
    await store.reserve(operation, charged, micros)
    books.enter(operation, micros if actual is None else actual)
    await store.commit(operation, charged, micros if actual is None else actual)
    return operation


class TestReserve:
    async def test_money_is_aside_until_it_is_committed_or_given_back(self, store: RedisBudgets, books: Books) -> None:
        charged = of_campaign(max_cost=900, caps=ALL)
        first, second = uuid4(), uuid4()
        await store.reserve(first, charged, 300)
        await store.reserve(second, charged, 400)
        assert (await left(store, charged))[BudgetScope.REQUEST] == 200
        await store.refund(first, charged)
        books.enter(second, 250)
        await store.commit(second, charged, 250)
        assert await left(store, charged) == {
            "request": 650,
            "campaign": 750,
            "user_day": 1_750,
            "user_month": 2_750,
            "global_day": 3_750,
            "global_month": 4_750,
        }
        assert await may(store, uuid4(), charged, 650)
        assert not await may(store, uuid4(), charged, 1)

    @pytest.mark.parametrize(
        ("tight", "cap"),
        [
            ("campaign", "0.0001"),
            ("user_day", "0.0001"),
            ("user_month", "0.0001"),
            ("global_day", "0.0001"),
            ("global_month", "0"),
        ],
    )
    async def test_the_budget_that_denies_is_named_and_nothing_is_taken(
        self, store: RedisBudgets, tight: str, cap: str
    ) -> None:
        charged = of_campaign(caps=ALL | {tight: cap})
        with pytest.raises(CostLimitExceeded) as refused:
            await store.reserve(uuid4(), charged, 101)
        assert refused.value.scope == tight
        assert refused.value.remaining_micros == round(float(cap) * 1_000_000)
        assert all(standing.reserved_micros == 0 for standing in await store.standings(charged))

    async def test_a_cap_can_be_used_to_the_last_micro_dollar(self, store: RedisBudgets) -> None:
        charged = of_campaign(max_cost=100)
        assert await may(store, uuid4(), charged, 100)
        assert await may(store, uuid4(), charged, 0)
        assert not await may(store, uuid4(), charged, 1)

    async def test_repeating_anything_changes_nothing(self, store: RedisBudgets, books: Books) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        for _ in range(3):
            await store.reserve(operation, charged, 60)
        assert (await left(store, charged))["request"] == 40
        reads = books.reads
        books.enter(operation, 50)
        for _ in range(3):
            await store.commit(operation, charged, 50)
            await store.refund(operation, charged)
        await store.reserve(operation, charged, 60)
        await store.commit(operation, charged, 50)
        assert await may(store, uuid4(), charged, 50)
        assert not await may(store, uuid4(), charged, 1)
        # Nothing of this made it doubt what it knows.
        assert books.reads == reads

    async def test_more_than_was_set_aside_counts_in_full(self, store: RedisBudgets, books: Books) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 10)
        books.enter(operation, 90)
        await store.commit(operation, charged, 90)
        assert not await may(store, uuid4(), charged, 11)
        assert await may(store, uuid4(), charged, 10)

    async def test_campaigns_users_and_periods_have_money_of_their_own(self, store: RedisBudgets) -> None:
        assert await may(store, uuid4(), of_campaign("c-1", "luna", caps={"campaign": "1", "user_day": "2"}), 1_000_000)
        assert not await may(store, uuid4(), of_campaign("c-1", "luna", caps={"campaign": "1"}), 1)
        assert await may(store, uuid4(), of_campaign("c-2", "luna", caps={"campaign": "1", "user_day": "2"}), 1_000_000)
        assert not await may(store, uuid4(), of_campaign("c-3", "luna", caps={"user_day": "2"}), 1)
        assert await may(store, uuid4(), of_campaign("c-3", "nova", caps={"user_day": "2"}), 1)

    async def test_many_at_once_get_no_more_than_there_is(self, store: RedisBudgets) -> None:
        charged = of_campaign(max_cost=1_000)
        assert sum(await asyncio.gather(*(may(store, uuid4(), charged, 11) for _ in range(95)))) == 1_000 // 11


class TestCapThatAppears:
    async def test_what_was_spent_and_set_aside_before_counts(self, store: RedisBudgets, books: Books) -> None:
        free, capped = of_campaign(), of_campaign(max_cost=100)
        done, under_way = uuid4(), uuid4()
        for operation in (done, under_way):
            await store.reserve(operation, free, 40)
        books.enter(done, 40)
        await store.commit(done, free, 40)
        assert not await may(store, uuid4(), capped, 21)
        assert await may(store, uuid4(), capped, 20)
        books.enter(under_way, 40)
        await store.commit(under_way, free, 40)
        assert not await may(store, uuid4(), capped, 1)

    async def test_without_any_cap_the_ledger_is_not_read(self, store: RedisBudgets, books: Books) -> None:
        for _ in range(3):
            await store.reserve(uuid4(), of_campaign(), 1_000)
        assert books.reads == 0

    async def test_a_cap_that_was_lowered_denies_until_it_is_raised(self, store: RedisBudgets, books: Books) -> None:
        await spend(store, books, 500)
        assert not await may(store, uuid4(), of_campaign(max_cost=400), 1)
        assert await may(store, uuid4(), of_campaign(max_cost=501), 1)


class TestCrash:
    async def test_a_reservation_whose_owner_died_runs_out(self, store: RedisBudgets, clock: Clock) -> None:
        charged = of_campaign(max_cost=100)
        await store.reserve(uuid4(), charged, 100)
        clock.advance(LEASE_MS - 1)
        assert not await may(store, uuid4(), charged, 1)
        clock.advance(1)
        assert (await left(store, charged))["request"] == 100
        assert await may(store, uuid4(), charged, 100)

    async def test_an_entry_without_its_commit_is_found_when_the_lease_ends(
        self, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 100)
        books.enter(operation, 70)
        clock.advance(LEASE_MS)
        assert not await may(store, uuid4(), charged, 31)
        assert await may(store, uuid4(), charged, 30)

    async def test_a_late_commit_counts_once(self, store: RedisBudgets, books: Books, clock: Clock) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 60)
        clock.advance(LEASE_MS + 1)
        assert await may(store, uuid4(), charged, 20)
        assert not await may(store, uuid4(), charged, 81)
        books.enter(operation, 60)
        await store.commit(operation, charged, 60)
        assert not await may(store, uuid4(), charged, 21)
        assert await may(store, uuid4(), charged, 20)

    async def test_an_entry_that_nobody_committed_is_found_in_time(
        self, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged = of_campaign(max_cost=100)
        assert await may(store, uuid4(), charged, 1)
        books.enter(uuid4(), 80)
        clock.advance(READING_HOLDS_MS)
        assert not await may(store, uuid4(), charged, 21)


class TestReadingWhileOthersCommit:
    """The account is read because a lease has run out; what happens while the ledger answers must not be lost."""

    @pytest.fixture
    async def reading(self, store: RedisBudgets, books: Books, clock: Clock) -> tuple[UUID, "asyncio.Task[bool]"]:
        """An operation under way, and a caller who waits for the ledger."""
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(uuid4(), charged, 50)
        clock.advance(LEASE_MS / 2)
        await store.reserve(operation, charged, 40)
        clock.advance(LEASE_MS / 2)
        books.before_answer = asyncio.Event()
        books.reading.clear()
        waiting = asyncio.create_task(may(store, uuid4(), charged, 60))
        await books.reading.wait()
        return operation, waiting

    async def test_a_commit_that_the_reading_missed(
        self, store: RedisBudgets, books: Books, reading: tuple[UUID, "asyncio.Task[bool]"]
    ) -> None:
        operation, waiting = reading
        charged = of_campaign(max_cost=100)
        books.enter(operation, 40)
        await store.commit(operation, charged, 40)
        assert books.before_answer is not None
        books.before_answer.set()
        assert await waiting
        assert not await may(store, uuid4(), charged, 1)

    async def test_a_commit_after_a_reading_that_has_its_entry(
        self, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(uuid4(), charged, 10)
        clock.advance(LEASE_MS / 2)
        await store.reserve(operation, charged, 40)
        books.enter(operation, 40)
        clock.advance(LEASE_MS / 2)
        # Its entry and its reservation count both, until it is committed.
        assert not await may(store, uuid4(), charged, 60)
        await store.commit(operation, charged, 40)
        assert await may(store, uuid4(), charged, 60)
        assert not await may(store, uuid4(), charged, 1)

    async def test_an_account_that_was_evicted_meanwhile_is_read_once_more(
        self, redis: RedisClient, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 30)
        books.enter(operation, 30)
        await store.commit(operation, charged, 30)
        await store.reserve(uuid4(), charged, 50)
        clock.advance(LEASE_MS)
        books.before_answer = asyncio.Event()
        books.reading.clear()
        waiting = asyncio.create_task(may(store, uuid4(), charged, 71))
        await books.reading.wait()
        await redis.delete(f"budget:{{budget}}:{charged[0].account}")
        books.before_answer.set()
        assert not await waiting
        assert await may(store, uuid4(), charged, 70)

    async def test_memory_lost_meanwhile_makes_the_reading_void(
        self, redis: RedisClient, books: Books, reading: tuple[UUID, "asyncio.Task[bool]"]
    ) -> None:
        _, waiting = reading
        await redis.flushall()
        assert books.before_answer is not None
        books.before_answer.set()
        with pytest.raises(DependencyUnavailable):
            await waiting


class TestLossOfMemory:
    async def test_nothing_is_granted_against_a_cap_while_forgotten_calls_may_be_under_way(
        self, redis: RedisClient, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 80)
        await redis.flushall()
        with pytest.raises(DependencyUnavailable) as refused:
            await store.reserve(uuid4(), charged, 30)
        assert refused.value.retry_after_s == (LEASE_MS + RECORDED_AHEAD_MS) / 1_000
        await store.reserve(uuid4(), of_campaign(), 30)
        books.enter(operation, 80)
        clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
        assert not await may(store, uuid4(), charged, 21)
        assert await may(store, uuid4(), charged, 20)

    async def test_a_fresh_installation_waits_for_nothing(self, store: RedisBudgets) -> None:
        assert await may(store, uuid4(), of_campaign(max_cost=100), 100)

    async def test_nor_does_one_that_was_idle(self, redis: RedisClient, store: RedisBudgets, clock: Clock) -> None:
        charged = of_campaign(max_cost=100)
        await store.reserve(uuid4(), charged, 100)
        clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
        await redis.flushall()
        assert await may(store, uuid4(), charged, 100)

    async def test_the_commit_of_a_forgotten_reservation_counts_once(
        self, redis: RedisClient, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged, early, late = of_campaign(max_cost=100), uuid4(), uuid4()
        for operation in (early, late):
            await store.reserve(operation, charged, 30)
        await redis.flushall()
        books.enter(early, 30)
        await store.commit(early, charged, 30)
        clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
        assert await may(store, uuid4(), charged, 10)
        books.enter(late, 30)
        await store.commit(late, charged, 30)
        assert not await may(store, uuid4(), charged, 31)
        assert await may(store, uuid4(), charged, 30)

    async def test_the_horizon_goes_on_record_once_in_a_while(
        self, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        charged = of_campaign(max_cost=1_000)
        await store.reserve(uuid4(), charged, 1)
        first = books.recorded_until_us
        clock.advance(RECORDED_AHEAD_MS)
        await store.reserve(uuid4(), charged, 1)
        assert books.recorded_until_us == first
        clock.advance(1)
        await store.reserve(uuid4(), charged, 1)
        assert books.recorded_until_us > first

    async def test_another_server_process_with_the_same_data_is_not_believed(
        self, tmp_path_factory: pytest.TempPathFactory, books: Books, clock: Clock
    ) -> None:
        directory, port = tmp_path_factory.mktemp("restarted"), ports.choose(["redis"], {})["redis"]
        persisted = ("--appendonly", "yes", "--appendfsync", "always")
        charged = of_campaign(max_cost=100)
        async with own_redis(directory, *persisted, port=port) as client:
            first = RedisBudgets(client, books, clock_us=clock)
            operation = uuid4()
            await first.reserve(operation, charged, 40)
            books.enter(operation, 40)
            await first.commit(operation, charged, 40)
            # What another server has of it may lack the last changes.
            await client.hset(f"budget:{{budget}}:{charged[0].account}", "committed", 0)
        async with own_redis(directory, *persisted, port=port) as client:
            restarted = RedisBudgets(client, books, clock_us=clock)
            with pytest.raises(DependencyUnavailable):
                await restarted.reserve(uuid4(), charged, 1)
            clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
            assert not await may(restarted, uuid4(), charged, 61)
            assert await may(restarted, uuid4(), charged, 60)

    async def test_without_redis_nothing_is_spent_that_a_cap_concerns(
        self, tmp_path_factory: pytest.TempPathFactory, books: Books
    ) -> None:
        async with serving(tmp_path_factory.mktemp("gone")) as port:
            pass
        async with open_redis(at(port)) as client:
            alone = RedisBudgets(client, books)
            with pytest.raises(DependencyUnavailable):
                await alone.reserve(uuid4(), of_campaign(max_cost=100), 1)
            await alone.reserve(uuid4(), of_campaign(), 1)
            for end in (alone.commit(uuid4(), of_campaign(), 1), alone.refund(uuid4(), of_campaign())):
                with pytest.raises(DependencyUnavailable):
                    await end
            with pytest.raises(DependencyUnavailable):
                await alone.standings(of_campaign())


@pytest.fixture
async def four_clients(redis: RedisClient) -> AsyncIterator[list[RedisClient]]:
    """As four processes have them: each has connections of its own, and a limit to them."""
    port = int(str(redis.get_connection_kwargs()["port"]))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_redis(at(port))) for _ in range(4)]


@pytest.mark.parametrize("seed", range(4))
async def test_two_hundred_callers_at_the_brink_never_exceed_any_cap(
    redis: RedisClient, four_clients: list[RedisClient], books: Books, clock: Clock, seed: int
) -> None:
    """At 99 % of every cap, with deaths between all steps, repetitions, failures and flushes, on a clock that moves."""
    await redis.flushall()
    chance = random.Random(seed)
    cap = 1_000_000
    dollars = dict.fromkeys(ALL, "1")
    charged = of_campaign(max_cost=cap, caps=dollars)
    before = uuid4()
    books.enter(before, cap * 99 // 100)
    processes = [RedisBudgets(client, books, clock_us=clock) for client in four_clients]
    granted = 0
    aside: dict[UUID, int] = {}

    def spent() -> int:
        return sum(entry.cost_micros for entry in books.entries.values())

    async def call() -> None:
        nonlocal granted
        await asyncio.sleep(chance.random() / 20)
        process, operation, most = chance.choice(processes), uuid4(), chance.randint(50, 400)
        try:
            await process.reserve(operation, charged, most)
        except (CostLimitExceeded, DependencyUnavailable):
            return
        granted += 1
        aside[operation] = most
        assert spent() + sum(aside.values()) <= cap
        fate = chance.random()
        if fate < 0.15:
            return
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(chance.random() / 50)
        if fate < 0.3:
            del aside[operation]
            await process.refund(operation, charged)
            return
        actual = chance.randint(0, most)
        del aside[operation]
        books.enter(operation, actual)
        if fate < 0.45:
            return
        for _ in range(2 if fate < 0.6 else 1):
            await chance.choice(processes).commit(operation, charged, actual)

    async def disturb(flushes: bool) -> None:
        for _ in range(6):
            await asyncio.sleep(chance.random() / 40)
            if flushes and chance.random() < 0.5:
                await redis.flushall()
            for standing in await processes[0].standings(charged):
                assert standing.committed_micros <= spent()

    for flushes in (False, True, False):
        await asyncio.gather(*(call() for _ in range(200)), disturb(flushes))
        assert spent() <= cap
        # Whatever is left of the dead runs out, and then everything that is not spent can be had.
        clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
        aside.clear()
        assert {standing.reserved_micros for standing in await processes[0].standings(charged)} == {0}
        room = cap - spent()
        assert not await may(processes[1], uuid4(), charged, room + 1)
        probe = uuid4()
        assert await may(processes[2], probe, charged, room)
        await processes[3].refund(probe, charged)
    assert granted > 20


async def test_it_works_on_a_cluster(tmp_path_factory: pytest.TempPathFactory, books: Books, clock: Clock) -> None:
    async with (
        serving_cluster(tmp_path_factory.mktemp("cluster")) as started,
        open_redis(at(started[0], cluster=True)) as client,
    ):
        store = RedisBudgets(client, books, clock_us=clock)
        await spend(store, books, 300, 200)
        charged = of_campaign(caps=ALL)
        assert (await left(store, charged))["campaign"] == 800
        operation = uuid4()
        await store.reserve(operation, charged, 800)
        assert not await may(store, uuid4(), charged, 1)
        await store.refund(operation, charged)
        assert await may(store, uuid4(), charged, 800)
