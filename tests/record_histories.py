"""Record the histories that the replay test checks: ``python -m tests.record_histories [NAME …]``.

Run it after a change of a workflow that was released with ``workflow.patched``; commit the new files beside the
old ones (docs/versioning.md says when an old one may go).
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from temporalio.client import WorkflowHandle

from adapters.bootstrap import open_ports, open_tables
from adapters.settings import Settings
from domain.campaign import CampaignStatus, ControlRequest, GenerationInput, generation_workflow_id
from domain.delivery import MessageStatus, send_queue_id
from domain.flag import FlagConfig, changed
from domain.recall import recall_workflow_id
from domain.review import PageKey, ReviewDecision
from domain.rollout import rollout_workflow_id
from domain.rollout_report import RolloutReport
from domain.rollout_request import RolloutRequest
from local.process import child_environment
from local.stack import INFRASTRUCTURE, SIMULATORS, Stack, StackOptions
from tests.local import Simulator
from tests.workflows.launcher import Launcher, intent, launching, progress_until
from workflows.campaign import CampaignWorkflow
from workflows.policies import ORCHESTRATION
from workflows.provider import GenerationWorkflow
from workflows.rollout import RolloutRun, RolloutWorkflow

CHECKOUT = Path(__file__).parent.parent
HISTORIES = CHECKOUT / "tests" / "histories"
PAGE_SIZE = 6


async def throttled_campaign(launcher: Launcher) -> dict[str, str]:
    """Two accounts, one of which waits for its limit; with the queue that sends it."""
    record, handle = await launcher.campaign(14, 3)
    await handle.result()
    busiest = max(record.lanes, key=lambda lane: lane.audience)
    return {"campaign-throttled": handle.id, "send-queue-throttled": send_queue_id(busiest.account_id)}


async def reviewed_campaign(launcher: Launcher) -> dict[str, str]:
    """Pages that wait for a person, a rejection, a pause and a resume."""
    with launcher.env.auto_time_skipping_disabled():
        record, handle = await launcher.campaign(9, compliance="strict")
        progress = await progress_until(handle, lambda seen: seen.awaiting_review == 9)
        first, second = (PageKey(account_id=page.account_id, page=page.page) for page in progress.pending_reviews)
        await handle.signal(CampaignWorkflow.reject, ReviewDecision(pages=(first,), decided_by="reviewer"))
        await handle.signal(CampaignWorkflow.pause, ControlRequest(requested_by="operator", reason="lunch"))
        await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(pages=(second,), decided_by="reviewer"))
        await handle.signal(CampaignWorkflow.resume)
    await handle.result()
    return {"campaign-reviewed": handle.id, "send-queue-paused": send_queue_id(record.lanes[0].account_id)}


async def steered_campaign(launcher: Launcher) -> dict[str, str]:
    """A wish of the API whose signal was lost, a signal from elsewhere that overrules it, and a wish that is heard."""
    record, handle = await launcher.campaign(3, compliance="strict")
    with launcher.env.auto_time_skipping_disabled():
        await progress_until(handle, lambda seen: seen.awaiting_review == 3)
        await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.PAUSED)
        await handle.signal(CampaignWorkflow.resume)
        pause = await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.PAUSED)
        await handle.signal(CampaignWorkflow.pause, ControlRequest(requested_by="operator", wish=pause))
        await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        resume = await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.RUNNING)
        await handle.signal(CampaignWorkflow.resume, ControlRequest(requested_by="operator", wish=resume))
        await handle.signal(CampaignWorkflow.approve)
    await handle.result()
    return {"campaign-steered": handle.id}


async def expired_campaign(launcher: Launcher) -> dict[str, str]:
    """Single messages that are decided, a page that was changed from outside, and a page that expires."""
    with launcher.env.auto_time_skipping_disabled():
        record, handle = await launcher.campaign(5, compliance="strict", review={"expiresAfterHours": 8})
        await progress_until(handle, lambda seen: seen.awaiting_review == 5)
        first, second, *_ = await launcher.messages(record)
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(messages=(first.message_id,)))
        await progress_until(handle, lambda seen: seen.sent == 1)
        await launcher.ports.messages.transition(record.campaign_id, [second.message_id], MessageStatus.CANCELLED)
        await handle.signal(CampaignWorkflow.page_changed, PageKey(account_id=second.account_id, page=0))
        await progress_until(handle, lambda seen: seen.cancelled == 1)
    await handle.result()
    return {"campaign-expired": handle.id}


async def cancelled_campaign(launcher: Launcher) -> dict[str, str]:
    """A cancellation while the queue waits for the limit."""
    with launcher.env.auto_time_skipping_disabled():
        _, handle = await launcher.campaign(20)
        await progress_until(handle, lambda seen: seen.sent == 10)
        await handle.signal(CampaignWorkflow.cancel)
        await handle.result()
    return {"campaign-cancelled": handle.id}


async def late_campaign(launcher: Launcher) -> dict[str, str]:
    """A deadline that the second page would miss: the rest gets a mass message."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    terms = {"onDeadline": "mass_message", "alternativeText": "Hello everybody.", "deadline": deadline.isoformat()}
    _, handle = await launcher.campaign(14, delivery=terms)
    await handle.result()
    return {"campaign-late": handle.id}


async def withdrawn_campaign(launcher: Launcher) -> dict[str, str]:
    """A deadline that passes while drafts wait for a person: everybody gets a mass message."""
    deadline = datetime.now(UTC) + timedelta(minutes=30)
    terms = {"onDeadline": "mass_message", "alternativeText": "Hello everybody.", "deadline": deadline.isoformat()}
    with launcher.env.auto_time_skipping_disabled():
        _, handle = await launcher.campaign(14, compliance="strict", delivery=terms)
        await progress_until(handle, lambda seen: seen.awaiting_review == 12)
    await handle.result()
    return {"campaign-withdrawn": handle.id}


