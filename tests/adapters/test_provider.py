"""Both AI providers through the real SDK: answers with their bill, and every failure by its right name."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.prompt import FilePrompts
from adapters.provider import OpenAIModel, open_models
from adapters.settings import Settings
from domain.compliance import check
from domain.cost import Usage
from domain.errors import ProviderError, ProviderFault
from domain.prompt import Completion, Prompt, ProviderCall, Variant, read_batch, read_plan
from domain.provider import ContentPlan, Provider, RecipientProfile, WritingTask
from domain.rate_limit import MessageType
from tests.adapters.canned import canned
from tests.domain.builders import recipients
from tests.local import Simulator

F = ProviderFault
PLAN = ContentPlan(
    theme="Spring", tone="warm", angle="new photos", call_to_action="have a look", talking_points=("colours", "light")
)
PROMPTS = FilePrompts()
KEYS = {Provider.AZURE: "azure/gpt-4o", Provider.OPENAI: "openai/gpt-4o-mini"}


@pytest.fixture(scope="module")
async def opened(settings: Settings) -> AsyncIterator[Mapping[str, OpenAIModel]]:
    async with open_models(settings) as models:
        yield models


@pytest.fixture(params=Provider)
def provider(request: pytest.FixtureRequest) -> Provider:
    return Provider(request.param)


@pytest.fixture
def model(opened: Mapping[str, OpenAIModel], ai: Simulator, provider: Provider) -> OpenAIModel:
    """Each provider in turn, never called before."""
    return opened[KEYS[provider]]


def a_task(*fans: RecipientProfile) -> Prompt:
    task = WritingTask(
        brief="Spring sale: the new photo set.", message_type=MessageType.PROMOTIONAL, plan=PLAN, recipients=fans
    )
    return PROMPTS.write(task, Variant.USUAL)


def a_call(campaign: str = "c1", step: UUID | None = None) -> ProviderCall:
    return ProviderCall(operation_id=uuid4(), step_id=step or uuid4(), campaign_id=campaign, timeout_s=20)


async def plan(model: OpenAIModel) -> Completion:
    prompt = PROMPTS.plan(
        brief="Spring sale: the new photo set.",
        message_type=MessageType.PROMOTIONAL,
        languages=("en", "fr"),
        variant=Variant.USUAL,
    )
    return await model.complete(prompt, a_call())


async def write(model: OpenAIModel) -> Completion:
    return await model.complete(a_task(*recipients(3)), a_call())


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


async def told_to_wait(settings: Settings, headers: Mapping[str, str]) -> float | None:
    """What is made of a 429 with these headers."""
    async with canned(429, {"error": {"message": "Too many requests."}}, headers) as server, AsyncExitStack() as stack:
        nearby = settings.model_copy(update={"openai_base_url": f"{server.url}/v1"})
        models = await stack.enter_async_context(open_models(nearby))
        error = await refusal(plan(models[KEYS[Provider.OPENAI]]))
    assert error.fault is F.THROTTLED
    return error.retry_after_s


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_provider_that_moved_is_for_an_administrator_and_is_not_followed(
    settings: Settings, status: int
) -> None:
    async with canned(200, {}) as elsewhere, AsyncExitStack() as stack:
        moved = {"Location": f"{elsewhere.url}/v1/chat/completions"}
        server = await stack.enter_async_context(canned(status, {}, moved))
        nearby = settings.model_copy(update={"openai_base_url": f"{server.url}/v1"})
        models = await stack.enter_async_context(open_models(nearby))
        error = await refusal(plan(models[KEYS[Provider.OPENAI]]))
        assert (error.fault, error.billing_unknown) == (F.AUTH, False)
        assert (server.requests, elsewhere.requests) == (1, 0)


class TestPlan:
    async def test_a_whole_plan_with_its_bill(self, model: OpenAIModel, provider: Provider, ai: Simulator) -> None:
        answer = await plan(model)
        made = read_plan(answer.content)
        assert all((made.theme, made.tone, made.angle, made.call_to_action, *made.talking_points))
        assert made.talking_points
        assert [each.language for each in made.general_texts] == ["en", "fr"]
        assert not any(check(each.text).blocked for each in made.general_texts)
        assert answer.usage is not None
        expected = "gpt-4o" if provider is Provider.AZURE else "gpt-4o-mini"
        assert await billed(ai) == [(provider, expected, answer.usage.input_tokens, answer.usage.output_tokens)]


class TestWrite:
    async def test_a_text_of_ones_own_for_every_recipient_with_its_bill(
        self, model: OpenAIModel, provider: Provider, ai: Simulator
    ) -> None:
        fans = (
            *recipients(8),
            RecipientProfile(recipient_id="fr-1", name="Chloé", language="fr", tier="vip", spend=Decimal("12.50")),
        )
        answer = await model.complete(a_task(*fans), a_call())
        texts = read_batch(answer.content)
        assert texts.keys() == {fan.recipient_id for fan in fans}
        assert len(set(texts.values())) == len(fans)
        assert "Chloé" in texts["fr-1"]
        assert not any(check(text).blocked for text in texts.values())
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
        ((_, _, tokens_in, tokens_out),) = await billed(ai)
        assert (error.fault, error.billed_tokens) == (expected, (tokens_in, tokens_out, 0, 0))

    @pytest.mark.parametrize("seconds", [0, 3, 1.5])
    async def test_when_to_come_back_is_kept(self, model: OpenAIModel, ai: Simulator, seconds: float) -> None:
        await ai.fault("rate_limited", retry_after_s=seconds, count=1)
        assert (await refusal(plan(model))).retry_after_s == seconds

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
            ({"retry-after-ms": "soon", "Retry-After": "2"}, 2),
            ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0),
            ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 -0000"}, 0),
            ({"Retry-After": "-3"}, 0),
            ({"Retry-After": "86400"}, 3600),
            ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600),
            ({"Retry-After": "tomorrow"}, None),
        ],
    )
    async def test_when_to_come_back_is_told_in_several_ways(
        self, settings: Settings, headers: dict[str, str], seconds: float | None
    ) -> None:
        assert await told_to_wait(settings, headers) == seconds

    async def test_a_date_to_come_back_at_is_that_far_away(self, settings: Settings) -> None:
        at = datetime.now(UTC) + timedelta(minutes=50)
        wait_s = await told_to_wait(settings, {"Retry-After": format_datetime(at, usegmt=True)})
        assert wait_s is not None
        assert 0 < wait_s <= timedelta(minutes=50).total_seconds()

    async def test_no_answer_in_time_is_a_time_out(self, settings: Settings, ai: Simulator, provider: Provider) -> None:
        await ai.fault("hang")
        async with open_models(settings.model_copy(update={"provider_timeout_s": 0.2})) as models:
            call = a_call().model_copy(update={"timeout_s": 0.2})
            error = await refusal(models[KEYS[provider]].complete(a_task(*recipients(1)), call))
            assert (error.fault, error.billing_unknown) == (F.TIMEOUT, True)

    async def test_a_refused_connection_is_transient(self, settings: Settings, provider: Provider) -> None:
        nowhere = {"openai_base_url": "http://127.0.0.1:9/v1", "azure_openai_endpoint": "http://127.0.0.1:9"}
        async with open_models(settings.model_copy(update=nowhere)) as models:
            error = await refusal(plan(models[KEYS[provider]]))
            assert (error.fault, error.billing_unknown) == (F.TRANSIENT, False)

    async def test_an_answer_that_breaks_off_is_malformed_and_tells_nothing(
        self, model: OpenAIModel, ai: Simulator
    ) -> None:
        await ai.fault("malformed_json", count=1)
        answer = await write(model)
        with pytest.raises(ProviderError) as refused:
            read_batch(answer.content)
        assert refused.value.fault is F.MALFORMED_OUTPUT
        assert "Maya" not in str(refused.value)
        assert "Maya" not in str(refused.value.__cause__)


class TestKept:
    async def test_what_was_bought_for_a_step_is_found_again(self, model: OpenAIModel) -> None:
        first, second = a_call(campaign := str(uuid4())), a_call(campaign)
        bought = await model.complete(a_task(*recipients(2)), first)
        await model.complete(a_task(*recipients(1)), second)
        (kept,) = await model.kept_of_step(first.step_id, timeout_s=5)
        assert (kept.operation_id, kept.content, kept.usage) == (first.operation_id, bought.content, bought.usage)
        assert [each.operation_id for each in await model.kept_of_campaign(campaign)] == [
            first.operation_id,
            second.operation_id,
        ]
        assert await model.kept_of_step(uuid4(), timeout_s=5) == []

    async def test_an_answer_that_got_lost_on_its_way_is_found(self, model: OpenAIModel, ai: Simulator) -> None:
        await ai.fault("connection_reset", bill=True, count=1)
        call = a_call()
        error = await refusal(model.complete(a_task(*recipients(2)), call))
        assert error.billing_unknown
        (kept,) = await model.kept_of_step(call.step_id, timeout_s=5)
        assert len(read_batch(kept.content)) == 2

    async def test_a_campaign_with_more_answers_than_a_page_of_the_list(self, model: OpenAIModel) -> None:
        campaign = str(uuid4())
        calls = [a_call(campaign) for _ in range(103)]
        for call in calls:
            await model.complete(a_task(*recipients(1)), call)
        assert [each.operation_id for each in await model.kept_of_campaign(campaign)] == [
            call.operation_id for call in calls
        ]

    async def test_nothing_is_kept_where_it_may_not_be(
        self, settings: Settings, ai: Simulator, provider: Provider
    ) -> None:
        async with open_models(settings.model_copy(update={"provider_keeps_answers": False})) as models:
            call = a_call()
            await models[KEYS[provider]].complete(a_task(*recipients(1)), call)
            assert await models[KEYS[provider]].kept_of_step(call.step_id, timeout_s=5) == ()
        async with open_models(settings) as models:
            assert await models[KEYS[provider]].kept_of_step(call.step_id, timeout_s=5) == []


NO_JSON = {"Content-Type": "text/html"}


@pytest.mark.parametrize(("body", "headers"), [("<html>", NO_JSON), ([], {}), ({"results": None}, {}), ("{", {})])
async def test_a_page_of_a_proxy_is_no_moderation(settings: Settings, body: object, headers: Mapping[str, str]) -> None:
    async with canned(200, body, headers) as server:
        nearby = settings.model_copy(update={"openai_base_url": f"{server.url}/v1"})
        async with open_models(nearby) as models:
            error = await refusal(models[KEYS[Provider.OPENAI]].moderate(["hello"], timeout_s=5))
    assert error.fault is F.TRANSIENT


@pytest.mark.parametrize(("body", "headers"), [("<html>", NO_JSON), ([], {}), ({"data": [1]}, {}), ("{", {})])
async def test_nor_a_list_of_kept_answers(settings: Settings, body: object, headers: Mapping[str, str]) -> None:
    async with canned(200, body, headers) as server:
        nearby = settings.model_copy(update={"openai_base_url": f"{server.url}/v1"})
        async with open_models(nearby) as models:
            error = await refusal(models[KEYS[Provider.OPENAI]].kept_of_step(uuid4(), timeout_s=5))
    assert error.fault is F.TRANSIENT


class TestModerate:
    @pytest.fixture
    def direct(self, opened: Mapping[str, OpenAIModel]) -> OpenAIModel:
        return opened[KEYS[Provider.OPENAI]]

    @pytest.mark.usefixtures("ai")
    async def test_a_harmless_text_is_not_flagged(self, direct: OpenAIModel) -> None:
        (answer,) = await direct.moderate(["Hello Maya, the new set is here."], timeout_s=5)
        assert (answer.flagged, answer.categories) == (False, ())

    @pytest.mark.usefixtures("ai")
    async def test_the_categories_are_named_as_the_provider_names_them(self, direct: OpenAIModel) -> None:
        harmless, answer = await direct.moderate(["hello", "an underage idiot"], timeout_s=5)
        assert not harmless.flagged
        assert (answer.flagged, answer.categories) == (True, ("harassment", "sexual/minors"))

    async def test_a_failure_has_its_name(self, direct: OpenAIModel, ai: Simulator) -> None:
        await ai.fault("rate_limited", endpoint="moderations", retry_after_s=2, count=1)
        error = await refusal(direct.moderate(["hello"], timeout_s=5))
        assert (error.fault, error.retry_after_s) == (F.THROTTLED, 2)


class TestCheck:
    async def test_it_costs_nothing_and_names_the_deployment(
        self, model: OpenAIModel, provider: Provider, ai: Simulator
    ) -> None:
        assert (await model.check())["model"].startswith("gpt-4o")
        assert model.name == KEYS[provider]
        assert await billed(ai) == []
