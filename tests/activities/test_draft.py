"""Drafting a page by itself: whatever the providers do, every recipient gets a message or a person who looks at it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.draft import Inspection
from activities.page import DraftPage, GenerationPorts
from activities.provider import Drafted, ProviderActivities, ReconcileCosts
from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.breaker import BreakerStatus
from domain.campaign import CampaignRecord, OnBudget
from domain.compliance import ComplianceLevel
from domain.cost import CostHold, operation_id
from domain.delivery import Message, MessageStatus, message_id
from domain.progress import Tally
from domain.prompt import Refusal
from domain.provider import Author, ContentPlan, GeneralText, IntentType
from domain.quality import combined, quality_score
from domain.review import AutonomyOptIn
from local.ai.writing import judgement
from tests.local import Simulator
from tests.workflows.launcher import intent
from worker import generation

PLAN = ContentPlan(
    theme="Spring",
    tone="warm",
    angle="new photos",
    call_to_action="have a look",
    general_texts=(
        GeneralText(language="en", text="Hello lovely, the spring set is here and I am curious what you think."),
    ),
)
FANS = 6
SECOND_GROUP = '"recipient_id": "1002"'
"""In the question for the second group of two."""

S = MessageStatus


class Drafting:
    """One campaign of one page."""

    def __init__(self, ports: Ports, generating: GenerationPorts, record: CampaignRecord) -> None:
        self._ports = ports
        self.generating = generating
        self.record = record
        self.beats: list[Tally] = []
        self._last_details: tuple[Any, ...] = ()
        self.environment = ActivityEnvironment()

    async def draft(self, *, page: int = 0, attempt: int = 1, waited_s: float = 0, **changes: Any) -> Drafted:
        """What earlier attempts have told is carried along, as the server does it."""
        carried = [each.model_dump(mode="json", by_alias=True) for each in self._last_details]
        environment = self.environment = ActivityEnvironment()
        environment.on_heartbeat = self._heard
        environment.info = replace(
            environment.info,
            attempt=attempt,
            current_attempt_scheduled_time=environment.info.scheduled_time + timedelta(seconds=waited_s),
            heartbeat_timeout=timedelta(milliseconds=40),
            heartbeat_details=carried,
        )
        account = self.record.lanes[0].account_id
        drafted: Drafted = await environment.run(
            ProviderActivities(replace(self.generating, **changes)).draft_page,
            DraftPage(campaign_id=self.record.campaign_id, account_id=account, page=page),
        )
        return drafted

    def _heard(self, *details: Any) -> None:
        self._last_details = details
        self.beats.append(details[0])

    async def messages(self, page: int = 0) -> list[Message]:
        account = self.record.lanes[0].account_id
        audience = await self._ports.campaigns.audience_page(self.record.campaign_id, account, page)
        ids = [message_id(self.record.campaign_id, account, who.recipient_id) for who in audience.recipients]
        return list((await self._ports.messages.get_many(self.record.campaign_id, ids)).values())

    async def statuses(self) -> dict[tuple[MessageStatus, str], int]:
        found: dict[tuple[MessageStatus, str], int] = {}
        for message in await self.messages():
            key = (message.status, message.reason)
            found[key] = found.get(key, 0) + 1
        return found

    async def spent(self) -> int:
        return (await self._ports.costs.campaign_totals(self.record.campaign_id)).cost_micros


Begin = Callable[..., Awaitable[Drafting]]


async def calls(ai: Simulator, endpoint: str = "chat") -> list[Any]:
    """What reached the provider there, in its order, failed calls included."""
    return list((await ai.get("arrivals", endpoint=endpoint))["arrivals"])


def answers(tally: Tally) -> int:
    """How many of them it says were answered."""
    return sum(route.answers for route in tally.routes)


@pytest.fixture
async def begin(ports: Ports, settings: Settings, ai: Simulator) -> Begin:
    """Starts a planned campaign, relaxed unless told otherwise."""

    async def started(
        *,
        fans: int = FANS,
        plan: ContentPlan = PLAN,
        level: ComplianceLevel = ComplianceLevel.RELAXED,
        max_cost: str | None = None,
        on_budget: str = "degrade",
        **changes: Any,
    ) -> Drafting:
        wanted = intent(fans, compliance=level, **changes).model_copy(
            update={"max_cost": Decimal(max_cost) if max_cost else None, "on_budget": OnBudget(on_budget)}
        )
        await ports.autonomy.put(
            AutonomyOptIn(
                account_id=wanted.only_fans_context.account_id,
                level=ComplianceLevel.RELAXED,
                granted_at=datetime.now(UTC),
            )
        )
        caller = Principal(user_id=f"owner-{uuid4()}", role=Role.OPERATOR)
        record, _ = await accept(wanted, str(uuid4()), caller, ports, settings, datetime.now(UTC))
        await ports.campaigns.save_plan(record.campaign_id, plan)
        return Drafting(ports, generation(ports, settings), record)

    return started


async def test_everybody_gets_a_text_of_their_own(begin: Begin) -> None:
    drafting = await begin()
    drafted = await drafting.draft()
    messages = await drafting.messages()
    assert (drafted.page.ready, len({message.text for message in messages})) == (FANS, FANS)
    origin = messages[0].origin
    assert origin is not None
    assert (origin.provider, origin.model, origin.prompt_version) == ("openai", "gpt-4o-mini", "write.v2")
    assert origin.approved_by == "policy:relaxed"
    assert drafted.cost_micros == await drafting.spent() > 0


async def test_an_outage_is_waited_out_while_there_is_patience(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("server_error", status=503)
    with pytest.raises(ApplicationError) as failed:
        await drafting.draft(patience_s=60)
    assert (failed.value.type, failed.value.non_retryable) == ("provider_unavailable", False)
    assert await drafting.messages() == []


async def test_a_provider_that_asks_for_an_hour_is_asked_again_within_a_minute(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("server_error", status=503, dialect="openai")
    await ai.fault("rate_limited", retry_after_s=3_600, dialect="azure")
    with pytest.raises(ApplicationError) as failed:
        await drafting.draft(patience_s=120)
    assert (failed.value.next_retry_delay, failed.value.non_retryable) == (timedelta(minutes=1), False)


async def test_after_that_fans_get_the_general_text_which_costs_nothing(begin: Begin, ai: Simulator) -> None:
    author = Author(provider="azure", model="gpt-4o", prompt_version="plan.v2")
    drafting = await begin(plan=PLAN.model_copy(update={"author": author}))
    await ai.fault("server_error", status=503, endpoint="chat")
    drafted = await drafting.draft(patience_s=60, waited_s=61)
    messages = await drafting.messages()
    assert {message.text for message in messages} == {PLAN.general_texts[0].text}
    for message in messages:
        assert message.origin is not None
        assert message.origin.cached
        assert (message.origin.provider, message.origin.model) == (author.provider, author.model)
        assert message.origin.prompt_version == author.prompt_version
    assert {message.reason for message in messages} == {"general_text:transient"}
    assert (drafted.tally.cached, await drafting.spent()) == (FANS, 0)
    assert drafted.tally.fallbacks[-1].to == "cache"


async def test_many_with_the_same_words_are_shown_to_a_person(begin: Begin, ai: Simulator) -> None:
    drafting = await begin(fans=3 * FANS)
    await ai.fault("server_error", status=503, endpoint="chat")
    for page in range(3):
        await drafting.draft(page=page, patience_s=0)
    assert {message.status for message in await drafting.messages()} == {S.APPROVED}
    shown = await drafting.messages(page=2)
    assert {message.status for message in shown} == {S.DRAFTED}
    for message in shown:
        assert message.compliance is not None
        assert [violation.rule_id for violation in message.compliance.violations] == ["near-identical-blast"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (ComplianceLevel.STRICT, S.DRAFTED),
        (ComplianceLevel.MODERATE, S.DRAFTED),
        (ComplianceLevel.RELAXED, S.APPROVED),
    ],
)
async def test_texts_that_moderation_did_not_see_say_so_and_moderate_shows_them(
    begin: Begin, ai: Simulator, level: ComplianceLevel, expected: MessageStatus
) -> None:
    await ai.fault("server_error", status=503, endpoint="moderations", count=1)
    drafting = await begin(fans=1, level=level)
    await drafting.draft()
    (unseen,) = await drafting.messages()
    assert unseen.compliance is not None
    assert (unseen.compliance.moderated, unseen.compliance.violations, unseen.status) == (False, (), expected)


async def test_what_moderation_saw_says_so_and_needs_nobody(begin: Begin) -> None:
    drafting = await begin(level=ComplianceLevel.MODERATE)
    await drafting.draft()
    reports = [message.compliance for message in await drafting.messages()]
    assert [report is not None and report.moderated for report in reports] == [True] * FANS
    assert {status for status, _ in await drafting.statuses()} == {S.APPROVED}


async def test_without_a_general_text_a_person_writes(begin: Begin, ai: Simulator) -> None:
    drafting = await begin(plan=PLAN.model_copy(update={"general_texts": ()}))
    await ai.fault("server_error", status=503, endpoint="chat")
    drafted = await drafting.draft(patience_s=0)
    assert await drafting.statuses() == {(S.DRAFTED, "manual_review:transient"): FANS}
    assert (drafted.page.unwritten, drafted.page.awaiting) == (FANS, 0)


@pytest.mark.parametrize(
    "text",
    ["The spring set is here. I made it for Maya, and for you.", "the spring set is here, i made it for maya"],
)
async def test_a_general_text_that_names_somebody_reaches_nobody(begin: Begin, ai: Simulator, text: str) -> None:
    plan = PLAN.model_copy(update={"general_texts": (GeneralText(language="en", text=text),)})
    drafting = await begin(plan=plan, brief="Spring; thank you, maya.")
    assert drafting.record.named == ("maya",)
    await ai.fault("server_error", status=503, endpoint="chat")
    await drafting.draft(patience_s=0)
    assert await drafting.statuses() == {(S.DRAFTED, "manual_review:transient"): FANS}


async def test_a_refusal_on_policy_goes_to_a_person_and_to_no_other_provider(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("content_filter", dialect="openai")
    await drafting.draft()
    assert await drafting.statuses() == {(S.DRAFTED, "manual_review:content_policy"): FANS}
    assert not [call for call in (await ai.get("calls"))["calls"] if call["dialect"] == "azure"]


async def test_what_is_too_long_for_one_call_is_asked_for_in_parts(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("context_length", only_contains='"recipients": [{', unless_contains="nobody", count=2)
    drafted = await drafting.draft(messages_per_call=6, concurrency=1)
    assert drafted.page.ready == FANS


async def test_a_part_that_was_written_is_kept_when_the_other_one_fails(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("context_length", only_contains='"recipients": [{', count=2)
    await ai.fault("server_error", status=503, endpoint="chat", only_contains=f'"recipient_id": "{999 + FANS}"')
    with pytest.raises(ApplicationError):
        await drafting.draft(messages_per_call=FANS, patience_s=60)
    assert await drafting.statuses() == {(S.APPROVED, ""): FANS // 2}


async def test_a_cancelled_page_begins_no_further_part(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("latency", endpoint="chat", latency_ms=300)
    await ai.fault("context_length", only_contains='"recipients": [{', count=2)
    page = asyncio.create_task(drafting.draft(messages_per_call=FANS))
    while not await calls(ai):
        await asyncio.sleep(0.01)
    drafting.environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await page
    assert len(await calls(ai)) == 1
    assert await drafting.messages() == []


async def test_a_cancelled_page_asks_nobody_else(begin: Begin, ai: Simulator) -> None:
    drafting = await begin()
    await ai.fault("hang", endpoint="chat", dialect="openai")
    limits = replace(drafting.generating.ladder, call_timeout_s=1.0)
    page = asyncio.create_task(drafting.draft(messages_per_call=FANS, ladder=limits))
    while not await calls(ai):
        await asyncio.sleep(0.01)
    drafting.environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await page
    assert [call["dialect"] for call in await calls(ai)] == ["openai"]
    assert await drafting.messages() == []


async def test_what_was_refused_for_some_is_not_refused_for_others(begin: Begin, ports: Ports, ai: Simulator) -> None:
    drafting = await begin()
    lane = drafting.record.lanes[0].account_id
    page = await ports.campaigns.audience_page(drafting.record.campaign_id, lane, 0)
    first, second = (who.recipient_id for who in page.recipients[:2])
    steps = [operation_id(drafting.record.campaign_id, f"write/{lane}/0", who) for who in (first, second)]
    target = "openai/gpt-4o-mini"
    known = {steps[0]: Refusal(target=target, reworded=True), steps[1]: Refusal(target=target)}
    await ports.refusals.keep(drafting.record.campaign_id, known)
    at_once = replace(drafting.generating.ladder, call_timeout_s=0.5)
    await drafting.draft(messages_per_call=FANS, attempt=2, ladder=at_once)
    found = {each.recipient_id: each for each in await drafting.messages()}
    assert found.pop(first).reason == "manual_review:content_policy"
    versions = {who: each.origin.prompt_version for who, each in found.items() if each.origin is not None}
    assert versions.pop(second).endswith("/safe")
    assert set(versions.values()) == {"write.v2"}
    assert len(await calls(ai)) == 2


class TestMoney:
    async def test_when_it_runs_out_fans_get_general_texts(self, begin: Begin) -> None:
        drafting = await begin(max_cost="0.000001")
        drafted = await drafting.draft()
        assert {message.reason for message in await drafting.messages()} == {"general_text:budget:request"}
        assert (await drafting.spent(), drafted.stopped) == (0, "")

    async def test_or_nothing_at_all_where_that_was_asked_for(self, begin: Begin) -> None:
        drafting = await begin(max_cost="0.000001", on_budget="stop")
        drafted = await drafting.draft(messages_per_call=1, concurrency=2)
        assert drafted.stopped == "cost_limit_exceeded"
        assert await drafting.statuses() == {(S.SKIPPED, "cost_limit_exceeded"): FANS}

    async def test_it_is_never_overdrawn(self, begin: Begin) -> None:
        drafting = await begin(max_cost="0.000700")
        await drafting.draft(messages_per_call=1)
        assert 0 < await drafting.spent() <= 700


class TestAgain:
    async def test_only_what_is_missing_is_written(self, begin: Begin, ai: Simulator) -> None:
        drafting = await begin()
        await ai.fault("server_error", status=503, endpoint="chat", only_contains=SECOND_GROUP)
        with pytest.raises(ApplicationError):
            await drafting.draft(messages_per_call=2, concurrency=1, patience_s=60)
        before = {message.message_id: message.text for message in await drafting.messages()}
        assert len(before) == FANS - 2
        await ai.http.delete("/_control/faults")
        asked, moderated = len(await calls(ai)), len(await calls(ai, "moderations"))
        await drafting.draft(messages_per_call=2, concurrency=1, attempt=2, patience_s=60)
        after = {message.message_id: message.text for message in await drafting.messages()}
        assert len(after) == FANS
        assert before.items() <= after.items()
        assert len(await calls(ai)) == asked + 1
        assert len(await calls(ai, "moderations")) == moderated + 1

    async def test_what_happened_until_the_last_heartbeat_is_not_forgotten(self, begin: Begin, ai: Simulator) -> None:
        drafting = await begin()
        await ai.fault("hang", endpoint="chat", only_contains=SECOND_GROUP)
        with pytest.raises(ApplicationError):
            await drafting.draft(
                messages_per_call=2,
                concurrency=1,
                patience_s=60,
                ladder=replace(drafting.generating.ladder, call_timeout_s=0.3),
            )
        last = drafting.beats[-1]
        # The first group was written before the second one was waited for.
        assert answers(last) >= 1
        assert last.fallback_count >= 1
        await ai.http.delete("/_control/faults")
        drafted = await drafting.draft(messages_per_call=2, attempt=2, patience_s=60)
        assert drafted.page.ready == FANS
        assert answers(drafted.tally) == answers(last) + 1
        assert drafted.tally.fallbacks[: last.fallback_count] == last.fallbacks
        assert drafted.tally.fallback_count == last.fallback_count

    async def test_nothing_is_bought_twice(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        drafting = await begin()
        await ai.fault("connection_reset", bill=True)
        with pytest.raises(ApplicationError):
            await drafting.draft(patience_s=60)
        await ai.http.delete("/_control/faults")
        bought = len((await ai.get("usage"))["requests"])
        drafted = await drafting.draft(attempt=2, patience_s=60)
        assert drafted.page.ready == FANS
        book = (await ai.get("usage"))["requests"]
        assert len(book) == bought
        assert (await ports.costs.campaign_totals(drafting.record.campaign_id)).calls == bought

    async def test_nor_is_the_other_part_of_a_group_that_was_too_long(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        drafting = await begin()
        await ai.fault("context_length", only_contains='"recipients": [{', count=2)
        await ai.fault("connection_reset", bill=True, only_contains=f'"recipient_id": "{999 + FANS}"')
        with pytest.raises(ApplicationError):
            await drafting.draft(messages_per_call=FANS, patience_s=60)
        assert len(await drafting.messages()) == FANS // 2
        await ai.http.delete("/_control/faults")
        bought = len((await ai.get("usage"))["requests"])
        drafted = await drafting.draft(messages_per_call=FANS, attempt=2, patience_s=60)
        assert drafted.page.ready == FANS
        assert len((await ai.get("usage"))["requests"]) == bought


class TestJudge:
    """A model that reads each text as well, where that is wanted."""

    @pytest.fixture
    def judging(self, begin: Begin, ports: Ports) -> Begin:
        async def started(**changes: Any) -> Drafting:
            drafting = await begin(**changes)
            inspection = Inspection(ports.similarity, ports.prompts, ports.moderator, judged=True)
            drafting.generating = replace(drafting.generating, inspection=inspection)
            return drafting

        return started

    async def test_its_points_count_and_each_is_paid_for(self, judging: Begin, ports: Ports, ai: Simulator) -> None:
        drafting = await judging()
        drafted = await drafting.draft(messages_per_call=FANS)
        prompts = ports.prompts
        for message, name in await self.named(drafting):
            points = judgement(prompts.judge(text=message.text, brief=drafting.record.brief).user)["score"]
            assert message.quality == combined(quality_score(message.text, name), points / 100)
        totals = await ports.costs.campaign_totals(drafting.record.campaign_id)
        assert totals.calls == len((await ai.get("usage"))["requests"]) == 1 + FANS
        assert (totals.held_micros, drafted.cost_micros) == (0, totals.cost_micros)
        asked = {route.intent: route.answers for route in drafted.tally.routes}
        assert asked == {IntentType.MESSAGE_GENERATION: 1, IntentType.CONTENT_VALIDATION: FANS}

    async def test_a_text_after_a_persons_plan_is_held_against_that_plan(self, judging: Begin, ports: Ports) -> None:
        plan = PLAN.model_copy(update={"written_by": "ana"})
        drafting = await judging(plan=plan)
        await drafting.draft(messages_per_call=FANS)
        for message, name in await self.named(drafting):
            points = judgement(ports.prompts.judge(text=message.text, brief=plan.in_short).user)["score"]
            assert message.quality == combined(quality_score(message.text, name), points / 100)

    @pytest.mark.parametrize("fault", [{"kind": "server_error", "status": 503}, {"kind": "malformed_json"}])
    async def test_without_its_answer_the_cheap_score_stands(
        self, judging: Begin, ai: Simulator, fault: dict[str, Any]
    ) -> None:
        drafting = await judging()
        await ai.fault(**fault, only_contains="You judge one direct message")
        drafted = await drafting.draft(messages_per_call=FANS)
        assert drafted.page.ready == FANS
        assert drafted.tally.fallback_count > 0
        for message, name in await self.named(drafting):
            assert message.quality == quality_score(message.text, name)

    async def test_without_money_it_is_not_asked(self, judging: Begin, ai: Simulator) -> None:
        drafting = await judging(max_cost="0.000001")
        await drafting.draft()
        assert await calls(ai) == []
        for message, name in await self.named(drafting):
            assert message.text
            assert message.quality == quality_score(message.text, name)

    async def named(self, drafting: Drafting) -> list[tuple[Message, str]]:
        """The messages with their recipients' names."""
        found = [(message, f"Maya{int(message.recipient_id) - 1000}") for message in await drafting.messages()]
        assert len(found) == FANS
        return found


