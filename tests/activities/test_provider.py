"""A single answer by itself: where its text comes from, and that nothing is handed out that must not be sent."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from statistics import fmean
from typing import Any
from uuid import uuid4

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.draft import general_origin
from activities.provider import ProviderActivities
from adapters.bootstrap import Ports
from adapters.prompt import FilePrompts
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import GenerationInput
from domain.compliance import check
from domain.delivery import MessageOrigin
from domain.experiment import Metric
from domain.progress import WorkflowResult
from domain.prompt import Prompt, Variant
from domain.provider import Author, ContentPlan, GeneralText, IntentType, Provider, WritingTask
from domain.quality import combined, quality_score
from domain.rate_limit import MessageType
from domain.routing import Experiment, Target
from local.ai.writing import judgement
from tests.domain.builders import recipients
from tests.local import Simulator
from tests.workflows.launcher import intent
from worker import generation

AUTHOR = Author(provider="azure", model="gpt-4o", prompt_version="plan.v2")
PLAN = ContentPlan(
    theme="Spring",
    tone="warm",
    angle="new photos",
    call_to_action="have a look",
    general_texts=(GeneralText(language="en", text="Hello lovely, the spring set is here."),),
    author=AUTHOR,
)
BLOCKED = PLAN.model_copy(
    update={
        # Our own rules let it pass; the provider's moderation, which knows words only, does not.
        "general_texts": (GeneralText(language="en", text="My minor in college was art."),)
    }
)

Answer = Callable[..., Awaitable[WorkflowResult]]


async def answered(ports: Ports, settings: Settings, plan: ContentPlan | None = None, **changes: Any) -> WorkflowResult:
    """Answers a new request for one message, planned or not, as it is stored."""
    wanted = intent(1, type="message_generation", compliance="strict", **changes)
    caller = Principal(user_id=f"owner-{uuid4()}", role=Role.ADMIN)
    record, _ = await accept(wanted, str(uuid4()), caller, ports, settings, datetime.now(UTC))
    if plan is not None:
        await ports.campaigns.save_plan(record.campaign_id, plan)
    request = GenerationInput(
        campaign_id=record.campaign_id,
        request_id=record.request_id,
        owner=record.owner,
        trace_id="trace",
        type=record.type,
    )
    await ActivityEnvironment().run(ProviderActivities(generation(ports, settings)).answer, request)
    stored = await ports.campaigns.result(record.campaign_id)
    assert stored is not None
    return stored


@pytest.fixture
async def answer(ports: Ports, settings: Settings, ai: Simulator) -> Answer:
    return partial(answered, ports, settings)


async def test_a_message_counts_for_the_arm_that_wrote_it(ports: Ports, settings: Settings, ai: Simulator) -> None:
    arms = {
        "present": Target(provider=Provider.OPENAI, model="gpt-4o-mini", weight=1),
        "other": Target(provider=Provider.AZURE, model="gpt-4o"),
    }
    experiment = Experiment(name=f"single-{uuid4()}", intent=IntentType.MESSAGE_GENERATION, arms=arms)
    routing = ports.routing.model_copy(update={"experiments": (experiment,)})
    result = await answered(replace(ports, routing=routing), settings)
    (totals,) = await ports.experiments.results(experiment.name)
    observed = {metric: found.mean for metric, found in totals.metrics.items()}
    assert observed[Metric.QUALITY] == pytest.approx(result.quality_score)
    assert observed[Metric.COMPLIANCE] == pytest.approx(result.compliance_score)


async def test_the_judge_reads_a_single_message_too(ports: Ports, settings: Settings, ai: Simulator) -> None:
    result = await answered(ports, settings.model_copy(update={"quality_judge": True}), PLAN)
    assert result.message is not None
    points = judgement(ports.prompts.judge(text=result.message.text, brief="A warm hello for spring.").user)["score"]
    assert result.quality_score == combined(quality_score(result.message.text, "Maya0"), points / 100)


@pytest.mark.parametrize("on_budget", ["degrade", "stop"])
async def test_without_money_the_general_text_serves_unless_it_is_to_stop(answer: Answer, on_budget: str) -> None:
    asked = answer(PLAN, maxCost="0.000001", onBudget=on_budget)
    if on_budget == "stop":
        with pytest.raises(ApplicationError) as refused:
            await asked
        assert refused.value.type == "cost_limit_exceeded"
    else:
        message = (await asked).message
        assert message is not None
        assert message.text == PLAN.general_texts[0].text


async def test_a_plan_counts_with_its_general_texts_for_the_arm_that_made_it(
    ports: Ports, settings: Settings, ai: Simulator
) -> None:
    arms = {
        "present": Target(provider=Provider.AZURE, model="gpt-4o", weight=1),
        "other": Target(provider=Provider.OPENAI, model="gpt-4o-mini"),
    }
    experiment = Experiment(name=f"plans-{uuid4()}", intent=IntentType.CONTENT_PLANNING, arms=arms)
    routing = ports.routing.model_copy(update={"experiments": (experiment,)})
    plan = (await answered(replace(ports, routing=routing), settings)).plan
    assert plan is not None
    assert (plan.experiment, plan.arm) == (experiment.name, "present")
    texts = [each.text for each in plan.general_texts]
    assert texts
    (totals,) = await ports.experiments.results(experiment.name)
    observed = {metric: found.mean for metric, found in totals.metrics.items()}
    assert observed[Metric.QUALITY] == pytest.approx(fmean(quality_score(text, "") for text in texts))
    assert observed[Metric.COMPLIANCE] == pytest.approx(fmean(check(text).score for text in texts))


class TestOrigin:
    async def test_a_text_says_which_model_wrote_it_and_what_it_was_asked(self, answer: Answer) -> None:
        message = (await answer()).message
        assert message is not None
        assert message.origin is not None
        assert (message.origin.provider, message.origin.model) == ("openai", "gpt-4o-mini")
        assert (message.origin.prompt_version, message.origin.cached, message.cached) == ("write.v2", False, False)

    async def test_so_does_a_general_one_whose_plan_says_it(self, answer: Answer, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, endpoint="chat")
        message = (await answer(PLAN)).message
        assert message is not None
        assert message.origin is not None
        assert (message.origin.provider, message.origin.model) == (AUTHOR.provider, AUTHOR.model)
        assert (message.origin.prompt_version, message.origin.cached, message.cached) == ("plan.v2", True, True)

    async def test_a_plan_says_who_wrote_it(self, answer: Answer) -> None:
        plan = (await answer()).plan
        assert plan is not None
        assert plan.author == AUTHOR

    def test_which_is_no_business_of_whoever_writes_after_it(self) -> None:
        def prompt(plan: ContentPlan) -> Prompt:
            task = WritingTask(brief="b", message_type=MessageType.CUSTOM, plan=plan, recipients=recipients(1))
            return FilePrompts().write(task, Variant.USUAL)

        assert prompt(PLAN) == prompt(PLAN.model_copy(update={"author": None}))

    def test_a_persons_plan_takes_the_place_of_the_brief(self) -> None:
        task = WritingTask(brief="Refused.", message_type=MessageType.CUSTOM, plan=PLAN, recipients=recipients(1))
        by_person = task.model_copy(update={"plan": PLAN.model_copy(update={"author": None, "written_by": "ana"})})
        assert "Refused." in FilePrompts().write(task, Variant.USUAL).user
        assert not {"Refused.", "ana"} & set(FilePrompts().write(by_person, Variant.USUAL).user.split('"'))

    def test_where_a_plan_does_not_say_it_nobody_knows(self) -> None:
        old = ContentPlan.model_validate(PLAN.model_dump(exclude={"author"}))
        assert general_origin(old) == MessageOrigin(provider="cache", model="", prompt_version="", cached=True)


class TestModeration:
    async def test_sees_a_text_before_it_is_handed_out(self, answer: Answer, ai: Simulator) -> None:
        result = await answer(PLAN)
        assert result.compliance is not None
        assert result.compliance.moderated is True
        assert len((await ai.get("arrivals", endpoint="moderations"))["arrivals"]) == 1

    async def test_what_it_blocks_is_not_handed_out(self, answer: Answer, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, endpoint="chat")
        result = await answer(BLOCKED)
        assert result.message is None
        assert result.compliance is not None
        assert [each.rule_id for each in result.compliance.violations] == ["moderation-sexual-minors"]
        assert result.compliance_score == 0

    async def test_without_its_answer_our_rules_decide_and_the_report_says_so(
        self, answer: Answer, ai: Simulator
    ) -> None:
        await ai.fault("server_error", status=503, endpoint="moderations")
        result = await answer(PLAN)
        assert result.message is not None
        assert result.compliance is not None
        assert result.compliance.moderated is False
