"""Both AI providers through the real SDK: answers with their bill, and every failure by its right name."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from adapters.provider import PLAN_PROMPT, WRITE_PROMPT, OpenAIModel, open_models
from adapters.settings import Settings
from domain.compliance import check
from domain.cost import Usage
from domain.errors import ProviderError, ProviderFault
from domain.provider import ContentPlan, PlanAnswer, Provider, RecipientProfile, WritingAnswer, WritingTask
from domain.rate_limit import MessageType
from tests.domain.builders import recipients
from tests.local import Simulator

F = ProviderFault
PLAN = ContentPlan(
    theme="Spring", tone="warm", angle="new photos", call_to_action="have a look", talking_points=("colours", "light")
)


@pytest.fixture(scope="module")
async def opened(settings: Settings) -> AsyncIterator[Mapping[Provider, OpenAIModel]]:
    async with open_models(settings) as models:
        yield models


@pytest.fixture(params=Provider)
def provider(request: pytest.FixtureRequest) -> Provider:
    return Provider(request.param)


@pytest.fixture
def model(opened: Mapping[Provider, OpenAIModel], ai: Simulator, provider: Provider) -> OpenAIModel:
    """Each provider in turn, never called before."""
    return opened[provider]


def a_task(*fans: RecipientProfile) -> WritingTask:
    return WritingTask(
        brief="Spring sale: the new photo set.", message_type=MessageType.PROMOTIONAL, plan=PLAN, recipients=fans
    )


async def plan(model: OpenAIModel) -> PlanAnswer:
    return await model.plan(brief="Spring sale: the new photo set.", message_type="promotional")


async def write(model: OpenAIModel) -> WritingAnswer:
    return await model.write(a_task(*recipients(3)))


CALLS: tuple[Callable[[OpenAIModel], Awaitable[Any]], ...] = (plan, write)


async def billed(ai: Simulator) -> list[tuple[str, str, int, int]]:
    """Dialect, model and tokens of everything that was charged."""
    return [
        (entry["dialect"], entry["model"], entry["input_tokens"], entry["output_tokens"])
        for entry in (await ai.get("usage"))["requests"]
    ]


async def refusal(call: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as refused:
        await call
    return refused.value


class TestPlan:
    async def test_a_whole_plan_with_its_bill(self, model: OpenAIModel, provider: Provider, ai: Simulator) -> None:
        answer = await plan(model)
        made = answer.plan
        assert all((made.theme, made.tone, made.angle, made.call_to_action, *made.talking_points))
        assert made.talking_points
        expected = "gpt-4o" if provider is Provider.AZURE else "gpt-4o-mini"
        assert (answer.model, answer.prompt_version) == (expected, PLAN_PROMPT)
        assert await billed(ai) == [(provider, expected, answer.usage.input_tokens, answer.usage.output_tokens)]


class TestWrite:
    async def test_a_text_of_ones_own_for_every_recipient_with_its_bill(
        self, model: OpenAIModel, provider: Provider, ai: Simulator
    ) -> None:
        fans = (
            *recipients(8),
            RecipientProfile(recipient_id="fr-1", name="Chloé", language="fr", tier="vip", spend=Decimal("12.50")),
        )
        answer = await model.write(a_task(*fans))
        assert answer.texts.keys() == {fan.recipient_id for fan in fans}
        assert len(set(answer.texts.values())) == len(fans)
        assert "Chloé" in answer.texts["fr-1"]
        assert not any(check(text).blocked for text in answer.texts.values())
        assert answer.prompt_version == WRITE_PROMPT
        ((dialect, _, tokens_in, tokens_out),) = await billed(ai)
        assert dialect == provider
        assert answer.usage == Usage(input_tokens=tokens_in, output_tokens=tokens_out)
        assert answer.usage.output_tokens > 0

    async def test_the_providers_are_not_mixed_up(self, model: OpenAIModel, provider: Provider, ai: Simulator) -> None:
        await write(model)
        other = next(each for each in Provider if each is not provider)
        await ai.fault("server_error", dialect=other)
        await write(model)
        assert {dialect for dialect, *_ in await billed(ai)} == {provider}


class TestFaults:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "rate_limited"}, F.THROTTLED),
            ({"kind": "server_error", "status": 500}, F.TRANSIENT),
            ({"kind": "server_error", "status": 503}, F.TRANSIENT),
            ({"kind": "unauthorized"}, F.AUTH),
            ({"kind": "context_length"}, F.CONTEXT_LENGTH),
            ({"kind": "content_filter", "as": "error"}, F.CONTENT_POLICY),
            ({"kind": "connection_reset"}, F.TRANSIENT),
        ],
        ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
    )
    async def test_what_was_refused_has_its_name_and_costs_nothing(
        self,
        model: OpenAIModel,
        ai: Simulator,
        call: Callable[[OpenAIModel], Awaitable[Any]],
        fault: dict[str, Any],
        expected: F,
    ) -> None:
        await ai.fault(**fault, count=1)
        error = await refusal(call(model))
        assert (error.fault, error.billed_tokens, error.retry_after_s) == (expected, None, None)
        assert await billed(ai) == []
        assert (await ai.get("calls"))["total"] == 1
        await call(model)

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "malformed_json"}, F.MALFORMED_OUTPUT),
            ({"kind": "content_filter", "as": "finish_reason"}, F.CONTENT_POLICY),
            ({"kind": "content_filter", "as": "refusal"}, F.CONTENT_POLICY),
        ],
        ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
    )
    async def test_an_answer_that_can_not_be_used_carries_its_bill(
        self,
        model: OpenAIModel,
        ai: Simulator,
        call: Callable[[OpenAIModel], Awaitable[Any]],
        fault: dict[str, Any],
        expected: F,
    ) -> None:
        await ai.fault(**fault, count=1)
        error = await refusal(call(model))
        ((_, name, tokens_in, tokens_out),) = await billed(ai)
        assert (error.fault, error.billed_tokens, error.model) == (expected, (tokens_in, tokens_out), name)

    @pytest.mark.parametrize("seconds", [0, 3, 1.5])
    async def test_when_to_come_back_is_kept(self, model: OpenAIModel, ai: Simulator, seconds: float) -> None:
        await ai.fault("rate_limited", retry_after_s=seconds, count=1)
        assert (await refusal(plan(model))).retry_after_s == seconds

    async def test_no_answer_in_time_is_a_time_out(self, settings: Settings, ai: Simulator, provider: Provider) -> None:
        await ai.fault("hang")
        async with open_models(settings.model_copy(update={"provider_timeout_s": 0.2})) as models:
            assert (await refusal(plan(models[provider]))).fault is F.TIMEOUT

    async def test_a_refused_connection_is_transient(self, settings: Settings, provider: Provider) -> None:
        nowhere = {"openai_base_url": "http://127.0.0.1:9/v1", "azure_openai_endpoint": "http://127.0.0.1:9"}
        async with open_models(settings.model_copy(update=nowhere)) as models:
            assert (await refusal(plan(models[provider]))).fault is F.TRANSIENT

    async def test_no_failure_repeats_what_was_asked(self, model: OpenAIModel, ai: Simulator) -> None:
        await ai.fault("malformed_json", count=1)
        error = await refusal(write(model))
        assert "Maya" not in str(error)
        assert "Maya" not in str(error.__cause__)


class TestModerate:
    @pytest.fixture
    def direct(self, opened: Mapping[Provider, OpenAIModel]) -> OpenAIModel:
        return opened[Provider.OPENAI]

    @pytest.mark.usefixtures("ai")
    async def test_a_harmless_text_is_not_flagged(self, direct: OpenAIModel) -> None:
        answer = await direct.moderate("Hello Maya, the new set is here.")
        assert (answer.flagged, answer.categories) == (False, ())

    @pytest.mark.usefixtures("ai")
    async def test_the_categories_are_named_as_the_provider_names_them(self, direct: OpenAIModel) -> None:
        answer = await direct.moderate("an underage idiot")
        assert (answer.flagged, answer.categories) == (True, ("harassment", "sexual/minors"))

    async def test_a_failure_has_its_name(self, direct: OpenAIModel, ai: Simulator) -> None:
        await ai.fault("rate_limited", endpoint="moderations", retry_after_s=2, count=1)
        error = await refusal(direct.moderate("hello"))
        assert (error.fault, error.retry_after_s) == (F.THROTTLED, 2)


class TestCheck:
    async def test_it_costs_nothing_and_names_the_deployment(
        self, model: OpenAIModel, provider: Provider, ai: Simulator
    ) -> None:
        assert (await model.check())["deployment"].startswith("gpt-4o")
        assert model.name == provider
        assert await billed(ai) == []
