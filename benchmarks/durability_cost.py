"""What durability costs: history events and billable actions for each delivered message, from real histories.

A campaign of 1,000 recipients over 10 accounts runs on the time-skipping server at 10 messages a minute for each
account: the tier's hour and day windows and the windows of the message type are off. Counted are the campaign's and
every send queue's histories, all runs of each. The limiter's clock runs at a tenth inside activities: one machine
that plays all parts takes seconds for what takes real services tenths, and a round of ten messages would be torn apart.

Actions are those of Temporal Cloud, https://docs.temporal.io/cloud/actions: every start of a workflow run
(continue-as-new included), every attempt of an activity, every timer, signal (from a client or from a workflow,
counted where it arrives), update and search attribute upsert. Heartbeats are actions too, but leave no event: they
are counted as the SDK sends them and told apart, because their number follows from how long this machine takes for a
round. Not counted are the queries of people who watch, and what the cloud charges for fairness between accounts.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.service import RPCError

from adapters.bootstrap import Ports, open_ports
from adapters.rate_limit import RedisLimiter
from adapters.redis import open_redis
from adapters.settings import Settings
from api.intake import accept
from benchmarks.report import Options, Report, options, table
from domain.access import Principal, Role
from domain.campaign import CampaignInput, CampaignRecord, WorkflowIntent, campaign_workflow_id
from domain.compliance import ComplianceLevel
from domain.delivery import MessageStatus, send_queue_id
from domain.progress import CampaignRun
from domain.review import AutonomyOptIn
from local.caller import intent
from local.environment import in_force
from local.stack import Stack, StackOptions
from local.tables import create_tables
from local.time_skipping import ActivityClock, time_skipping
from worker import workers
from workflows.campaign import CampaignWorkflow
from workflows.policies import ORCHESTRATION, TASK_QUEUES

GOAL_EVENTS: Final = 2.5
GOAL_ACTIONS: Final = 0.5


ACTIVITY_PACE: Final = 0.1
RECONNECTS: Final = 10

PARTS: Final = frozenset({"redis", "moto", "onlyfans", "ai"})

LIMITS: Final = {
    "tiers": {"established": [{"limit": 10, "seconds": 60}]},
    "message_types": {"promotional": []},
}

_E = EventType
ACTIONS: Final[Mapping[EventType.ValueType, str]] = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: "workflow runs started",
    _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "activities",
    _E.EVENT_TYPE_TIMER_STARTED: "timers",
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "signals",
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "updates",
    _E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "search attribute upserts",
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "child workflows",
}
CAMPAIGN, QUEUES = "campaign", "send queues"
RETRIES: Final = "activity retries"
HEARTBEATS: Final = "heartbeats"

_METRIC_UPDATES: Final = 1_000_000


@dataclass
class Cost:
    """What a set of histories holds."""

    runs: int = 0
    events: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, history: Iterable[HistoryEvent]) -> None:
        """Count one run."""
        self.runs += 1
        for event in history:
            if event.event_type == _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
                # With nothing left to do the server skips so many years ahead that the queues' own end comes.
                continue
            name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            self.events[name.lower()] += 1
            if action := ACTIONS.get(event.event_type):
                self.actions[action] += 1
            if event.event_type == _E.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                self.actions[RETRIES] += event.activity_task_started_event_attributes.attempt - 1


async def runs(client: Client, workflow_id: str) -> AsyncIterator[list[HistoryEvent]]:
    """The histories of a workflow's runs, the newest first."""
    run_id: str | None = None
    while run_id != "":
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        yield list(history.events)
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id