async def test_what_was_paid_for_and_never_arrived_is_found_at_the_end(
    begin: Begin, ports: Ports, ai: Simulator
) -> None:
    drafting = await begin()
    await ai.fault("connection_reset", endpoint="chat", bill=True, count=3)
    drafted = await drafting.draft(patience_s=0)
    assert drafted.tally.unresolved == 3
    book = (await ai.get("usage"))["requests"]
    assert (await ports.costs.campaign_totals(drafting.record.campaign_id)).calls == len(book)
    activities = ProviderActivities(drafting.generating)
    request = ReconcileCosts(campaign_id=drafting.record.campaign_id)
    assert (await ActivityEnvironment().run(activities.reconcile, request)).found == 0


async def test_what_the_end_of_a_campaign_finds_is_booked_once(begin: Begin, ports: Ports, ai: Simulator) -> None:
    drafting = await begin()
    # Neither the page nor its repetition can ask what was kept.
    await ai.fault("server_error", status=503, endpoint="stored")
    await ai.fault("connection_reset", endpoint="chat", bill=True, count=3)
    await drafting.draft(patience_s=0)
    await ai.http.delete("/_control/faults")
    activities = ProviderActivities(drafting.generating)
    request = ReconcileCosts(campaign_id=drafting.record.campaign_id)
    assert (await ActivityEnvironment().run(activities.reconcile, request)).found == 3
    assert (await ActivityEnvironment().run(activities.reconcile, request)).found == 0
    totals = await ports.costs.campaign_totals(drafting.record.campaign_id)
    assert totals.calls == len((await ai.get("usage"))["requests"])


