"""A stage for budgets: a ledger that is a list, budgets of a campaign, and what must hold at every moment."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from adapters.budget import RedisBudgets
from domain.budget import Budget, BudgetCaps, budgets
from domain.cost import CostEntry, CostHold, CostTotals, total
from domain.errors import CostLimitExceeded
from tests.domain.builders import a_cost

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE_MS = 60_000
NO_CAPS: Mapping[str, str] = {}


class Books:
    """``adapters.budget.Ledger`` without a store. ``reads``: how often a sum was asked for."""

    def __init__(self) -> None:
        self.entries: dict[UUID, CostEntry] = {}
        self.held: dict[UUID, CostHold] = {}
        self.recorded_until_us = 0
        self.reads = 0
        self.before_answer: asyncio.Event | None = None
        self.reading = asyncio.Event()

    def enter(self, operation: UUID, micros: int, *, campaign: str = "c-1", owner: str = "luna") -> None:
        entry = a_cost(operation, campaign_id=campaign, owner=owner, cost_micros=micros, at=NOW)
        self.entries.setdefault(operation, entry)

    def keep(self, operation: UUID, micros: int, *, campaign: str = "c-1", owner: str = "luna") -> CostHold:
        """Hold it, as nobody knows what became of the call."""
        hold = CostHold(
            operation_id=operation,
            campaign_id=campaign,
            owner=owner,
            target="openai/gpt-4o",
            micros=micros,
            at=NOW,
            settles_at=NOW,
        )
        return self.held.setdefault(operation, hold)

    async def record(self, entry: CostEntry) -> bool:
        self.entries.setdefault(entry.operation_id, entry)
        return True

    async def operations(self, campaign_id: str) -> frozenset[UUID]:
        return frozenset(key for key, entry in self.entries.items() if entry.campaign_id == campaign_id)

    async def hold(self, hold: CostHold) -> bool:
        new = hold.operation_id not in self.entries and hold.operation_id not in self.held
        return new and self.held.setdefault(hold.operation_id, hold) is hold

    async def holds(self, campaign_id: str) -> Sequence[CostHold]:
        return [each for each in self.held.values() if each.campaign_id == campaign_id]

    async def release(self, hold: CostHold) -> bool:
        return self.held.pop(hold.operation_id, None) is not None

    async def campaign_totals(self, campaign_id: str) -> CostTotals:
        return await self._answer(lambda each: each.campaign_id == campaign_id)

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return self._days(await self._answer(lambda each: each.owner == owner))

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return self._days(await self._answer(lambda _: True))

    async def horizon_us(self) -> int:
        return self.recorded_until_us

    async def extend_horizon(self, until_us: int) -> None:
        self.recorded_until_us = max(self.recorded_until_us, until_us)

    def _days(self, totals: CostTotals) -> dict[str, CostTotals]:
        return {"2026-11-22": totals}

    async def _answer(self, concerns: Callable[[CostEntry | CostHold], bool]) -> CostTotals:
        self.reads += 1
        held = sum(each.micros for each in self.held.values() if concerns(each))
        sums = total(filter(concerns, self.entries.values())) + CostTotals(held_micros=held)
        self.reading.set()
        if self.before_answer is not None:
            await self.before_answer.wait()
        await asyncio.sleep(0)
        return sums


def of_campaign(
    campaign_id: str = "c-1", owner: str = "luna", *, max_cost: int | None = None, caps: Mapping[str, str] = NO_CAPS
) -> tuple[Budget, ...]:
    """The budgets of a call; caps in US dollars, ``max_cost`` in µ$."""
    parsed = BudgetCaps.model_validate(dict(caps))
    return budgets(parsed, owner=owner, campaign_id=campaign_id, max_cost_micros=max_cost, now=NOW)


async def may(store: RedisBudgets, operation: UUID, charged: Sequence[Budget], micros: int) -> bool:
    """Whether the reservation was granted."""
    try:
        await store.reserve(operation, charged, micros)
    except CostLimitExceeded:
        return False
    return True


async def left(store: RedisBudgets, charged: Sequence[Budget]) -> dict[str, int | None]:
    """What remains of each budget, by scope."""
    return {each.budget.scope: each.remaining_micros for each in await store.standings(charged)}