async def measure(accounts: int, recipients: int) -> tuple[int, dict[str, Cost], int]:
    """Messages sent, the cost by kind of workflow, and the heartbeats."""
    metrics = MetricBuffer(_METRIC_UPDATES)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    with tempfile.TemporaryDirectory(prefix="huntaze-benchmark-") as directory:
        stack_options = StackOptions(
            directory=Path(directory),
            parts=PARTS,
            env={"HUNTAZE_RATE_LIMITS": json.dumps(LIMITS)},
            migrate=create_tables,
        )
        async with AsyncExitStack() as context:
            stack = await context.enter_async_context(Stack(stack_options))
            context.enter_context(in_force(stack.env))
            settings = Settings()
            ports = await context.enter_async_context(open_ports(settings))
            redis = await context.enter_async_context(open_redis(settings))
            client = (await context.enter_async_context(time_skipping(runtime))).client
            skipping = replace(ports, limiter=RedisLimiter(redis, ports.slots, clock_us=ActivityClock(ACTIVITY_PACE)))
            for worker in workers(client, skipping, settings, TASK_QUEUES):
                await context.enter_async_context(worker)
            record = await _store(ports, settings, accounts, recipients)
            workflow_id = campaign_workflow_id(record.campaign_id)
            await _run(client, record, workflow_id)
            sent = (await ports.messages.count_by_status(record.campaign_id)).get(MessageStatus.SENT, 0)
            costs = {CAMPAIGN: Cost(), QUEUES: Cost()}
            async for history in runs(client, workflow_id):
                costs[CAMPAIGN].add(history)
            for lane in record.lanes:
                async for history in runs(client, send_queue_id(lane.account_id)):
                    costs[QUEUES].add(history)
    return sent, costs, _heartbeats(metrics)


async def _store(ports: Ports, settings: Settings, accounts: int, recipients: int) -> CampaignRecord:
    """The request as the API stores it."""
    now = datetime.now(UTC)
    names = tuple(f"acct_cost{number}" for number in range(accounts))
    for name in names:
        level = ComplianceLevel.RELAXED
        await ports.autonomy.put(AutonomyOptIn(account_id=name, level=level, reason="benchmark", granted_at=now))
    wanted = WorkflowIntent.model_validate(intent(names, recipients))
    caller = Principal(user_id="benchmark", role=Role.ADMIN)
    record, _ = await accept(wanted, str(uuid4()), caller, ports, settings, now)
    return record


async def _run(client: Client, record: CampaignRecord, workflow_id: str) -> None:
    run = CampaignRun(input=CampaignInput.of(record, "benchmark"))
    handle = await client.start_workflow(CampaignWorkflow.run, run, id=workflow_id, task_queue=ORCHESTRATION)
    for _ in range(RECONNECTS):
        try:
            await handle.result()
            return
        except RPCError as error:
            # The time-skipping server breaks a long wait now and then; the campaign goes on meanwhile.
            print(f"waiting again: {error}")
    raise RuntimeError("the time-skipping server does not answer")


def _heartbeats(metrics: MetricBuffer) -> int:
    """Heartbeats that the SDK sent to the server."""
    return sum(
        int(update.value)
        for update in metrics.retrieve_updates()
        if update.metric.name == "temporal_request" and "Heartbeat" in str(update.attributes.get("operation"))
    )


def report(chosen: Options, sent: int, costs: Mapping[str, Cost], heartbeats: int) -> Report:
    """The figures for each delivered message."""
    actions = sum((cost.actions for cost in costs.values()), Counter[str]())
    events = sum((cost.events for cost in costs.values()), Counter[str]())
    table(
        "history events",
        ("event", *costs, "for each message"),
        [
            (name, *(cost.events[name] for cost in costs.values()), f"{number / sent:.3f}")
            for name, number in events.most_common()
        ],
    )
    table(
        "billable actions",
        ("action", "number", "for each message"),
        [
            (name, number, f"{number / sent:.3f}")
            for name, number in (*actions.most_common(), (HEARTBEATS, heartbeats))
            if number
        ],
    )
    found = Report("durability_cost")
    found.figure("messages", sent)
    found.figure("runs", sum(cost.runs for cost in costs.values()))
    rounds = costs[QUEUES].events["activity_task_scheduled"]
    found.figure("messagesPerRound", sent / rounds)
    found.figure("eventsPerMessage", sum(events.values()) / sent)
    found.figure("actionsPerMessage", sum(actions.values()) / sent)
    found.figure("heartbeatsPerMessage", heartbeats / sent)
    found.at_most("eventsPerMessage", GOAL_EVENTS)
    found.at_most("actionsPerMessage", GOAL_ACTIONS)
    if chosen.quick:
        print("quick: a smaller campaign, whose start and end weigh more")
    return found


def main() -> None:
    """Measure and report."""
    chosen = options(__doc__ or "")
    accounts, recipients = (3, 300) if chosen.quick else (10, 1_000)
    report(chosen, *asyncio.run(measure(accounts, recipients))).finish(chosen)


if __name__ == "__main__":
    main()
