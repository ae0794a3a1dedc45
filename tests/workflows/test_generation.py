"""Single-shot requests: what their caller learns when models answer, when they don't, and when nobody can."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from activities.attempt import Known
from domain.campaign import CampaignRecord, CampaignStatus, GenerationInput, generation_workflow_id
from domain.errors import ErrorType, ProviderFault
from domain.progress import WorkflowResult
from domain.provider import FallbackReason, IntentType
from domain.routing import CACHE, RouteReason
from tests.workflows.launcher import Launcher, intent
from workflows.policies import ORCHESTRATION
from workflows.provider import GenerationWorkflow


async def generate(launcher: Launcher, record: CampaignRecord) -> WorkflowResult:
    """The answer to a stored request."""
    result: WorkflowResult = await launcher.env.client.execute_workflow(
        GenerationWorkflow.run,
        GenerationInput(
            campaign_id=record.campaign_id,
            request_id=record.request_id,
            owner=record.owner,
            trace_id="trace",
            type=record.type,
        ),
        id=generation_workflow_id(record.campaign_id),
        task_queue=ORCHESTRATION,
    )
    return result


async def planning(launcher: Launcher, brief: str, **changes: Any) -> CampaignRecord:
    return await launcher.store(intent(0, type="content_planning", brief=brief, **changes))


async def test_a_plan_from_the_cache_counts_as_cached_and_costs_nothing(launcher: Launcher) -> None:
    brief = f"A warm hello for {uuid4()}."
    bought = await generate(launcher, await planning(launcher, brief))
    assert (bought.cached, bought.routes[0].reason) == (0, RouteReason.POLICY)
    await launcher.ai.fault("server_error", status=503)
    record = await planning(launcher, brief)
    result = await generate(launcher, record)
    assert (result.cached, result.detailed_costs.total_cost_micros, result.provider) == (1, 0, None)
    (route,) = result.routes
    assert (route.intent, route.target, route.reason, route.answers) == (
        IntentType.CONTENT_PLANNING,
        CACHE,
        RouteReason.CACHED,
        1,
    )
    last = result.fallback_history[-1]
    # The step names the last model that was asked for this plan.
    assert (last.from_provider, last.to, last.reason) == ("openai", CACHE, ProviderFault.TRANSIENT)
    stored = await launcher.ports.campaigns.result(record.campaign_id)
    assert stored is not None
    assert stored.plan is not None


async def test_a_request_that_nobody_could_answer_says_who_was_asked(launcher: Launcher) -> None:
    record = await planning(launcher, f"Nobody has planned this: {uuid4()}", maxCost="0.000001")
    with pytest.raises(WorkflowFailureError):
        await generate(launcher, record)
    stored = await launcher.ports.campaigns.result(record.campaign_id)
    assert stored is not None
    assert (stored.status, stored.error_type, stored.reason) == (
        CampaignStatus.FAILED,
        ErrorType.COST_LIMIT_EXCEEDED,
        "cost_limit_exceeded",
    )
    assert [(step.model, step.to, step.reason) for step in stored.fallback_history] == [
        ("gpt-4o", "openai/gpt-4.1-nano", FallbackReason.BUDGET),
        ("gpt-4.1-nano", "none", FallbackReason.BUDGET),
    ]
    known = await launcher.ports.campaigns.get(record.campaign_id)
    assert known is not None
    assert known.status is CampaignStatus.FAILED


async def test_an_attempt_that_fails_says_that_none_of_its_calls_is_under_way(launcher: Launcher) -> None:
    client, brief = launcher.env.client, f"Nobody plans this now: {uuid4()}"
    await launcher.ai.fault("server_error", status=503, only_contains=brief)
    answering = asyncio.create_task(generate(launcher, record := await planning(launcher, brief)))
    handle = client.get_workflow_handle(generation_workflow_id(record.campaign_id))
    told: list[object] = []
    async with asyncio.timeout(60):
        while len(told) < 2:
            await asyncio.sleep(0.05)
            with suppress(RPCError):
                for pending in (await handle.describe()).raw_description.pending_activities:
                    told = await client.data_converter.decode(list(pending.heartbeat_details.payloads))
    known = Known.model_validate(told[1])
    assert (known.attempt >= 1, known.running_s) == (True, 0)
    await launcher.ai.reset()
    assert (await answering).status is CampaignStatus.COMPLETED


@pytest.mark.parametrize("answers", [True, False])
async def test_a_validation_says_whether_moderation_saw_the_text(launcher: Launcher, answers: bool) -> None:
    if not answers:
        await launcher.ai.fault("server_error", status=503, endpoint="moderations")
    record = await launcher.store(
        intent(0, type="content_validation", brief="", text="A warm hello for spring, lovely.")
    )
    result = await generate(launcher, record)
    assert result.compliance is not None
    assert result.compliance.moderated is answers