async def test_an_owner_who_wants_to_see_everything_again_does(begin: Begin, ports: Ports) -> None:
    drafting = await begin()
    account = drafting.record.lanes[0].account_id
    await ports.autonomy.put(AutonomyOptIn(account_id=account, granted_at=datetime.now(UTC)))
    await drafting.draft()
    assert await drafting.statuses() == {(S.DRAFTED, "awaiting_review"): FANS}


@pytest.mark.parametrize(
    ("overdue", "breaker_open", "asked"), [(False, False, False), (True, False, True), (True, True, False)]
)
async def test_a_page_looks_for_lost_answers_only_where_it_can_learn_something(
    begin: Begin, ports: Ports, ai: Simulator, overdue: bool, breaker_open: bool, asked: bool
) -> None:
    """What is held since an earlier page: not before it can be settled, and not while nobody answers there."""
    drafting, now = await begin(), datetime.now(UTC)
    target = "azure/gpt-4o"
    hold = CostHold(
        operation_id=uuid4(),
        campaign_id=drafting.record.campaign_id,
        owner=drafting.record.owner,
        target=target,
        micros=5,
        at=now - timedelta(minutes=5),
        settles_at=now + timedelta(minutes=-1 if overdue else 1),
    )
    await ports.costs.hold(hold)
    if breaker_open:
        while (await ports.breaker.views([target]))[0].status is not BreakerStatus.OPEN:
            await ports.breaker.failed(target, await ports.breaker.admit(target))
    await drafting.draft()
    listed = (await ai.get("arrivals", endpoint="stored"))["arrivals"]
    assert bool(listed) is asked
    assert (await ports.costs.campaign_totals(hold.campaign_id)).held_micros == (0 if asked else hold.micros)
