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


class TestUnknownOutcome:
    """A call timed out: what it may have cost is held in the ledger, and committed here as if it were spent."""

    @pytest.fixture
    async def held(self, store: RedisBudgets, books: Books) -> UUID:
        charged, operation = of_campaign(max_cost=100), uuid4()
        await store.reserve(operation, charged, 60)
        books.keep(operation, 60)
        await store.commit(operation, charged, 60)
        return operation

    @pytest.mark.parametrize("waited_ms", [0, LEASE_MS, READING_HOLDS_MS, 2 * 3_600_000])
    async def test_its_money_is_granted_to_nobody_however_long_it_takes(
        self, store: RedisBudgets, clock: Clock, held: UUID, waited_ms: int
    ) -> None:
        charged = of_campaign(max_cost=100)
        clock.advance(waited_ms)
        assert not await may(store, uuid4(), charged, 41)
        (request, *_) = await store.standings(charged)
        assert (request.committed_micros, request.reserved_micros, request.remaining_micros) == (0, 60, 40)

    @pytest.mark.parametrize("waited_ms", [0, 2 * 3_600_000])
    async def test_an_answer_that_is_found_counts_at_its_price(
        self, store: RedisBudgets, books: Books, clock: Clock, held: UUID, waited_ms: int
    ) -> None:
        charged = of_campaign(max_cost=100)
        clock.advance(waited_ms)
        books.enter(held, 25)
        await store.commit(held, charged, 25)
        assert not await may(store, uuid4(), charged, 41)
        await books.release(books.held[held])
        await store.read_again(charged)
        assert not await may(store, uuid4(), charged, 76)
        assert await may(store, uuid4(), charged, 75)

    async def test_one_that_was_never_made_is_free_at_once(self, store: RedisBudgets, books: Books, held: UUID) -> None:
        charged = of_campaign(max_cost=100)
        await books.release(books.held[held])
        await store.read_again(charged)
        assert await may(store, uuid4(), charged, 100)

    async def test_a_reading_that_was_under_way_meanwhile_is_void(
        self, store: RedisBudgets, books: Books, clock: Clock, held: UUID
    ) -> None:
        charged = of_campaign(max_cost=100)
        clock.advance(READING_HOLDS_MS)
        books.before_answer = asyncio.Event()
        books.reading.clear()
        waiting = asyncio.create_task(may(store, uuid4(), charged, 100))
        await books.reading.wait()
        await books.release(books.held[held])
        await store.read_again(charged)
        books.before_answer.set()
        assert await waiting


class TestWithoutCaps:
    async def test_reservations_of_the_dead_do_not_pile_up(
        self, redis: RedisClient, store: RedisBudgets, clock: Clock
    ) -> None:
        free = of_campaign()
        for _ in range(50):
            await store.reserve(uuid4(), free, 1)
            clock.advance(LEASE_MS / 5)
        key = f"budget:{{budget}}:{free[0].account}"
        fields = [field for field in await redis.hkeys(key) if str(field).startswith("@")]
        assert len(fields) <= 10
        assert {each.reserved_micros for each in await store.standings(free)} == {4}

    async def test_what_is_dropped_counts_all_the_same_when_a_cap_appears(
        self, store: RedisBudgets, books: Books, clock: Clock
    ) -> None:
        free, capped = of_campaign(), of_campaign(max_cost=100)
        dead, late = uuid4(), uuid4()
        assert await may(store, uuid4(), capped, 10)
        for operation in (dead, late):
            await store.reserve(operation, free, 30)
        books.enter(dead, 30)
        clock.advance(LEASE_MS)
        # This drops them, and the second one, which was only slow, is reserved anew by its repetition.
        await store.reserve(late, free, 30)
        assert not await may(store, uuid4(), capped, 41)
        books.enter(late, 30)
        await store.commit(late, free, 30)
        assert not await may(store, uuid4(), capped, 41)
        assert await may(store, uuid4(), capped, 40)


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


CAP = 1_000_000


