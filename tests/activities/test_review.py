"""Carrying out a decision by itself, and what experiments learn from it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.review import ReviewActivities, ReviewedPage
from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.compliance import check
from domain.delivery import Message, MessageOrigin, MessageReview, MessageStatus, message_id
from domain.experiment import ArmTotals, Metric
from domain.lane import PageDrafted
from domain.provider import ContentPlan
from domain.review import Decision, EditRequest, Verdict, edited
from tests.domain.builders import a_message
from tests.workflows.launcher import intent

S = MessageStatus
ARM = "cheaper"


class Reviewing:
    """One page of drafts that an arm of an experiment wrote."""

    def __init__(self, ports: Ports, drafts: list[Message], experiment: str) -> None:
        self._ports = ports
        self.drafts = drafts
        self.experiment = experiment

    async def decide(self, verdict: Verdict | None, *named: Message, at: datetime | None = None) -> PageDrafted:
        """Carry out a decision that was made at a moment, else now; without a verdict the page is only read."""
        decision = None
        if verdict is not None:
            ids = tuple(message.message_id for message in named)
            decided_at = at or datetime.now(UTC)
            decision = Decision(verdict=verdict, decided_by="luna", decided_at=decided_at, messages=ids)
        first = self.drafts[0]
        request = ReviewedPage(campaign_id=first.campaign_id, account_id=first.account_id, page=0, decision=decision)
        activities = ReviewActivities(self._ports.campaigns, self._ports.messages, self._ports.experiments)
        found: PageDrafted = await ActivityEnvironment().run(activities.decide_page, request)
        return found

    async def edit(self, message: Message, *, approve: bool) -> None:
        """As the API does."""
        change = EditRequest(text="Hello Maya, would you like a preview?", approve=approve)
        review = MessageReview(decided_by="ana", decided_at=datetime.now(UTC))
        assert await self._ports.messages.edit(edited(message, change, check(change.text), 0.5, review))

    async def observed(self) -> list[ArmTotals]:
        """What was observed, by arm."""
        return list(await self._ports.experiments.results(self.experiment))

    async def satisfaction(self) -> tuple[int, float | None]:
        """How many decisions were observed, and their mean."""
        (arm,) = await self.observed()
        found = arm.metrics[Metric.SATISFACTION]
        return found.count, found.mean


@pytest.fixture
async def reviewing(ports: Ports, settings: Settings) -> Reviewing:
    caller = Principal(user_id=f"owner-{uuid4()}", role=Role.ADMIN)
    wanted = intent(3, compliance="strict")
    record, _ = await accept(wanted, str(uuid4()), caller, ports, settings, datetime.now(UTC))
    account, campaign = record.lanes[0].account_id, record.campaign_id
    audience = await ports.campaigns.audience_page(campaign, account, 0)
    experiment = f"cheaper-writer-{uuid4().hex[:8]}"
    origin = MessageOrigin(
        provider="openai", model="gpt-4o-mini", prompt_version="write.v2", experiment=experiment, arm=ARM
    )
    drafts = [
        a_message(
            campaign,
            who.recipient_id,
            account_id=account,
            message_id=message_id(campaign, account, who.recipient_id),
            origin=origin,
        )
        for who in audience.recipients
    ]
    await ports.messages.create_many(drafts)
    return Reviewing(ports, drafts, experiment)


async def test_the_moment_of_a_decision_is_when_it_was_made(reviewing: Reviewing, ports: Ports) -> None:
    """Not when a worker came to carry it out, or when the page existed that it is about."""
    first, second, _ = reviewing.drafts
    made = datetime.now(UTC) - timedelta(hours=1)
    await reviewing.decide(Verdict.APPROVE, first, at=made)
    await reviewing.decide(Verdict.REJECT, second, at=made)
    ids = [first.message_id, second.message_id]
    stored = await ports.messages.get_many(first.campaign_id, ids)
    assert [each.review and each.review.decided_at for each in stored.values()] == [made, made]
    approved = stored[first.message_id].origin
    assert approved is not None
    assert (approved.approved_by, approved.approved_at) == ("luna", made)


async def test_what_became_of_the_drafts_is_observed_however_often_it_is_carried_out(reviewing: Reviewing) -> None:
    first, second, third = reviewing.drafts
    await reviewing.edit(first, approve=False)
    for _ in range(2):
        await reviewing.decide(Verdict.REJECT, third)
        found = await reviewing.decide(Verdict.APPROVE, first, second)
    assert (found.ready, found.counts) == (2, {S.REJECTED: 1})
    assert await reviewing.satisfaction() == (3, 0.5)


async def test_the_first_decision_speaks_for_the_plan(reviewing: Reviewing, ports: Ports) -> None:
    first, second, third = reviewing.drafts
    plan = ContentPlan(
        theme="t", tone="t", angle="a", call_to_action="c", experiment=f"plans-{reviewing.experiment}", arm="azure"
    )
    await ports.campaigns.save_plan(first.campaign_id, plan)
    await reviewing.decide(Verdict.APPROVE, first)
    await reviewing.decide(Verdict.REJECT, second, third)
    (arm,) = await ports.experiments.results(plan.experiment)
    assert (arm.arm, arm.metrics[Metric.SATISFACTION].count, arm.metrics[Metric.SATISFACTION].mean) == ("azure", 1, 1.0)


@pytest.mark.parametrize("verdict", [None, Verdict.REJECT])
async def test_an_approval_that_came_with_an_edit_is_observed_by_the_first_to_read_the_page(
    reviewing: Reviewing, verdict: Verdict | None
) -> None:
    first, second, _ = reviewing.drafts
    await reviewing.edit(first, approve=True)
    await reviewing.decide(verdict, second)
    assert await reviewing.satisfaction() == ((1, 0.5) if verdict is None else (2, 0.25))


async def test_what_was_stored_before_a_crash_is_observed_by_the_next_attempt(
    reviewing: Reviewing, ports: Ports
) -> None:
    review = MessageReview(decided_by="luna", decided_at=datetime.now(UTC))
    await ports.messages.decide(reviewing.drafts, S.APPROVED, reason="", review=review, now=datetime.now(UTC))
    assert await reviewing.observed() == []
    await reviewing.decide(Verdict.APPROVE)
    assert await reviewing.satisfaction() == (3, 1.0)


async def test_what_was_not_carried_out_is_not_observed(reviewing: Reviewing, ports: Ports) -> None:
    ids = [message.message_id for message in reviewing.drafts]
    await ports.messages.transition(reviewing.drafts[0].campaign_id, ids, S.CANCELLED)
    assert (await reviewing.decide(Verdict.APPROVE)).counts == {S.CANCELLED: 3}
    assert await reviewing.observed() == []


async def test_the_clock_is_no_opinion(reviewing: Reviewing) -> None:
    assert (await reviewing.decide(Verdict.EXPIRE)).counts == {S.SKIPPED: 3}
    assert await reviewing.observed() == []
