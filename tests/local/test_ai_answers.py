"""What the AI simulator does for the ladder: answers that are stored, billed or lost, and faults by prompt."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from openai import (
    APIConnectionError,
    APITimeoutError,
    AsyncAzureOpenAI,
    AsyncOpenAI,
    BadRequestError,
    InternalServerError,
)
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from domain.compliance import check
from local.ai.phrases import BOOKS
from local.ai.writing import general_text
from tests.local import Simulator, running

MODEL = "gpt-4o-mini"


class GeneralText(BaseModel):
    language: str
    text: str


class CampaignPlan(BaseModel):
    theme: str
    talking_points: list[str]
    general_texts: list[GeneralText]


class TextJudgement(BaseModel):
    score: int


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


@pytest.fixture(params=["openai", "azure"])
def sdk(request: pytest.FixtureRequest, provider: Simulator, clients: dict[str, AsyncOpenAI]) -> AsyncOpenAI:
    """Each dialect in turn, never called before."""
    return clients[request.param]


async def ask(sdk: AsyncOpenAI, content: str = "Say hello", **options: Any) -> Any:
    return await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}], **options)


async def parse(sdk: AsyncOpenAI, kind: type[BaseModel], content: str) -> Any:
    completion = await sdk.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": content}], response_format=kind
    )
    return completion.choices[0].message.parsed


async def stored(sdk: AsyncOpenAI, operation: str) -> list[ChatCompletion]:
    return (await sdk.chat.completions.list(metadata={"operation_id": operation})).data


async def billed(provider: Simulator, count: int) -> list[dict[str, Any]]:
    """The usage book once it has so many entries."""
    async with asyncio.timeout(20):
        while len(requests := (await provider.get("usage"))["requests"]) < count:
            await asyncio.sleep(0.01)
    assert len(requests) == count
    return list(requests)


class TestStoredCompletions:
    async def test_one_is_found_by_its_metadata(self, sdk: AsyncOpenAI) -> None:
        mine = {"operation_id": "op-1", "campaign_id": "c"}
        answer = await ask(sdk, store=True, metadata=mine)
        await ask(sdk, "Say more", store=True, metadata={"operation_id": "op-2", "campaign_id": "c"})
        [found] = await stored(sdk, "op-1")
        assert (found.id, found.metadata, found.model) == (answer.id, mine, MODEL)
        assert found.choices[0].message.content == answer.choices[0].message.content
        assert found.usage == answer.usage
        assert len((await sdk.chat.completions.list(metadata={"campaign_id": "c"})).data) == 2
        assert (await sdk.chat.completions.list(metadata=mine | {"operation_id": "op-2"}, model="other")).data == []
        assert await stored(sdk, "op-3") == []

    async def test_what_was_not_to_be_stored_is_not(self, sdk: AsyncOpenAI) -> None:
        await ask(sdk)
        await ask(sdk, store=False, metadata={"operation_id": "op-1"})
        assert (await sdk.chat.completions.list()).data == []

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_pages_follow_one_another(self, sdk: AsyncOpenAI, order: Any) -> None:
        ids = [(await ask(sdk, store=True, metadata={"campaign_id": "c"})).id for _ in range(5)]
        wanted = ids if order == "asc" else ids[::-1]
        page = await sdk.chat.completions.list(metadata={"campaign_id": "c"}, limit=2, order=order)
        assert ([each.id for each in page.data], page.has_more) == (wanted[:2], True)
        extra = page.model_extra or {}
        assert (extra["first_id"], extra["last_id"]) == (wanted[0], wanted[1])
        assert [each.id async for each in page] == wanted
        whole = await sdk.chat.completions.list(limit=5, order=order)
        assert (len(whole.data), whole.has_more) == (5, False)

    async def test_providers_do_not_share_them(self, provider: Simulator, clients: dict[str, AsyncOpenAI]) -> None:
        await ask(clients["openai"], store=True, metadata={"operation_id": "op-1"})
        assert await stored(clients["azure"], "op-1") == []

    async def test_a_deployment_of_the_client_names_the_model(self, provider: Simulator) -> None:
        async with AsyncAzureOpenAI(
            api_key="key",
            azure_endpoint=provider.url,
            azure_deployment="writer",
            api_version="2025-04-01-preview",
            max_retries=0,
        ) as azure:
            await ask(azure, store=True, metadata={"operation_id": "op-1"})
            assert [each.model for each in await stored(azure, "op-1")] == ["writer"]

    async def test_listing_is_free_and_counted_on_its_own(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await stored(sdk, "op-1")
        assert (await provider.get("usage"))["requests"] == []
        [count] = (await provider.get("calls"))["calls"]
        assert (count["endpoint"], count["attempts"]) == ("stored", 1)
        await provider.fault("server_error", endpoint="stored")
        await ask(sdk)
        with pytest.raises(InternalServerError):
            await stored(sdk, "op-1")

    async def test_metadata_has_limits(self, sdk: AsyncOpenAI) -> None:
        for metadata in ({f"k{number}": "" for number in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}):
            with pytest.raises(BadRequestError):
                await ask(sdk, store=True, metadata=metadata)


class TestLostAnswers:
    @pytest.mark.parametrize(
        ("kind", "error", "ended"),
        [("hang", APITimeoutError, "hang"), ("connection_reset", APIConnectionError, "reset")],
    )
    async def test_they_are_billed_and_stored(
        self, provider: Simulator, sdk: AsyncOpenAI, kind: str, error: type[Exception], ended: str
    ) -> None:
        await provider.fault(kind, count=1, bill=True)
        with pytest.raises(error):
            await ask(sdk, store=True, metadata={"operation_id": "op-1"}, timeout=1)
        [entry] = await billed(provider, 1)
        [found] = await stored(sdk, "op-1")
        assert found.usage is not None
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (
            entry["input_tokens"],
            entry["output_tokens"],
        )
        assert (await provider.get("calls"))["calls"][0]["ended"] == {ended: 1}

    async def test_without_bill_nothing_was_written(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("connection_reset", count=1)
        with pytest.raises(APIConnectionError):
            await ask(sdk, store=True, metadata={"operation_id": "op-1"})
        assert await stored(sdk, "op-1") == []
        assert (await provider.get("usage"))["requests"] == []

    async def test_one_whose_caller_left_early_is_billed_and_stored(
        self, provider: Simulator, sdk: AsyncOpenAI
    ) -> None:
        await provider.fault("latency", latency_ms=300)
        with pytest.raises(APITimeoutError):
            await ask(sdk, store=True, metadata={"operation_id": "op-1"}, timeout=0.05)
        await billed(provider, 1)
        assert len(await stored(sdk, "op-1")) == 1

    async def test_bill_is_for_lost_answers_only(self, provider: Simulator) -> None:
        response = await provider.http.post("/_control/faults", json={"kind": "server_error", "bill": True})
        assert response.status_code == 422


class TestFaultsByPrompt:
    async def test_a_filter_that_a_softer_prompt_passes(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("content_filter", unless_contains="family friendly", **{"as": "error"})
        with pytest.raises(BadRequestError):
            await ask(sdk, "Be bold")
        await ask(sdk, "Be bold, and family friendly")

    async def test_a_filter_for_one_word(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("content_filter", only_contains="bold", **{"as": "error"})
        await ask(sdk, "Be kind")
        with pytest.raises(BadRequestError):
            await ask(sdk, "Be bold")

    async def test_a_window_of_so_many_characters(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        await provider.fault("context_length", above_chars=100)
        await ask(sdk, "x" * 100)
        with pytest.raises(BadRequestError) as failed:
            await ask(sdk, "x" * 101)
        assert failed.value.code == "context_length_exceeded"

    async def test_what_is_to_be_moderated_counts_as_a_prompt(
        self, provider: Simulator, clients: dict[str, AsyncOpenAI]
    ) -> None:
        await provider.fault("server_error", endpoint="moderations", only_contains="bold")
        await clients["openai"].moderations.create(input="kind")
        with pytest.raises(InternalServerError):
            await clients["openai"].moderations.create(input="bold")


class TestPlans:
    async def test_there_is_a_general_text_for_each_language(self, sdk: AsyncOpenAI) -> None:
        request = {"brief": "Spring sale", "message_type": "promotional", "languages": ["fr", "de-AT", "en"]}
        plan = await parse(sdk, CampaignPlan, json.dumps(request))
        assert [each.language for each in plan.general_texts] == ["fr", "de-AT", "en"]
        assert len({each.text for each in plan.general_texts}) == 3
        assert plan == await parse(sdk, CampaignPlan, json.dumps(request))

    @pytest.mark.parametrize("language", BOOKS)
    async def test_it_is_in_that_language_and_for_anybody(self, clients: dict[str, AsyncOpenAI], language: str) -> None:
        request = {"brief": "Spring sale", "message_type": "welcome", "languages": [language]}
        plan = await parse(clients["openai"], CampaignPlan, json.dumps(request))
        [general] = plan.general_texts
        book = BOOKS[language]
        assert any(body in general.text for body in book.bodies)
        assert any(general.text.endswith(closing) for closing in book.closings)
        assert 60 <= len(general.text) <= 280
        assert not re.search(r"[{}\d@#$€£/]|https?:|www\.", general.text)
        assert book.nameless not in general.text.split()

    @pytest.mark.parametrize("language", BOOKS)
    def test_it_breaks_no_rule(self, language: str) -> None:
        for number in range(200):
            assert check(general_text({"brief": f"Spring sale {number}"}, language)).violations == ()

    async def test_a_brief_alone_will_do(self, clients: dict[str, AsyncOpenAI]) -> None:
        plans = [await parse(clients["openai"], CampaignPlan, f"Spring sale number {number}") for number in range(9)]
        assert {each.language for plan in plans for each in plan.general_texts} == {"en"}
        assert len({plan.general_texts[0].text for plan in plans}) > 1


class TestJudgements:
    async def test_the_same_text_has_the_same_score(self, clients: dict[str, AsyncOpenAI]) -> None:
        texts = [json.dumps({"text": f"Hello {number}"}) for number in range(9)]
        scores = [(await parse(clients["openai"], TextJudgement, text)).score for text in texts]
        assert all(0 <= score <= 100 for score in scores)
        assert len(set(scores)) > 1
        assert scores == [(await parse(clients["azure"], TextJudgement, text)).score for text in texts]


class TestUsageDetails:
    async def test_cached_and_reasoning_tokens_are_told_and_booked(self, provider: Simulator, sdk: AsyncOpenAI) -> None:
        plain = (await ask(sdk, "x" * 400)).usage
        await provider.post("usage-details", {"cached_tokens": 64, "reasoning_tokens": 300})
        usage = (await ask(sdk, "x" * 400)).usage
        assert usage.prompt_tokens == plain.prompt_tokens == 100
        assert usage.prompt_tokens_details.cached_tokens == 64
        assert usage.completion_tokens == plain.completion_tokens + 300
        assert usage.completion_tokens_details.reasoning_tokens == 300
        response = await sdk.responses.create(model=MODEL, input="x" * 40)
        assert response.usage is not None
        assert response.usage.input_tokens_details.cached_tokens == response.usage.input_tokens == 10
        assert response.usage.output_tokens_details.reasoning_tokens == 300
        book = await provider.get("usage")
        assert [entry["cached_tokens"] for entry in book["requests"]] == [0, 64, 10]
        assert [entry["reasoning_tokens"] for entry in book["requests"]] == [0, 300, 300]
        [total] = book["totals"]
        assert (total["cached_tokens"], total["reasoning_tokens"]) == (74, 600)


class TestArrivals:
    async def test_each_call_is_noted_in_order(self, provider: Simulator, clients: dict[str, AsyncOpenAI]) -> None:
        await provider.fault("server_error", dialect="azure")
        await ask(clients["openai"])
        with pytest.raises(InternalServerError):
            await ask(clients["azure"])
        await clients["openai"].moderations.create(input="x")
        arrivals = (await provider.get("arrivals"))["arrivals"]
        assert [(each["dialect"], each["endpoint"]) for each in arrivals] == [
            ("openai", "chat"),
            ("azure", "chat"),
            ("openai", "moderations"),
        ]
        moments = [each["at_ms"] for each in arrivals]
        assert moments == sorted(moments)
        [azure] = (await provider.get("arrivals", dialect="azure", endpoint="chat"))["arrivals"]
        assert azure == arrivals[1] | {"model": MODEL}
