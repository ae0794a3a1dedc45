"""The stores of a ladder, in memory. A part of ``benchmarks.generation_overhead`` and ``benchmarks.outage``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

from domain.alert import Alert
from domain.budget import BudgetCaps, BudgetSettings
from domain.campaign import CampaignRecord
from domain.compliance import ComplianceLevel
from domain.cost import CostEntry, CostHold, CostTotals
from domain.delivery import Priority
from domain.experiment import ArmObservation, ArmTotals
from domain.prompt import Refusal
from domain.provider import IntentType, PreferredProvider
from domain.rate_limit import MessageType

OWNER: Final = "user-1"
EVERY_SCOPE: Final = BudgetCaps.model_validate(
    dict.fromkeys(("campaign", "user_day", "user_month", "global_day", "global_month"), 1_000_000)
)


class Ledger:
    """The cost store, as sums for the one owner that there is."""

    def __init__(self) -> None:
        self.operations_booked: set[int] = set()
        self._sums = [0, 0, 0]
        self._held_micros = 0
        self._horizon_us = 0

    async def record(self, entry: CostEntry) -> bool:
        if entry.operation_id.int in self.operations_booked:
            return False
        self.operations_booked.add(entry.operation_id.int)
        for number, value in enumerate((entry.cost_micros, entry.usage.input_tokens, entry.usage.output_tokens)):
            self._sums[number] += value
        return True

    async def hold(self, hold: CostHold) -> bool:
        self._held_micros += hold.micros
        return True

    async def holds(self, campaign_id: str) -> Sequence[CostHold]:  # noqa: ARG002 - of the port
        return ()

    async def release(self, hold: CostHold) -> bool:
        raise AssertionError(hold)

    async def campaign_totals(self, campaign_id: str) -> CostTotals:  # noqa: ARG002 - of the port
        micros, read, written = self._sums
        return CostTotals(
            cost_micros=micros,
            held_micros=self._held_micros,
            input_tokens=read,
            output_tokens=written,
            calls=len(self.operations_booked),
        )

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:  # noqa: ARG002
        return {last_day: await self.campaign_totals("")}

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]:  # noqa: ARG002
        return {last_day: await self.campaign_totals("")}

    async def operations(self, campaign_id: str) -> frozenset[UUID]:
        raise AssertionError(campaign_id)

    async def horizon_us(self) -> int:
        return self._horizon_us

    async def extend_horizon(self, until_us: int) -> None:
        self._horizon_us = max(self._horizon_us, until_us)


class Caps:
    """The same caps for everybody, in every scope."""

    async def caps(self, owner: str) -> BudgetCaps:  # noqa: ARG002 - of the port
        return EVERY_SCOPE

    async def settings(self, user: str | None) -> BudgetSettings:
        return BudgetSettings(subject=user or "global", caps=EVERY_SCOPE)

    async def put(self, user: str | None, settings: BudgetSettings) -> bool:  # noqa: ARG002 - of the port
        return False

    async def history(self, user: str | None, *, limit: int) -> Sequence[BudgetSettings]:  # noqa: ARG002 - of the port
        return ()


class Nothing:
    """Alerts, refusals and experiments: none of them is expected."""

    async def keep(self, campaign_id: str, refusals: Mapping[UUID, Refusal]) -> None:
        raise AssertionError((campaign_id, refusals))

    async def of_steps(self, campaign_id: str, step_ids: Sequence[UUID]) -> Mapping[UUID, Refusal]:  # noqa: ARG002
        return {}

    async def raise_alert(self, alert: Alert) -> bool:
        raise AssertionError(alert)

    async def since(self, moment: datetime, *, account_id: str | None = None) -> Sequence[Alert]:  # noqa: ARG002
        return ()

    async def observe(self, observation: ArmObservation) -> None:
        raise AssertionError(observation)

    async def results(self, experiment: str) -> Sequence[ArmTotals]:  # noqa: ARG002 - of the port
        return ()


def a_record() -> CampaignRecord:
    return CampaignRecord(
        campaign_id=str(uuid4()),
        request_id="benchmark",
        owner=OWNER,
        type=IntentType.MESSAGE_GENERATION,
        message_type=MessageType.PROMOTIONAL,
        compliance_level=ComplianceLevel.STRICT,
        priority=Priority.MEDIUM,
        preferred_provider=PreferredProvider.AUTO,
        max_cost_micros=1_000_000_000_000,
        brief="Spring sale: the new photo set, warm and personal.",
        account_id="acct_luna",
        lanes=(),
        audience_size=1,
        page_size=1,
        fingerprint="",
        created_at=datetime.now(UTC),
    )
