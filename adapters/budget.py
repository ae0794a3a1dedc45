"""Budgets in Redis: Lua sets money aside in all of them at once, on Redis's clock. The ledger is the truth.

An entry is in the ledger before ``commit`` is called. So what Redis has forgotten can be read again, and never less is
counted than the ledger has. What Redis may count twice (a call whose entry was just read, and is committed then; a
reservation whose owner died) is read again from the ledger before anything is denied for it.

What a call of unknown outcome may have cost is held in the ledger, and counts here as if it had been spent.

Reservations are known to Redis alone. How long the last of them can live is on record beside the ledger, so that when
memory was lost nothing is granted against a cap until all that were forgotten have run out, a minute or so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from struct import pack
from typing import Protocol
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisClusterException, RedisError

from adapters.auto_pipeline import AutoPipeline
from adapters.redis import RedisClient, Script
from domain.budget import LEASE_MS, Budget, BudgetScope, BudgetStanding, denial
from domain.cost import CostTotals
from domain.errors import DependencyUnavailable
from domain.ports import CostStore

log = structlog.get_logger(__name__)

_GRANTED, _DENIED, _UNREAD, _UNBEGUN, _UNRECORDED, _QUIET = 1, 0, 2, 3, 4, 5

READING_HOLDS_MS = 5 * 60_000
"""Sums are read from the ledger again when they are older: for corrections that nobody committed."""

RECORDED_AHEAD_MS = 15_000
"""The horizon goes on record that much later than needed: one write in so many ms, and a longer wait after a loss."""

_ATTEMPTS = 12
_READINGS = 3
"""So often a call reads the ledger before it takes a denial for true: others may commit faster than it reads."""

_NAMESPACE = "budget:{budget}"


class Ledger(CostStore, Protocol):
    """The cost store, and how long reservations can live."""

    async def horizon_us(self) -> int:
        """The moment until which reservations may exist, in µs on Redis's clock; 0: there were none."""
        ...

    async def extend_horizon(self, until_us: int) -> None:
        """Never shortens it."""
        ...


