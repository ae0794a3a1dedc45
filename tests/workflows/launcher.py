"""Campaigns on the time-skipping server with the real activities: minutes of throttling pass in milliseconds.

Stores, simulators and Redis are the session's; only the limiter's clock is the server's, by way of the time at
which the server says that the running activity started.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from adapters.bootstrap import Ports
from adapters.rate_limit import RedisLimiter
from adapters.redis import open_redis
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignInput, CampaignRecord, WorkflowIntent, campaign_workflow_id
from domain.compliance import ComplianceLevel
from domain.delivery import Message, MessageStatus
from domain.progress import CampaignProgress, CampaignRun, WorkflowResult
from domain.recall import RecallInput, RecallReport, recall_workflow_id
from domain.review import AutonomyOptIn
from local.time_skipping import ActivityClock, time_skipping
from tests.local import Simulator
from worker import workers
from workflows.campaign import CampaignWorkflow
from workflows.policies import ORCHESTRATION, TASK_QUEUES
from workflows.recall import RecallWorkflow

STAFF = Principal(user_id="staff", role=Role.ADMIN)

Handle = WorkflowHandle[CampaignWorkflow, WorkflowResult]


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
        # Asked for a while ago: what it wants may be late by now.
        asked_at = datetime.now(UTC) - timedelta(minutes=1)
        record, _ = await accept(intent, str(uuid4()), STAFF, self.ports, self.settings, asked_at)
        return record

    async def campaign(self, *sizes: int, pages_per_run: int = 500, **changes: Any) -> tuple[CampaignRecord, Handle]:
        """A campaign over one new account for each of ``sizes``."""
        record = await self.store(intent(*sizes, **changes))
        return record, await self.start(record, pages_per_run=pages_per_run)

    async def start(self, record: CampaignRecord, *, pages_per_run: int = 500) -> Handle:
        """The workflow of a stored request."""
        campaign = CampaignInput.of(record, "trace").model_copy(update={"pages_per_run": pages_per_run})
        return await self.env.client.start_workflow(
            CampaignWorkflow.run,
            CampaignRun(input=campaign),
            id=campaign_workflow_id(record.campaign_id),
            task_queue=ORCHESTRATION,
        )

    async def recall(self, campaign_id: str) -> RecallReport:
        """The report of a campaign's recall."""
        report: RecallReport = await self.env.client.execute_workflow(
            RecallWorkflow.run,
            RecallInput(campaign_id=campaign_id),
            id=recall_workflow_id(campaign_id),
            task_queue=ORCHESTRATION,
        )
        return report

    async def messages(self, record: CampaignRecord) -> list[Message]:
        """Every message of a campaign that fits on one page."""
        listing = await self.ports.messages.list(
            record.campaign_id, status=None, account_id=None, limit=1_000, cursor=None
        )
        assert listing.cursor is None
        return list(listing.messages)

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
async def launching(ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator) -> AsyncIterator[Launcher]:
    """The product's workers on a time-skipping server; workflows are replayed at every task."""
    async with AsyncExitStack() as running:
        environment = await running.enter_async_context(time_skipping())
        redis = await running.enter_async_context(open_redis(settings))
        skipping = replace(ports, limiter=RedisLimiter(redis, ports.slots, clock_us=ActivityClock()))
        for worker in workers(environment.client, skipping, settings, TASK_QUEUES, max_cached_workflows=0):
            await running.enter_async_context(worker)
        yield Launcher(environment, ports, settings, onlyfans, ai)