class Brink:
    """Callers at 99 % of every cap, with deaths between all steps, repetitions, failures and calls in doubt."""

    def __init__(self, processes: list[RedisBudgets], books: Books, chance: random.Random) -> None:
        self.processes = processes
        self.books = books
        self.chance = chance
        self.charged = of_campaign(max_cost=CAP, caps=dict.fromkeys(ALL, "1"))
        self.aside: dict[UUID, int] = {}
        self.granted = 0
        books.enter(uuid4(), CAP * 99 // 100)

    def spent(self) -> int:
        return sum(entry.cost_micros for entry in self.books.entries.values())

    async def call(self) -> None:
        """Reserve, and whatever fate has in store for the call."""
        chance = self.chance
        await asyncio.sleep(chance.random() / 20)
        process, operation, most = chance.choice(self.processes), uuid4(), chance.randint(50, 400)
        try:
            await process.reserve(operation, self.charged, most)
        except (CostLimitExceeded, DependencyUnavailable):
            return
        self.granted += 1
        self.aside[operation] = most
        assert self.spent() + sum(self.aside.values()) <= CAP
        fate = chance.random()
        if fate < 0.1:
            return
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(chance.random() / 50)
        if fate < 0.2:
            self.books.keep(operation, most)
            await process.commit(operation, self.charged, most)
            if fate < 0.15:
                await self.settle(operation)
        elif fate < 0.3:
            del self.aside[operation]
            await process.refund(operation, self.charged)
        else:
            await self.end(process, operation, chance.randint(0, most), commits=int((fate > 0.45) + (fate > 0.6)))

    async def end(self, process: RedisBudgets, operation: UUID, actual: int, *, commits: int) -> None:
        """Its entry, and its commit: forgotten, made or repeated."""
        self.aside.pop(operation, None)
        self.books.enter(operation, actual)
        for _ in range(commits):
            await process.commit(operation, self.charged, actual)
            process = self.chance.choice(self.processes)

    async def settle(self, operation: UUID) -> None:
        """Whether a call in doubt was billed is known now."""
        process, hold = self.chance.choice(self.processes), self.books.held[operation]
        if self.chance.random() < 0.5:
            await self.end(process, operation, self.chance.randint(0, hold.micros), commits=1)
        self.aside.pop(operation, None)
        await self.books.release(hold)
        await process.read_again(self.charged)

    async def disturb(self, redis: RedisClient, *, flushes: bool) -> None:
        """Looks on, and now and then makes Redis forget everything."""
        for _ in range(6):
            await asyncio.sleep(self.chance.random() / 40)
            if flushes and self.chance.random() < 0.5:
                await redis.flushall()
            for standing in await self.processes[0].standings(self.charged):
                assert standing.committed_micros <= self.spent()


@pytest.mark.parametrize("seed", range(4))
async def test_two_hundred_callers_at_the_brink_never_exceed_any_cap(
    redis: RedisClient, four_clients: list[RedisClient], books: Books, clock: Clock, seed: int
) -> None:
    await redis.flushall()
    first, second, third, fourth = processes = [RedisBudgets(client, books, clock_us=clock) for client in four_clients]
    brink = Brink(processes, books, random.Random(seed))
    for flushes in (False, True, False):
        await asyncio.gather(*(brink.call() for _ in range(200)), brink.disturb(redis, flushes=flushes))
        assert brink.spent() <= CAP
        # Whatever is left of the dead runs out. What is held for calls in doubt does not, before it is settled.
        clock.advance(LEASE_MS + RECORDED_AHEAD_MS)
        held = sum(hold.micros for hold in books.held.values())
        assert {standing.reserved_micros for standing in await first.standings(brink.charged)} == {held}
        assert not await may(second, uuid4(), brink.charged, CAP - brink.spent() - held + 1)
        for operation in list(books.held):
            await brink.settle(operation)
        brink.aside.clear()
        # Then everything that is not spent can be had.
        room = CAP - brink.spent()
        assert not await may(second, uuid4(), brink.charged, room + 1)
        probe = uuid4()
        assert await may(third, probe, brink.charged, room)
        await fourth.refund(probe, brink.charged)
    assert brink.granted > 20


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
