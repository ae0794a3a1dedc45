"""The OpenAI and Azure OpenAI simulator, called through the real SDK in both dialects."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import jsonschema
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import (
    APIConnectionError,
    APITimeoutError,
    AsyncAzureOpenAI,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    ContentFilterFinishReasonError,
    InternalServerError,
    LengthFinishReasonError,
    NotFoundError,
    RateLimitError,
)
from pydantic import BaseModel, Field, ValidationError

from local.ai.phrases import BOOKS
from local.ai.schema import Filler
from local.ai.writing import dice_for, messages, write
from tests.local import Simulator, running

MODEL = "gpt-4o-mini"
Parsed = TypeVar("Parsed", bound=BaseModel)


class CampaignPlan(BaseModel):
    theme: str
    tone: str
    angle: str
    call_to_action: str
    talking_points: list[str] = Field(min_length=2, max_length=5)


class DraftedMessage(BaseModel):
    recipient_id: str
    text: str


class MessageBatch(BaseModel):
    messages: list[DraftedMessage]


class SingleMessage(BaseModel):
    text: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Simulator]:
    async with running("local.ai") as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="session")
async def provider(server: Simulator) -> Simulator:
    await server.reset()
    return server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clients(server: Simulator) -> AsyncIterator[dict[str, AsyncOpenAI]]:
    openai = AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0, timeout=10)
    azure = AsyncAzureOpenAI(
        api_key="key", azure_endpoint=server.url, api_version="2025-04-01-preview", max_retries=0, timeout=10
    )
    async with openai, azure:
        yield {"openai": openai, "azure": azure}


@pytest.fixture
def openai(provider: Simulator, clients: dict[str, AsyncOpenAI]) -> AsyncOpenAI:
    """OpenAI, never called before."""
    return clients["openai"]


@pytest.fixture
def azure(provider: Simulator, clients: dict[str, AsyncOpenAI]) -> AsyncOpenAI:
    """Azure OpenAI, never called before."""
    return clients["azure"]


@pytest.fixture(params=["openai", "azure"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sdk(provider: Simulator, clients: dict[str, AsyncOpenAI], dialect: str) -> AsyncOpenAI:
    """Each dialect in turn, never called before."""
    return clients[dialect]


def recipient(number: int, language: str = "en", **fields: Any) -> dict[str, Any]:
    name = ("Alex", "Bea", "Chloé", "Dana", "Émile", "Jürgen", "Íñigo")[number % 7]
    return {"recipient_id": f"fan-{number}", "name": name, "tier": "vip", "language": language, **fields}


def batch_request(count: int, language: str = "en") -> dict[str, Any]:
    return {
        "plan": {"theme": "Colours", "talking_points": ["a softer style than before", "your wishes come first"]},
        "message_type": "promotional",
        "recipients": [recipient(number, language, last_seen_days=number % 30) for number in range(count)],
    }


async def ask(sdk: AsyncOpenAI, content: str = "Say hello", **options: Any) -> Any:
    return await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}], **options)


async def parse(sdk: AsyncOpenAI, kind: type[Parsed], content: object) -> Parsed:
    completion = await sdk.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": json.dumps(content)}],
        response_format=kind,
    )
    parsed = completion.choices[0].message.parsed
    assert parsed is not None
    return parsed


class TestStructuredOutputs:
    async def test_a_plan(self, sdk: AsyncOpenAI) -> None:
        plan = await parse(sdk, CampaignPlan, {"theme": "Autumn walks", "goal": "say hello"})
        assert plan.theme == "Autumn walks"
        assert 2 <= len(plan.talking_points) <= 5

    async def test_a_batch_has_one_distinct_text_for_each_recipient(self, sdk: AsyncOpenAI) -> None:
        request = batch_request(30)
        batch = await parse(sdk, MessageBatch, request)
        assert [m.recipient_id for m in batch.messages] == [r["recipient_id"] for r in request["recipients"]]
        assert len({message.text for message in batch.messages}) == 30
        assert (await parse(sdk, MessageBatch, request)) == batch

    async def test_a_single_message(self, sdk: AsyncOpenAI) -> None:
        request = {"message_type": "welcome", "recipient": recipient(2, "fr"), "brief": "say hello"}
        assert "Chloé" in (await parse(sdk, SingleMessage, request)).text

    async def test_a_response(self, sdk: AsyncOpenAI) -> None:
        response = await sdk.responses.parse(
            model=MODEL,
            instructions="Be kind.",
            input=[{"role": "user", "content": json.dumps(batch_request(3))}],
            text_format=MessageBatch,
        )
        assert response.output_parsed is not None
        assert len(response.output_parsed.messages) == 3
        assert response.usage is not None
        assert response.usage.input_tokens_details.cached_tokens == 0
        assert response.model == MODEL

    async def test_a_schema_by_its_snake_case_name(self, sdk: AsyncOpenAI) -> None:
        schema = {"name": "message_batch", "strict": True, "schema": MessageBatch.model_json_schema()}
        completion = await ask(
            sdk, json.dumps(batch_request(2)), response_format={"type": "json_schema", "json_schema": schema}
        )
        assert len(MessageBatch.model_validate_json(completion.choices[0].message.content).messages) == 2

    async def test_free_text(self, sdk: AsyncOpenAI) -> None:
        completion = await ask(sdk)
        response = await sdk.responses.create(model=MODEL, input="Say hello")
        assert len(completion.choices[0].message.content) > 20
        assert len(response.output_text) > 20

    async def test_an_answer_is_cut_off_at_its_limit(self, sdk: AsyncOpenAI) -> None:
        completion = await ask(sdk, max_completion_tokens=3)
        assert completion.choices[0].finish_reason == "length"
        assert completion.usage.completion_tokens == 3
        with pytest.raises(LengthFinishReasonError):
            await sdk.chat.completions.parse(
                model=MODEL,
                messages=[{"role": "user", "content": "{}"}],
                response_format=CampaignPlan,
                max_tokens=3,
            )


SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 30, "maxLength": 40},
        {"type": "string", "maxLength": 3},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": 3, "maximum": 3},
        {"type": "integer", "exclusiveMinimum": -2, "multipleOf": 7},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "number", "maximum": -5},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["integer", "null"]},
        {"enum": ["a", 2, None]},
        {"const": {"x": 1}},
        {"$ref": "#/$defs/node"},
    ]
)


def _objects(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abc"), part, min_size=1)
    return properties.map(
        lambda given: {
            "type": "object",
            "properties": given,
            "required": list(given),
            "additionalProperties": False,
        }
    )


SCHEMAS = st.recursive(
    SCALARS,
    lambda part: (
        _objects(part)
        | st.builds(
            lambda items, n: {"type": "array", "items": items, "minItems": n, "maxItems": n + 1},
            part,
            st.integers(0, 3),
        )
        | st.builds(lambda one, two: {"anyOf": [one, two]}, part, part)
    ),
    max_leaves=8,
)
NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["name", "next"],
    "additionalProperties": False,
}


class TestSchemaFiller:
    @settings(max_examples=150)
    @given(SCHEMAS, st.integers(0, 3))
    def test_every_answer_validates(self, schema: dict[str, Any], seed: int) -> None:
        root = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": {"node": NODE}}
        jsonschema.validate(Filler(root, dice_for(seed)).fill(), root)

    def test_what_is_known_bends_to_the_schema(self) -> None:
        root = {
            "type": "object",
            "properties": {
                "tone": {"enum": ["warm", "cool"]},
                "theme": {"type": "string", "maxLength": 4},
                "points": {"type": "array", "items": {"type": "string"}, "minItems": 3},
                "score": {"type": "integer", "minimum": 1, "maximum": 5},
            },
            "required": ["tone", "theme", "points", "score"],
        }
        known = {"tone": "odd", "theme": "Autumn", "points": ["one"], "score": 4, "more": 1}
        filled = Filler(root, dice_for(1)).fill(known)
        jsonschema.validate(filled, root)
        assert filled["theme"] == "Autu"
        assert filled["points"][0] == "one"
        assert filled["score"] == 4


class TestWriting:
    @pytest.mark.parametrize("language", BOOKS)
    def test_a_thousand_recipients_get_a_thousand_texts(self, language: str) -> None:
        request = batch_request(1000, language)
        texts = [message["text"] for message in messages(request)]
        assert len(set(texts)) == 1000
        for text, person in zip(texts, request["recipients"], strict=True):
            assert person["name"] in text
            assert 60 <= len(text) <= 280
            assert not re.search(r"\d|@|https?:|www\.|[#$€£/]", text)

    @pytest.mark.parametrize("language", BOOKS)
    def test_pages_of_a_campaign_hardly_ever_repeat_themselves(self, language: str) -> None:
        texts = {write(batch_request(0), recipient(number, language)) for number in range(2000)}
        assert len(texts) >= 1998

    def test_two_campaigns_use_different_words(self) -> None:
        one, two = ({"message_type": "custom", "plan": {"theme": theme}} for theme in ("a", "b"))
        assert write(one, recipient(1)) != write(two, recipient(1))

    def test_unsafe_talking_points_are_left_out(self) -> None:
        points = ["see example.com/me", "write me at a@b.example", "call 555 123"]
        text = write({"plan": {"talking_points": points}}, recipient(1))
        assert not any(point in text for point in points)


class TestUsage:
    async def test_every_answer_is_billed_as_it_says(self, provider: Simulator, sdk: AsyncOpenAI, dialect: str) -> None:
        raw = await sdk.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "x" * 41}]
        )
        usage = raw.parse().usage
        assert usage is not None
        assert usage.prompt_tokens == 11
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 0
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 0
        assert int(raw.headers["x-ratelimit-remaining-requests"]) < int(raw.headers["x-ratelimit-limit-requests"])
        assert "x-ratelimit-reset-tokens" in raw.headers
        book = await provider.get("usage")
        [entry] = book["requests"]
        assert entry["request_id"] == raw.headers["x-request-id"]
        assert book["totals"] == [
            {
                "dialect": dialect,
                "model": MODEL,
                "requests": 1,
                "input_tokens": 11,
                "output_tokens": usage.completion_tokens,
                "cached_tokens": 0,
                "reasoning_tokens": 0,
            }
        ]

    async def test_attempts_are_counted_even_when_they_fail(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("server_error", count=1)
        with pytest.raises(InternalServerError):
            await ask(sdk)
        await ask(sdk)
        calls = await provider.get("calls")
        assert calls["total"] == 2
        assert calls["calls"][0]["ended"] == {"503": 1, "200": 1}
        assert len((await provider.get("usage"))["requests"]) == 1


class TestOtherEndpoints:
    async def test_the_models_are_listed(self, sdk: AsyncOpenAI) -> None:
        assert MODEL in [model.id async for model in await sdk.models.list()]

    async def test_moderation_flags_by_category(self, openai: AsyncOpenAI) -> None:
        answer = await openai.moderations.create(input=["a lovely day", "I will kill you"])
        clean, violent = answer.results
        assert not clean.flagged
        assert violent.flagged
        assert violent.categories.violence
        assert not violent.categories.self_harm
        assert violent.category_scores.violence > 0.9
        assert violent.category_applied_input_types.violence == ["text", "image"]

    async def test_azure_without_a_version_is_not_found(self, provider: Simulator) -> None:
        path = f"{provider.url}/openai/deployments/{MODEL}/chat/completions"
        response = await provider.http.post(
            path, json={"messages": [{"role": "user", "content": "x"}]}, headers={"api-key": "key"}
        )
        assert response.status_code == 404

    async def test_azures_version_free_paths_take_the_plain_client(self, provider: Simulator) -> None:
        async with AsyncOpenAI(api_key="key", base_url=f"{provider.url}/openai/v1", max_retries=0) as plain:
            await ask(plain)
            await plain.responses.create(model=MODEL, input="x")
        assert {entry["dialect"] for entry in (await provider.get("usage"))["requests"]} == {"azure"}

    async def test_a_deployment_of_the_client_names_the_model(self, provider: Simulator) -> None:
        azure = AsyncAzureOpenAI(
            api_key="key",
            azure_endpoint=provider.url,
            azure_deployment="writer",
            api_version="2025-04-01-preview",
            max_retries=0,
        )
        async with azure:
            completion = await ask(azure)
            response = await azure.responses.create(model="writer", input="x")
        assert completion.model == response.model == "writer"


class TestFaults:
    async def test_an_invalid_key(self, sdk: AsyncOpenAI) -> None:
        with pytest.raises(AuthenticationError):
            await ask(sdk.with_options(api_key="invalid"))

    async def test_a_key_refused_on_request(self, provider: Simulator, sdk: AsyncOpenAI, dialect: str) -> None:
        await provider.fault("unauthorized", count=1)
        with pytest.raises(AuthenticationError) as failed:
            await ask(sdk)
        assert failed.value.code == {"openai": "invalid_api_key", "azure": "401"}[dialect]

    async def test_a_rate_limit(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("rate_limited", count=1, retry_after_s=9)
        with pytest.raises(RateLimitError) as failed:
            await ask(sdk)
        assert failed.value.response.headers["retry-after"] == "9"
        assert failed.value.response.headers["x-ratelimit-remaining-requests"] == "0"

    async def test_a_server_error(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("server_error", status=500)
        with pytest.raises(InternalServerError) as failed:
            await sdk.responses.create(model=MODEL, input="x")
        assert failed.value.status_code == 500

    async def test_a_hang_is_not_billed(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("hang", count=1)
        with pytest.raises(APITimeoutError):
            await ask(sdk, timeout=0.2)
        assert (await provider.get("usage"))["requests"] == []
        assert (await provider.get("calls"))["calls"][0]["ended"] == {"hang": 1}

    async def test_a_reset_connection(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("connection_reset", count=1)
        with pytest.raises(APIConnectionError) as failed:
            await ask(sdk)
        assert not isinstance(failed.value, APITimeoutError)

    async def test_broken_json_is_billed(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("malformed_json", count=2)
        with pytest.raises(ValidationError):
            await parse(sdk, CampaignPlan, {})
        with pytest.raises(ValidationError):
            await sdk.responses.parse(model=MODEL, input="{}", text_format=CampaignPlan)
        assert len((await provider.get("usage"))["requests"]) == 2

    async def test_a_prompt_that_is_too_long(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("context_length", count=1)
        with pytest.raises(BadRequestError) as failed:
            await ask(sdk)
        assert failed.value.code == "context_length_exceeded"

    async def test_azure_without_a_deployment_route_for_moderations(self, azure: AsyncOpenAI) -> None:
        with pytest.raises(NotFoundError):
            await azure.moderations.create(input="x")

    async def test_latency_delays_and_does_no_harm(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.post("latency", {"ms": 300})
        with pytest.raises(APITimeoutError):
            await ask(sdk, timeout=0.1)
        await provider.post("latency", {"ms": 0})
        await provider.fault("latency", latency_ms=1, count=1)
        await ask(sdk)
        assert (await provider.get("faults"))["faults"][0]["fired"] == 1

    async def test_faults_keep_to_their_scope(
        self, provider: Simulator, openai: AsyncOpenAI, azure: AsyncOpenAI
    ) -> None:
        await provider.fault("server_error", dialect="azure", endpoint="chat")
        await ask(openai)
        await azure.responses.create(model=MODEL, input="x")
        with pytest.raises(InternalServerError):
            await ask(azure)
        await provider.http.delete("/_control/faults")
        await ask(azure)


class TestContentFilter:
    async def test_azure_refuses_the_prompt(self, provider: Simulator, azure: AsyncOpenAI) -> None:
        await provider.fault("content_filter", count=2)
        for call in (ask(azure), azure.responses.create(model=MODEL, input="x")):
            with pytest.raises(BadRequestError) as failed:
                await call
            assert failed.value.code == "content_filter"
            assert isinstance(failed.value.body, dict)
            inner = failed.value.body["innererror"]
            assert inner["code"] == "ResponsibleAIPolicyViolation"
            assert inner["content_filter_result"]["sexual"] == {"filtered": True, "severity": "high"}

    async def test_openai_stops_the_answer(self, provider: Simulator, openai: AsyncOpenAI) -> None:
        await provider.fault("content_filter", count=2)
        with pytest.raises(ContentFilterFinishReasonError):
            await parse(openai, CampaignPlan, {})
        response = await openai.responses.parse(model=MODEL, input="{}", text_format=CampaignPlan)
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "content_filter"
        assert response.output_parsed is None

    async def test_a_refusal_is_spoken(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("content_filter", count=2, **{"as": "refusal"})
        completion = await sdk.chat.completions.parse(
            model=MODEL, messages=[{"role": "user", "content": "{}"}], response_format=CampaignPlan
        )
        assert completion.choices[0].message.parsed is None
        assert completion.choices[0].message.refusal
        response = await sdk.responses.parse(model=MODEL, input="{}", text_format=CampaignPlan)
        assert response.output_parsed is None
        assert response.output[0].type == "message"
        assert response.output[0].content[0].type == "refusal"

    @pytest.mark.parametrize(("shown_as", "code"), [("error", "invalid_prompt"), ("finish_reason", None)])
    async def test_the_shape_can_be_chosen(
        self, provider: Simulator, openai: AsyncOpenAI, azure: AsyncOpenAI, shown_as: str, code: str | None
    ) -> None:
        await provider.fault("content_filter", **{"as": shown_as})
        if code is None:
            completion = await ask(azure)
            assert completion.choices[0].finish_reason == "content_filter"
            return
        with pytest.raises(BadRequestError) as failed:
            await ask(openai)
        assert failed.value.code == code
