"""A campaign that no model plans waits for a person who does, for as long as that helps."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.alert import AlertKind
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import MessageStatus
from domain.plan import PERSON, GeneralTextRequest, PlanRequest
from domain.progress import CampaignProgress
from tests.workflows.launcher import Handle, Launcher, progress_until
from workflows.campaign import CampaignWorkflow

S = MessageStatus
GENERAL = "The new set is up, in all the colours of spring. Have a look!"
WRITTEN = PlanRequest(
    theme="Spring",
    tone="calm",
    angle="behind the scenes",
    call_to_action="Have a look.",
    general_texts=(GeneralTextRequest(language="en", text=GENERAL),),
)
HOURS = 72
TEXT = "Hello everybody, the new set is here."

Unplanned = Callable[..., Awaitable[tuple[CampaignRecord, Handle, CampaignProgress]]]


@pytest.fixture
def refused(launcher: Launcher) -> Unplanned:
    """A campaign whose brief Azure refuses to plan, when it has begun to wait for a person."""

    async def start(brief: str = "", **changes: Any) -> tuple[CampaignRecord, Handle, CampaignProgress]:
        brief = brief or f"Nobody has planned this: {uuid4()}"
        # The question and its tamer wording, whoever else asks for something meanwhile.
        await launcher.ai.fault("content_filter", dialect="azure", count=2, only_contains=brief)
        return await waiting(launcher, brief=brief, **changes)

    return start


async def waiting(launcher: Launcher, **changes: Any) -> tuple[CampaignRecord, Handle, CampaignProgress]:
    with launcher.env.auto_time_skipping_disabled():
        record, handle = await launcher.campaign(3, **{"brief": f"Nobody has planned this: {uuid4()}", **changes})
        progress = await progress_until(handle, lambda seen: seen.plan_awaited is not None)
    return record, handle, progress


async def write(launcher: Launcher, record: CampaignRecord, handle: Handle) -> None:
    await launcher.ports.campaigns.save_plan(record.campaign_id, WRITTEN.plan("ana", datetime.now(UTC)))
    await handle.signal(CampaignWorkflow.plan_changed, "ana")


class TestARefusedPlan:
    async def test_is_awaited_from_a_person_and_says_so(self, launcher: Launcher, refused: Unplanned) -> None:
        record, handle, progress = await refused()
        assert progress.plan_awaited is not None
        assert progress.plan_awaited.reason == "compliance_violation"
        assert progress.plan_awaited.expires_at - progress.plan_awaited.since <= timedelta(hours=HOURS)
        assert [step.to for step in progress.fallback_history] == ["rewrite", "none", "review"]
        raised = await launcher.ports.alerts.since(record.created_at)
        awaited = [each.detail for each in raised if each.kind is AlertKind.PLAN_AWAITED]
        assert len([detail for detail in awaited if record.campaign_id in detail]) == 1
        await handle.terminate()

    async def test_that_a_person_writes_is_followed(self, launcher: Launcher, refused: Unplanned) -> None:
        record, handle, _ = await refused()
        await write(launcher, record, handle)
        result = await handle.result()
        assert (result.status, result.outcomes) == (CampaignStatus.COMPLETED, {S.SENT: 3})
        # Only the plan was refused, and nobody else was asked for it.
        assert {step.purpose for step in result.fallback_history} == {"plan"}
        assert {message.text for message in await launcher.messages(record)}.isdisjoint({GENERAL})

    async def test_that_nobody_writes_fails_the_campaign_when_the_review_is_over(
        self, launcher: Launcher, refused: Unplanned
    ) -> None:
        record, handle, _ = await refused(review={"expiresAfterHours": 5})
        result = await handle.result()
        assert (result.status, result.reason) == (CampaignStatus.FAILED, "compliance_violation")
        assert result.outcomes == {S.SKIPPED: 3}
        description = await handle.describe()
        assert description.close_time is not None
        assert description.close_time - description.start_time >= timedelta(hours=5)
        assert await launcher.counts(record) == {S.SKIPPED: 3}

    async def test_is_asked_for_again_when_somebody_says_that_it_is_possible_now(self, refused: Unplanned) -> None:
        _, handle, _ = await refused()
        await handle.signal("plan_changed")
        assert (await handle.result()).outcomes == {S.SENT: 3}

    async def test_is_found_although_the_campaign_was_not_told(self, launcher: Launcher, refused: Unplanned) -> None:
        record, handle, _ = await refused()
        await launcher.ports.campaigns.save_plan(record.campaign_id, WRITTEN.plan("ana", datetime.now(UTC)))
        assert (await handle.result()).outcomes == {S.SENT: 3}

    async def test_that_the_models_refuse_to_follow_leaves_its_general_text(
        self, launcher: Launcher, refused: Unplanned
    ) -> None:
        record, handle, _ = await refused()
        await launcher.ai.fault("content_filter", endpoint="chat", count=20)
        await write(launcher, record, handle)
        assert (await handle.result()).outcomes == {S.SENT: 3}
        assert {message.text for message in await launcher.messages(record)} == {GENERAL}

    async def test_is_not_taken_from_what_another_provider_planned_before(
        self, launcher: Launcher, refused: Unplanned
    ) -> None:
        brief = f"Planned by another one: {uuid4()}"
        await launcher.ai.fault("server_error", status=503, dialect="azure", count=2, only_contains=brief)
        _, handle = await launcher.campaign(3, brief=brief)
        assert (await handle.result()).outcomes == {S.SENT: 3}
        _, handle, progress = await refused(brief=brief)
        assert progress.plan_awaited is not None
        await handle.terminate()

    async def test_can_be_cancelled(self, refused: Unplanned) -> None:
        _, handle, _ = await refused()
        await handle.signal("cancel")
        result = await handle.result()
        assert (result.status, result.outcomes) == (CampaignStatus.CANCELLED, {S.CANCELLED: 3})

    async def test_is_not_awaited_after_the_messages_have_expired(self, refused: Unplanned) -> None:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        _, handle, progress = await refused(delivery={"expiresAt": expires_at.isoformat()})
        assert progress.plan_awaited is not None
        assert progress.plan_awaited.expires_at == expires_at
        result = await handle.result()
        assert (result.status, result.reason) == (CampaignStatus.COMPLETED, "expired")
        assert result.outcomes == {S.SKIPPED: 3}

    async def test_is_not_awaited_after_the_deadline_whose_alternative_needs_none(
        self, launcher: Launcher, refused: Unplanned
    ) -> None:
        deadline = datetime.now(UTC) + timedelta(hours=1)
        terms = {"onDeadline": "mass_message", "alternativeText": TEXT, "deadline": deadline.isoformat()}
        record, handle, _ = await refused(delivery=terms)
        result = await handle.result()
        assert (result.status, result.outcomes) == (CampaignStatus.COMPLETED, {S.SENT: 3})
        assert {message.text for message in await launcher.messages(record)} == {TEXT}


class TestAPlanThatNoBudgetPays:
    async def test_can_be_a_persons_whose_general_text_costs_nothing(self, launcher: Launcher) -> None:
        record, handle, progress = await waiting(launcher, maxCost="0.000001")
        assert progress.plan_awaited is not None
        assert progress.plan_awaited.reason == "cost_limit_exceeded"
        await write(launcher, record, handle)
        result = await handle.result()
        assert (result.outcomes, result.detailed_costs.total_cost_micros, result.cached) == ({S.SENT: 3}, 0, 3)
        messages = await launcher.messages(record)
        assert {message.text for message in messages} == {GENERAL}
        assert {message.origin.provider for message in messages if message.origin} == {PERSON}

    async def test_is_not_awaited_where_the_campaign_is_to_stop(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            _, handle = await launcher.campaign(
                3, maxCost="0.000001", onBudget="stop", brief=f"Nobody has planned this: {uuid4()}"
            )
            result = await handle.result()
        assert (result.status, result.reason) == (CampaignStatus.COMPLETED, "cost_limit_exceeded")
        assert result.outcomes == {S.SKIPPED: 3}


class TestAnOutage:
    async def test_is_over_for_a_campaign_when_a_person_plans_it(self, launcher: Launcher) -> None:
        await launcher.ai.fault("server_error", status=503, endpoint="chat")
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(3, brief=f"Nobody has planned this: {uuid4()}")
            await launcher.ports.campaigns.save_plan(record.campaign_id, WRITTEN.plan("ana", datetime.now(UTC)))
        assert (await handle.result()).outcomes == {S.SENT: 3}
        assert {message.text for message in await launcher.messages(record)} == {GENERAL}

    async def test_lasts_until_the_deadline_at_most(self, launcher: Launcher) -> None:
        await launcher.ai.fault("server_error", status=503, endpoint="chat")
        deadline = datetime.now(UTC) + timedelta(hours=2)
        terms = {"onDeadline": "skip", "deadline": deadline.isoformat()}
        _, handle = await launcher.campaign(
            3, brief=f"Nobody has planned this: {uuid4()}", delivery=terms, review={"expiresAfterHours": 1}
        )
        result = await handle.result()
        assert (result.status, result.outcomes) == (CampaignStatus.COMPLETED, {S.SKIPPED: 3})
        assert [alternative.recipients for alternative in result.alternatives] == [3]

    async def test_lasts_until_the_messages_expire_at_most(self, launcher: Launcher) -> None:
        await launcher.ai.fault("server_error", status=503, endpoint="chat")
        terms = {"expiresAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        _, handle = await launcher.campaign(3, brief=f"Nobody has planned this: {uuid4()}", delivery=terms)
        result = await handle.result()
        assert (result.status, result.reason) == (CampaignStatus.COMPLETED, "expired")