class RedisBudgets:
    """``domain.ports.Budgets`` on a Redis server or a Redis Cluster, where all keys share one slot.

    While Redis can't be reached, calls that no cap concerns are granted; every other one raises
    ``DependencyUnavailable``. ``clock_us``: a clock in µs instead of Redis's own, for tests only.
    """

    def __init__(
        self,
        redis: RedisClient,
        ledger: Ledger,
        *,
        lease_ms: int = LEASE_MS,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._ledger = ledger
        self._lease_us = lease_ms * 1000
        self._clock_us = clock_us
        pipeline = AutoPipeline(redis) if isinstance(redis, Redis) else None
        self._reserve = Script(redis, "budget", "budget_reserve", pipeline=pipeline)
        self._settle = Script(redis, "budget", "budget_settle", pipeline=pipeline)
        self._begin = Script(redis, "budget", "budget_begin")
        self._read = Script(redis, "budget", "budget_read")
        self._reserved = Script(redis, "budget", "budget_reserved")
        self._horizon_us = 0
        self._running: dict[str, asyncio.Future[None]] = {}

    async def reserve(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """Money aside in all budgets or in none, for a lease. Repeating it changes nothing."""
        capped = any(budget.cap_micros is not None for budget in budgets)
        try:
            with _reachable():
                await self._reserve_in_all(str(operation_id), budgets, micros)
        except DependencyUnavailable as error:
            if capped or not isinstance(error.__cause__, RedisError | RedisClusterException):
                raise
            log.warning("budgets_unreachable", operation=str(operation_id))

    async def commit(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """The real cost, in full even if it is more than was set aside. The ledger has it already: booked, or held.

        The entry's ``at`` has to lie in the periods of ``budgets``.
        """
        with _reachable():
            await self._end(operation_id, budgets, micros)

    async def refund(self, operation_id: UUID, budgets: Sequence[Budget]) -> None:
        """Nothing was billed: the money is free again."""
        with _reachable():
            await self._end(operation_id, budgets, "")

    async def read_again(self, budgets: Sequence[Budget]) -> None:
        """The ledger was corrected downwards: its sums are read before anything more is granted or denied.

        Without its name an account also refuses what a reading that is under way brings.
        """
        accounts = dict.fromkeys(budget.account for budget in budgets)
        with _reachable():
            for account in accounts:
                await self._redis.hdel(_key(account), "life", "opened")

    async def standings(self, budgets: Sequence[Budget]) -> Sequence[BudgetStanding]:
        """What the ledger has booked, and what is set aside or held; a call that ends in between counts in both."""
        by_account = {budget.account: budget for budget in budgets}
        with _reachable():
            told: list[int] = await self._reserved([_key(account) for account in by_account], [self._now()])
        reserved = dict(zip(by_account, told, strict=True))
        sums = await asyncio.gather(*map(self._totals, by_account.values()))
        totals = dict(zip(by_account, sums, strict=True))
        return [
            BudgetStanding(
                budget=budget,
                committed_micros=totals[budget.account].cost_micros,
                reserved_micros=reserved[budget.account] + totals[budget.account].held_micros,
            )
            for budget in budgets
        ]

    async def _reserve_in_all(self, operation: str, budgets: Sequence[Budget], micros: int) -> None:
        charged = [budget.account for budget in budgets]
        accounts = dict(zip(charged, budgets, strict=True))
        keys = [_key("life"), _mark(operation), *map(_key, accounts)]
        numbers = {account: number for number, account in enumerate(accounts, 3)}
        caps: list[int] = []
        for account, budget in zip(charged, budgets, strict=True):
            caps += (numbers[account], -1 if budget.cap_micros is None else budget.cap_micros)
        readings = 0
        for _ in range(_ATTEMPTS):
            final = int(readings >= _READINGS)
            plan = (self._lease_us, micros, self._horizon_us, READING_HOLDS_MS * 1000, final, *caps)
            # Doubles are what Lua's numbers are: exact for whole numbers up to 2 ** 53.
            packed = pack(f"<{len(plan)}d", *plan)
            match await self._reserve(keys, [self._now(), operation, packed]):
                case [code] if code == _GRANTED:
                    return
                case [code, number, remaining] if code == _DENIED:
                    raise denial(budgets[number - 1], remaining_micros=remaining, needed_micros=micros)
                case [code, read_at, life, *unread] if code == _UNREAD:
                    readings += 1
                    read = list(accounts.values())
                    await asyncio.gather(
                        *(self._read_again(read[claim[0] - 3], read_at, life, *claim[1:]) for claim in unread)
                    )
                case [code, life] if code == _UNBEGUN:
                    await self._once(life, partial(self._begin_life, life))
                case [code, until] if code == _UNRECORDED:
                    await self._once("horizon", partial(self._record, until))
                case [code, wait_us] if code == _QUIET:
                    raise DependencyUnavailable(
                        "Redis has lost the reservations of calls that may still be on their way",
                        retry_after_s=wait_us / 1_000_000,
                    )
        raise DependencyUnavailable("Redis loses its memory faster than the budgets can be read again")

    async def _end(self, operation_id: UUID, budgets: Sequence[Budget], micros: int | str) -> None:
        operation = str(operation_id)
        accounts = dict.fromkeys(budget.account for budget in budgets)
        await self._settle([_mark(operation), *map(_key, accounts)], [self._now(), operation, micros])

    async def _read_again(self, budget: Budget, asked: int, life: str, opened: str, booked: int) -> None:
        async def read() -> None:
            totals = await self._totals(budget)
            committed = totals.cost_micros + totals.held_micros
            keys = [_key("life"), _key(budget.account)]
            await self._read(keys, [self._now(), life, asked, opened, booked, committed])

        await self._once(budget.account, read)

    async def _begin_life(self, life: str) -> None:
        horizon_us = await self._ledger.horizon_us()
        await self._begin([_key("life")], [self._now(), life, horizon_us])
        log.info("budgets_begin", horizon_us=horizon_us)

    async def _record(self, until_us: int) -> None:
        horizon_us = until_us + RECORDED_AHEAD_MS * 1000
        await self._ledger.extend_horizon(horizon_us)
        self._horizon_us = max(self._horizon_us, horizon_us)

    async def _once(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, or wait until another call of this process, which asked before, has done it. Then ask Redis again."""
        running = self._running.get(name)
        if running is None:
            running = asyncio.ensure_future(work())
            self._running[name] = running
            running.add_done_callback(lambda _: self._running.pop(name))
        await asyncio.shield(running)

    async def _totals(self, budget: Budget) -> CostTotals:
        """What the ledger has of the budget's account."""
        match budget.scope:
            case BudgetScope.REQUEST | BudgetScope.CAMPAIGN:
                return await self._ledger.campaign_totals(budget.subject)
            case BudgetScope.USER_DAY | BudgetScope.USER_MONTH:
                days = await self._ledger.user_totals(budget.subject, *budget.days)
            case BudgetScope.GLOBAL_DAY | BudgetScope.GLOBAL_MONTH:
                days = await self._ledger.global_totals(*budget.days)
        return sum(days.values(), CostTotals())

    def _now(self) -> int | str:
        return self._clock_us() if self._clock_us is not None else ""


def _key(account: str) -> str:
    return f"{_NAMESPACE}:{account}"


def _mark(operation: str) -> str:
    """Says that the operation was committed; for an hour."""
    return f"{_NAMESPACE}:done:{operation}"


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisClusterException) as error:
        raise DependencyUnavailable("the budgets can't be reached, so nothing may be spent") from error
