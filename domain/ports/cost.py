"""The ledger, prices and budgets."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from domain.budget import Budget, BudgetCaps, BudgetSettings, BudgetStanding
from domain.cost import CostEntry, CostHold, CostTotals, Price
from domain.provider import Provider


class CostStore(Protocol):
    """The ledger: entries once per operation, totals by scope."""

    async def record(self, entry: CostEntry) -> bool:
        """Write an entry and add it to every total, once; ``False`` when it was there already."""
        ...

    async def operations(self, campaign_id: str) -> frozenset[UUID]:
        """The operations of a campaign that have an entry."""
        ...

    async def hold(self, hold: CostHold) -> bool:
        """Add to what every total holds, once; ``False`` when it is held already or its operation has an entry."""
        ...

    async def holds(self, campaign_id: str) -> Sequence[CostHold]:
        """What is held for a campaign."""
        ...

    async def release(self, hold: CostHold) -> bool:
        """Take it from what the totals hold, once."""
        ...

    async def campaign_totals(self, campaign_id: str) -> CostTotals: ...

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        """Totals by day (``YYYY-MM-DD``, UTC), both ends included."""
        ...

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]: ...


class PriceBook(Protocol):
    """List prices, with the installation's own on top."""

    def price(self, provider: Provider, model: str) -> Price:
        """The price of a model; an unknown one costs as much as the most expensive known one."""
        ...


class Budgets(Protocol):
    """Reserve, then commit or refund. Raises ``DependencyUnavailable`` when it can't know."""

    async def reserve(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """Set money aside in all budgets or in none; raises ``CostLimitExceeded`` that names the budget. Idempotent."""
        ...

    async def commit(self, operation_id: UUID, budgets: Sequence[Budget], micros: int) -> None:
        """What the call really cost, after its entry is in the ledger. Idempotent; also for a lost reservation."""
        ...

    async def refund(self, operation_id: UUID, budgets: Sequence[Budget]) -> None:
        """Nothing was billed. Idempotent."""
        ...

    async def read_again(self, budgets: Sequence[Budget]) -> None:
        """The ledger was corrected downwards: read its sums before anything more is granted or denied."""
        ...

    async def standings(self, budgets: Sequence[Budget]) -> Sequence[BudgetStanding]: ...


class BudgetStore(Protocol):
    """Caps that administrators set; every change is kept. ``user``: whose they are, ``None`` for everybody."""

    async def caps(self, owner: str) -> BudgetCaps:
        """Those in force for a user's calls: the user's own, else the installation's."""
        ...

    async def settings(self, user: str | None) -> BudgetSettings:
        """What was set; revision 0: nothing."""
        ...

    async def put(self, user: str | None, settings: BudgetSettings) -> bool:
        """Store revision ``n`` over revision ``n - 1``; False when somebody else was faster."""
        ...

    async def history(self, user: str | None, *, limit: int) -> Sequence[BudgetSettings]:
        """Newest first, the present one included."""
        ...