async def unplanned_campaign(launcher: Launcher) -> dict[str, str]:
    """A brief that the provider refuses to plan, until a person says that it is possible now."""
    await launcher.ai.fault("content_filter", dialect="azure", count=2)
    with launcher.env.auto_time_skipping_disabled():
        _, handle = await launcher.campaign(3, brief="Nobody has planned this.")
        await progress_until(handle, lambda seen: seen.plan_awaited is not None)
    await handle.signal(CampaignWorkflow.plan_changed, "planner")
    await handle.result()
    return {"campaign-unplanned": handle.id}


async def recalled_campaign(launcher: Launcher) -> dict[str, str]:
    """A campaign that is taken back while it runs."""
    with launcher.env.auto_time_skipping_disabled():
        record, handle = await launcher.campaign(14)
        await progress_until(handle, lambda seen: seen.sent == 10)
        await launcher.recall(record.campaign_id)
    return {"recall": recall_workflow_id(record.campaign_id)}


async def long_campaign(launcher: Launcher) -> dict[str, str]:
    """The last run of a campaign that was continued as new."""
    _, handle = await launcher.campaign(16, pages_per_run=2)
    await handle.result()
    return {"campaign-continued": handle.id}


async def generation(launcher: Launcher) -> dict[str, str]:
    """A single-shot request."""
    record = await launcher.store(intent(1, type="message_generation"))
    request = GenerationInput(
        campaign_id=record.campaign_id,
        request_id=record.request_id,
        owner=record.owner,
        trace_id="trace",
        type=record.type,
    )
    workflow_id = generation_workflow_id(record.campaign_id)
    await launcher.env.client.execute_workflow(
        GenerationWorkflow.run, request, id=workflow_id, task_queue=ORCHESTRATION
    )
    return {"generation": workflow_id}


async def rollout(launcher: Launcher) -> dict[str, str]:
    """People pause, resume and promote it, and have it rolled back step by step, with a recall."""
    handle = await _rollout(launcher, "rolled-back", looks_per_run=400)
    with launcher.env.auto_time_skipping_disabled():
        await handle.execute_update("begun")
        await handle.signal(RolloutWorkflow.pause)
        await handle.execute_update("resume")
        await handle.execute_update("promote")
    await launcher.env.sleep(90)
    await handle.signal("rollback", {"gradual": True, "recall": True, "reason": "support calls"})
    await handle.result()
    return {"rollout-rolled-back": handle.id}


async def continued_rollout(launcher: Launcher) -> dict[str, str]:
    """The last run of a rollout that was continued as new."""
    handle = await _rollout(launcher, "continued", looks_per_run=3)
    await launcher.env.sleep(200)
    await handle.signal(RolloutWorkflow.rollback)
    await handle.result()
    return {"rollout-continued": handle.id}


async def _rollout(
    launcher: Launcher, flag: str, *, looks_per_run: int
) -> WorkflowHandle[RolloutWorkflow, RolloutReport]:
    config = FlagConfig(name=flag, enabled=True)
    new = changed(None, config, actor="olga", at=datetime.now(UTC), reason="for a rollout")
    await launcher.ports.flag_store.put(new.flag, new.entry)
    request = RolloutRequest(flag=flag, bake_seconds=60, reason="the new system")
    return await launcher.env.client.start_workflow(
        RolloutWorkflow.run,
        RolloutRun(request=request, started_by="olga", looks_per_run=looks_per_run),
        id=rollout_workflow_id(flag),
        task_queue=ORCHESTRATION,
    )


SCENARIOS: tuple[Callable[[Launcher], Awaitable[dict[str, str]]], ...] = (
    throttled_campaign,
    reviewed_campaign,
    steered_campaign,
    expired_campaign,
    cancelled_campaign,
    late_campaign,
    withdrawn_campaign,
    unplanned_campaign,
    recalled_campaign,
    long_campaign,
    generation,
    rollout,
    continued_rollout,
)


async def record(names: frozenset[str]) -> None:
    """Run every scenario on a stack of its own and write the histories, all or those named."""
    with TemporaryDirectory() as directory:
        options = StackOptions(directory=Path(directory), parts=INFRASTRUCTURE | SIMULATORS, migrate=_migrate)
        async with Stack(options) as stack, AsyncExitStack() as opened:
            settings = Settings(page_size=PAGE_SIZE)
            ports = await opened.enter_async_context(open_ports(settings))
            onlyfans, ai = [
                Simulator(url, await opened.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False)))
                for url in (stack.env["HUNTAZE_ONLYFANS_BASE_URL"], stack.env["AZURE_OPENAI_ENDPOINT"])
            ]
            for scenario in SCENARIOS:
                async with launching(ports, settings, onlyfans, ai) as launcher:
                    for name, workflow_id in (await scenario(launcher)).items():
                        if not names or name in names:
                            history = await launcher.env.client.get_workflow_handle(workflow_id).fetch_history()
                            # A stack trace names where the recording machine has its checkout.
                            told = history.to_json().replace(f"{CHECKOUT}/", "")
                            (HISTORIES / f"{name}.json").write_text(told + "\n")
                            print(f"{name}: {len(history.events)} events")  # noqa: T201


async def _migrate(env: Mapping[str, str]) -> None:
    wanted = child_environment(env)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
    async with open_tables(Settings()) as tables:
        await tables.migrate()


if __name__ == "__main__":
    asyncio.run(record(frozenset(sys.argv[1:])))
