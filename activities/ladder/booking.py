"""The money side of a call: which budgets pay, what it may cost, the entry in the ledger, alerts about it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from temporalio import activity

from activities.ladder.ports import LadderPorts
from activities.ladder.size import Sized
from domain.alert import Alert, AlertKind, Severity
from domain.budget import Budget, BudgetCaps, budgets, exhausted_alert, unknown_price_alert
from domain.campaign import CampaignRecord
from domain.cost import SETTLING, CostEntry, CostHold, Usage
from domain.errors import CostLimitExceeded, DependencyUnavailable, ProviderError, ProviderFault
from domain.routing import Target


class Booking:
    """Books the calls of one request. Money is reserved before a call and committed after its entry is written."""

    def __init__(self, record: CampaignRecord, ports: LadderPorts) -> None:
        self._record = record
        self._ports = ports
        self._charged_on: tuple[BudgetCaps, date] | None = None
        self._charged: tuple[Budget, ...] = ()

    async def reserve(self, operation: UUID, prompt: Sized, target: Target, now: datetime) -> tuple[Budget, ...]:
        """Set aside the most that a call can cost; the budgets that pay.

        At an unknown price that is so much that it may be refused: the alert about it comes first.
        Raises ``CostLimitExceeded``, and ``ProviderError`` when the call can't fit into the model's context.
        """
        if not prompt.fits(target):
            raise ProviderError("the prompt is longer than the model's context", fault=ProviderFault.CONTEXT_LENGTH)
        if self._ports.prices.price(target.provider, target.price_name).unknown:
            await self._ports.alerts.raise_alert(unknown_price_alert(target.provider, target.price_name, now))
        charged = await self._charged_to(now)
        await self._ports.budgets.reserve(operation, charged, self._most(prompt, target))
        return charged

    async def refund(self, operation: UUID, charged: Sequence[Budget]) -> None:
        """Nothing was billed."""
        try:
            await self._ports.budgets.refund(operation, charged)
        except DependencyUnavailable:
            activity.logger.warning("a reservation could not be given back; it runs out by itself")

    async def hold(
        self, operation: UUID, prompt: Sized, target: Target, charged: Sequence[Budget], now: datetime
    ) -> None:
        """Whether it was billed is not known: until it is, the most that it can cost counts as if it were spent."""
        hold = CostHold(
            operation_id=operation,
            campaign_id=self._record.campaign_id,
            owner=self._record.owner,
            target=target.key,
            micros=self._most(prompt, target),
            at=now,
            settles_at=datetime.now(UTC) + SETTLING,
        )
        await self._ports.costs.hold(hold)
        await self._commit(operation, charged, hold.micros)

    async def release(self, hold: CostHold) -> None:
        """It is known by now, and booked if it was billed."""
        await self._ports.costs.release(hold)
        try:
            await self._ports.budgets.read_again(await self._charged_to(hold.at))
        except DependencyUnavailable:
            activity.logger.warning("budgets count a cost that is none until they are read again")

    async def book(
        self,
        purpose: str,
        target: Target,
        operation: UUID,
        usage: Usage,
        *,
        usable: bool,
        charged: Sequence[Budget] = (),
        at: datetime | None = None,
    ) -> int:
        """Write the entry, once, then commit it to the budgets; the cost in µ$."""
        now = at or datetime.now(UTC)
        price = self._ports.prices.price(target.provider, target.price_name)
        entry = CostEntry(
            operation_id=operation,
            campaign_id=self._record.campaign_id,
            owner=self._record.owner,
            provider=target.provider,
            model=target.price_name,
            purpose=purpose,
            usage=usage,
            cost_micros=price.micros(usage),
            price_version=price.version,
            at=now,
            usable=usable,
        )
        await self._ports.costs.record(entry)
        await self._commit(operation, charged or await self._charged_to(now), entry.cost_micros)
        return entry.cost_micros

    async def budget_alert(self, short: CostLimitExceeded) -> None:
        """A caller's own limit is no news to anybody; the installation's are."""
        now = datetime.now(UTC)
        found = exhausted_alert(await self._charged_to(now), short, now)
        if found is not None:
            await self._ports.alerts.raise_alert(found)

    async def alert(self, kind: AlertKind, subject: str, severity: Severity, now: datetime) -> None:
        """Once a day for one subject."""
        await self._ports.alerts.raise_alert(
            Alert(alert_id=f"{kind}-{subject}-{now:%Y-%m-%d}", kind=kind, severity=severity, at=now, detail=subject)
        )

    async def _commit(self, operation: UUID, charged: Sequence[Budget], micros: int) -> None:
        try:
            await self._ports.budgets.commit(operation, charged, micros)
        except DependencyUnavailable:
            # The ledger has it; the reservation runs out, and its budgets are then read from the ledger again.
            activity.logger.warning("a cost could not be committed to its budgets")

    def _most(self, prompt: Sized, target: Target) -> int:
        usage = prompt.at_most(target)
        return self._ports.prices.price(target.provider, target.price_name).most(
            usage.input_tokens, usage.output_tokens
        )

    async def _charged_to(self, now: datetime) -> tuple[Budget, ...]:
        record = self._record
        caps, day = await self._ports.budget_store.caps(record.owner), now.astimezone(UTC).date()
        if (caps, day) != self._charged_on:
            self._charged_on = caps, day
            self._charged = budgets(
                caps,
                owner=record.owner,
                campaign_id=record.campaign_id,
                max_cost_micros=record.max_cost_micros,
                now=now,
            )
        return self._charged
