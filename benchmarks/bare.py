"""The pipeline without Temporal: the same activities in a plain asyncio loop. A part of ``benchmarks.pipeline``.

``python -m benchmarks.bare --account acct_a --account acct_b --recipients 1000`` runs one campaign in this process,
after a small one that warms everything up, and prints how long it took. What it leaves out is what durability costs:
the engine, its queues and its histories. Order and concurrency are those of the product: in each account one page is
drafted while the one before it is sent, one delivery round at a time.
"""

import argparse
import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID, uuid4

from temporalio.testing import ActivityEnvironment

from activities.campaign import StatusChange
from activities.page import DraftPage
from activities.plan import PlanCampaign
from activities.review import ReviewedPage
from activities.send_queue import SubmissionActivities, SubmitPage
from adapters.bootstrap import Ports, open_ports
from adapters.settings import Settings
from adapters.temporal import connect
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignRecord, CampaignStatus, Lane, WorkflowIntent
from domain.compliance import ComplianceLevel
from domain.delivery import MessageStatus
from domain.progress import CampaignOutcome, Tally, WorkflowResult
from domain.review import AutonomyOptIn, Decision, Verdict
from domain.send_queue import ROUND_SIZE, Candidate, DeliveryRound, EnqueueBatch, Enqueued, QueueOutlook
from local.caller import intent
from worker import activities

R = TypeVar("R")

WARM_UP = 20
"""Recipients of the campaign that opens every connection."""

APPROVED = Decision(verdict=Verdict.APPROVE, decided_by="benchmark")
"""Of thousands of texts a few are near-identical, and wait for a person."""


class Waiting:
    """``domain.ports.SendQueues`` in memory: what was handed in and is not sent yet, by account."""

    def __init__(self) -> None:
        self._messages: dict[str, deque[Candidate]] = {}
        self._changed = asyncio.Condition()

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:  # noqa: ARG002
        """Behind everything that waits."""
        queue = self._messages.setdefault(account_id, deque())
        async with self._changed:
            queue.extend(Candidate(campaign_id=request.campaign_id, message_id=each) for each in request.message_ids)
            self._changed.notify_all()
        return Enqueued(position=len(queue))

    async def outlook(self, _account_id: str) -> QueueOutlook | None:
        """Nobody asks."""
        return None

    async def wake(self, _account_id: str) -> None:
        """Nobody sleeps."""

    async def drop_message(self, _account_id: str, _message_id: UUID) -> None:
        """Nobody cancels."""

    async def first(self, account_id: str) -> tuple[Candidate, ...]:
        """The candidates of the next round, as soon as there are any."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._messages.get(account_id))
        return tuple(self._messages[account_id])[:ROUND_SIZE]

    async def settle(self, account_id: str, ended: frozenset[UUID]) -> None:
        """These wait no more."""
        async with self._changed:
            self._messages[account_id] = deque(
                candidate for candidate in self._messages[account_id] if candidate.message_id not in ended
            )
            self._changed.notify_all()

    async def at_most(self, account_id: str, number: int) -> None:
        """Wait until no more than that many messages of the account wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._messages.get(account_id, ())) <= number)


class BareLoop:
    """Runs campaigns with the product's own activities."""

    def __init__(self, ports: Ports, settings: Settings, methods: dict[str, Callable[..., Awaitable[Any]]]) -> None:
        self._ports = ports
        self._settings = settings
        self._waiting = Waiting()
        submission = SubmissionActivities(
            ports.campaigns,
            ports.messages,
            self._waiting,
            ports.limiter,
            ports.accounts,
            policy=settings.limit_policy,
        )
        self._methods = {**methods, "submit_page": submission.submit_page}

    async def run(self, wanted: WorkflowIntent) -> WorkflowResult:
        """From the request to the result."""
        started_at = datetime.now(UTC)
        caller = Principal(user_id="benchmark", role=Role.ADMIN)
        record, _ = await accept(wanted, str(uuid4()), caller, self._ports, self._settings, started_at)
        await self._call("set_status", StatusChange(campaign_id=record.campaign_id, status=CampaignStatus.RUNNING))
        planned = await self._call("plan", PlanCampaign(campaign_id=record.campaign_id))
        tallies = await asyncio.gather(*(self._lane(record, lane) for lane in record.lanes))
        outcome = CampaignOutcome(
            campaign_id=record.campaign_id,
            status=CampaignStatus.COMPLETED,
            tally=sum(tallies, planned.tally),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            audience=record.audience_size,
        )
        result: WorkflowResult = await self._call("finish", outcome)
        return result

    async def _lane(self, record: CampaignRecord, lane: Lane) -> Tally:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(lane))
            drafting = group.create_task(self._draft(record, lane))
        return drafting.result()

    async def _draft(self, record: CampaignRecord, lane: Lane) -> Tally:
        """Raises ``RuntimeError`` for a text that is not to be sent: a rate would mean nothing."""
        tally = Tally()
        submitted = 0
        for page in range(lane.pages):
            await self._waiting.at_most(lane.account_id, record.page_size)
            draft = DraftPage(campaign_id=record.campaign_id, account_id=lane.account_id, page=page)
            drafted = await self._call("draft_page", draft)
            tally += drafted.tally
            if drafted.page.awaiting:
                await self._call("decide_page", ReviewedPage(**dict(draft), decision=APPROVED))
            submitted += (await self._call("submit_page", SubmitPage(**dict(draft), batch=page))).count
            if drafted.page.counts:
                raise RuntimeError(f"texts that are not to be sent: {drafted.page.counts}")
        if submitted != lane.audience:
            raise RuntimeError(f"{submitted} of {lane.audience} messages were handed in")
        return tally

    async def _send(self, lane: Lane) -> None:
        left = lane.audience
        while left:
            candidates = await self._waiting.first(lane.account_id)
            report = await self._call("deliver", DeliveryRound(account_id=lane.account_id, candidates=candidates))
            ended = frozenset(settled.message_id for settled in report.settled)
            left -= len(ended)
            await self._waiting.settle(lane.account_id, ended)

    async def _call(self, name: str, argument: object) -> Any:
        return await ActivityEnvironment().run(self._methods[name], argument)


async def measure(accounts: Sequence[str], recipients: int) -> dict[str, float]:
    """Seconds for one campaign, and what it sent."""
    settings = Settings()
    async with open_ports(settings) as ports:
        served = activities(ports, await connect(), settings).values()
        loop = BareLoop(ports, settings, {method.__name__: method for methods in served for method in methods})
        warming = [f"{account}warm" for account in accounts]
        for account in (*accounts, *warming):
            opt_in = AutonomyOptIn(
                account_id=account, level=ComplianceLevel.RELAXED, reason="benchmark", granted_at=datetime.now(UTC)
            )
            await ports.autonomy.put(opt_in)
        await loop.run(WorkflowIntent.model_validate(intent(warming, WARM_UP)))
        wanted = intent(accounts, recipients)
        began = perf_counter()
        # Reading the request is the API's work in the product.
        result = await loop.run(WorkflowIntent.model_validate(wanted))
        return {"seconds": perf_counter() - began, "sent": result.outcomes.get(MessageStatus.SENT, 0)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--account", action="append", required=True)
    parser.add_argument("--recipients", type=int, required=True)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.account, given.recipients))))


if __name__ == "__main__":
    main()
