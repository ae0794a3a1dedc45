"""The audit after a run: both sides of the money, as soon as nothing is on its way any more."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import uuid4

import httpx
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from adapters.bootstrap import Ports, open_ports, open_tables
from adapters.dynamodb import Dynamo, plain, value
from adapters.settings import Settings
from adapters.temporal import connect
from domain.budget import LEASE_MS, Budget, BudgetScope, budgets
from domain.errors import CostLimitExceeded, DependencyUnavailable, NotFound
from local.chaos.money import Left, Money, book_of, entries_of, spent_of
from local.environment import in_force

Ask = Callable[..., Awaitable[Any]]
"""A GET that is repeated until there is an answer: client, path, query."""

_LEASES_OVER_S: Final = LEASE_MS / 1000 + 5
_RECONCILED_WITHIN_S: Final = 300.0
_LOOK_EVERY_S: Final = 1.0


class Auditor:
    """Reads what a campaign cost on each side. ``first_day``: when the run began, UTC."""

    def __init__(self, env: Mapping[str, str], campaign_id: str, first_day: date) -> None:
        self._env = env
        self._campaign_id = campaign_id
        self._first_day = first_day

    async def money(self, ask: Ask, api: httpx.AsyncClient, ai: httpx.AsyncClient, status: Mapping[str, Any]) -> Money:
        """``status`` is the query for the campaign's status."""
        async with _opened(self._env) as (ports, dynamo, temporal):
            outlived = await self._reconciled(temporal)
            standings = await self._standings(ask, api)
            items = await self._entries(dynamo)
            costs = await ask(api, "/api/v2/campaigns/costs", {"campaignId": self._campaign_id})
            period = {"from": self._first_day.isoformat(), "to": datetime.now(UTC).date().isoformat()}
            days = await ask(api, "/api/v2/campaigns/costs", period)
            result = (await ask(api, "/api/v2/campaigns/status", status))["result"] or {}
            return Money(
                book=book_of((await ask(ai, "/_control/usage"))["requests"]),
                entries=entries_of(items),
                operations=len({item["operationId"] for item in items}),
                lost=sum(item["purpose"] == "lost" for item in items),
                unusable=sum(not item["usable"] for item in items),
                totals=spent_of(costs["total"]),
                days=spent_of(days["total"]),
                result_micros=result.get("detailedCosts", {}).get("totalCostMicros", 0),
                committed={
                    standing["scope"]: standing["committedMicros"]
                    for standing in standings
                    if standing["scope"] in {BudgetScope.REQUEST, BudgetScope.CAMPAIGN}
                },
                reserved=sum(standing["reservedMicros"] for standing in standings),
                outlived=outlived,
                left=await self._left(ports),
            )

    async def _reconciled(self, temporal: Client) -> bool:
        """Whether a reconciliation outlived its campaign. It has ended; how, the sums will tell."""
        try:
            async with asyncio.timeout(_RECONCILED_WITHIN_S):
                await temporal.get_workflow_handle(f"reconcile-{self._campaign_id}").result()
        except (TimeoutError, WorkflowFailureError):
            return True
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def _standings(self, ask: Ask, api: httpx.AsyncClient) -> Sequence[Mapping[str, Any]]:
        """When nothing is set aside any more; what the dead have set aside is, until their lease is over."""
        over_at = time.monotonic() + _LEASES_OVER_S
        while True:
            found: Sequence[Mapping[str, Any]] = (await ask(api, "/api/v2/budgets", {"campaignId": self._campaign_id}))[
                "budgets"
            ]
            if not any(standing["reservedMicros"] for standing in found) or time.monotonic() > over_at:
                return found
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _entries(self, dynamo: Dynamo) -> Sequence[Mapping[str, Any]]:
        """The ledger's own rows."""
        query = dynamo.query(
            TableName=dynamo.table("costs"),
            KeyConditionExpression="#scope = :scope AND begins_with(#entry, :entry)",
            ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
            ExpressionAttributeValues={":scope": value(f"campaign#{self._campaign_id}"), ":entry": value("entry#")},
            ConsistentRead=True,
        )
        return [plain(item) async for item in query]

    async def _left(self, ports: Ports) -> Left | None:
        """Whether exactly what the campaign may still cost can be set aside."""
        record = await ports.campaigns.get(self._campaign_id)
        if record is None:
            raise NotFound(f"campaign {self._campaign_id} is not in the store")
        if record.max_cost_micros is None:
            return None
        caps = await ports.budget_store.caps(record.owner)
        charged = budgets(
            caps,
            owner=record.owner,
            campaign_id=record.campaign_id,
            max_cost_micros=record.max_cost_micros,
            now=datetime.now(UTC),
        )
        totals = await ports.costs.campaign_totals(record.campaign_id)
        # What is held for calls of unknown outcome is nobody's to spend yet.
        left = record.max_cost_micros - totals.cost_micros - totals.held_micros
        granted = await _reserves(ports, charged, left)
        return Left(rest_granted=granted, more_denied=not await _reserves(ports, charged, 1))


async def _reserves(ports: Ports, charged: Sequence[Budget], micros: int) -> bool:
    """Whether it is granted; what Redis has lost a moment ago is waited out."""
    while True:
        try:
            await ports.budgets.reserve(uuid4(), charged, micros)
        except CostLimitExceeded:
            return False
        except DependencyUnavailable as error:
            if error.retry_after_s is None:
                raise
            await asyncio.sleep(error.retry_after_s)
        else:
            return True


@asynccontextmanager
async def _opened(env: Mapping[str, str]) -> AsyncIterator[tuple[Ports, Dynamo, Client]]:
    """The stack's stores and its Temporal."""
    async with AsyncExitStack() as context:
        with in_force(env):
            settings = Settings()
            ports = await context.enter_async_context(open_ports(settings))
            dynamo = await context.enter_async_context(open_tables(settings))
            temporal = await connect()
        yield ports, dynamo, temporal
