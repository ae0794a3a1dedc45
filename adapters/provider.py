"""OpenAI and Azure OpenAI through the ``openai`` SDK; its exceptions become ``ProviderError`` here only.

Both dialects answer chat completions with structured outputs. The raw answer is handed on and not parsed by the SDK,
because an answer that can't be used was billed all the same and its usage must not be lost.

Where the provider may keep answers (``store``), each carries the id of its operation: an attempt after a crash finds
what was bought already, and a campaign's calls can be compared with the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx2
import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.provider_http import DirectHttpClient, address
from adapters.settings import Settings
from domain.cost import Usage
from domain.errors import ProviderError, ProviderFault
from domain.prompt import Completion, KeptAnswer, Prompt, ProviderCall
from domain.provider import ModerationAnswer, Provider
from domain.routing import Capability, RoutingPolicy, Target, default_policy

MODERATION_MODEL = "omni-moderation-latest"
CHAT = "/chat/completions"
OPERATION = "operation_id"
STEP = "step_id"
TARGET = "target"
VERSION = "prompt_version"
CAMPAIGN = "campaign_id"
LIST_TIMEOUT_S = 30.0
LONGEST_RETRY_AFTER_S = 3_600.0
"""Whoever names a later moment is asked again after this: its clock, or ours, may be wrong."""
LISTED = 100
"""Stored answers in one page of a list."""

_NO_ANSWER = (AttributeError, TypeError, ValueError)
"""What reading ends with where the SDK hands on whatever came with a good status: a proxy's page, or half a JSON."""


class _Wire(BaseModel):
    """As much of a chat completion as is needed; a provider may add to it at any time."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _InputDetails(_Wire):
    cached_tokens: int | None = None


class _OutputDetails(_Wire):
    reasoning_tokens: int | None = None


class _Usage(_Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Said(_Wire):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Wire):
    finish_reason: str | None = None
    message: _Said


class _Answer(_Wire):
    choices: tuple[_Choice, ...] = Field(min_length=1)
    usage: _Usage | None = None


class _OpenAI(AsyncOpenAI):
    """Takes each address apart once, not for every call."""

    def _prepare_url(self, url: str) -> httpx2.URL:
        return address(url) if url.startswith(("https://", "http://")) else super()._prepare_url(url)


class OpenAIModel:
    """``domain.ports.LanguageModel`` in either dialect. ``keeps_answers``: the provider may store them."""

    def __init__(self, target: Target, client: AsyncOpenAI, *, keeps_answers: bool = True) -> None:
        self.name = target.key
        self._target = target
        self._client = client
        self.keeps_answers = keeps_answers
        # At Azure the SDK puts the deployment's name into a path; a whole address need not be joined for each call.
        self._path = CHAT if isinstance(client, AsyncAzureOpenAI) else f"{client.base_url}{CHAT.removeprefix('/')}"

    async def complete(self, prompt: Prompt, call: ProviderCall) -> Completion:
        """Raises ``ProviderError``; one that follows a billed answer carries the tokens."""
        try:
            # Posted and read as it is: the SDK's own method goes through every part of the schema, and builds every
            # part of the answer, which takes longer than everything else in the client together.
            # The SDK's own time-out is for each read: a server that trickles could hold a call for ever.
            async with asyncio.timeout(call.timeout_s):
                content = await self._client.post(
                    self._path,
                    cast_to=bytes,
                    body=self._body(prompt, call),
                    # Asked once, at the address that the key is meant for and nowhere else.
                    options={
                        "timeout": call.timeout_s,
                        "max_retries": 0,
                        "follow_redirects": False,
                        "headers": {},
                    },
                )
        except TimeoutError as error:
            raise _too_late() from error
        except openai.APIError as error:
            raise _translated(error) from error
        try:
            answer = _Answer.model_validate_json(content)
        except ValidationError as error:
            raise ProviderError(
                "the provider's answer is no chat completion", fault=ProviderFault.TRANSIENT, billing_unknown=True
            ) from error
        usage = None if answer.usage is None else _usage_of(answer.usage)
        return Completion(content=_content_of(answer.choices[0], usage), usage=usage)

    async def kept_of_step(self, step_id: UUID, *, timeout_s: float) -> Sequence[KeptAnswer]:
        """What was bought for a step, oldest first."""
        return await self._kept({STEP: str(step_id), TARGET: self.name}, timeout_s)

    async def kept_of_campaign(self, campaign_id: str) -> Sequence[KeptAnswer]:
        """What was bought for a campaign, oldest first."""
        return await self._kept({CAMPAIGN: campaign_id, TARGET: self.name}, LIST_TIMEOUT_S)

    async def moderate(self, texts: Sequence[str], *, timeout_s: float) -> Sequence[ModerationAnswer]:
        """The provider's moderation endpoint; free of charge."""
        try:
            answer = await self._client.moderations.create(model=MODERATION_MODEL, input=list(texts), timeout=timeout_s)
            return [
                ModerationAnswer(
                    flagged=result.flagged,
                    categories=tuple(
                        sorted(name for name, flagged in result.categories.model_dump(by_alias=True).items() if flagged)
                    ),
                )
                for result in answer.results
            ]
        except openai.APIError as error:
            raise _translated(error) from error
        except _NO_ANSWER as error:
            raise _no_answer("no moderation") from error

    async def check(self) -> Mapping[str, str]:
        """That the provider accepts our key; costs nothing."""
        await self._client.models.list(timeout=5)
        return {"model": self._target.model}

    def _body(self, prompt: Prompt, call: ProviderCall) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._target.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": prompt.schema_name, "schema": prompt.json_schema, "strict": True},
            },
            "max_completion_tokens": prompt.max_output_tokens,
        }
        labels = {
            OPERATION: str(call.operation_id),
            STEP: str(call.step_id),
            CAMPAIGN: call.campaign_id,
            TARGET: self.name,
            VERSION: prompt.version,
        }
        return {**body, "store": True, "metadata": labels} if self.keeps_answers else body

    async def _kept(self, labels: dict[str, str], timeout_s: float) -> Sequence[KeptAnswer]:
        if not self.keeps_answers:
            return ()
        try:
            listed = self._client.chat.completions.list(
                # By our own labels alone: a provider may list an answer under another name of its model.
                metadata=labels,
                limit=LISTED,
                order="asc",
                timeout=timeout_s,
            )
            return [kept async for each in listed if (kept := _kept_answer(each)) is not None]
        except openai.APIError as error:
            raise _translated(error) from error
        except _NO_ANSWER as error:
            raise _no_answer("no list") from error


def routing_of(settings: Settings) -> RoutingPolicy:
    """The policy that is configured, or the default one over the configured models."""
    return settings.routing or default_policy(
        azure=Target(
            provider=Provider.AZURE, model=settings.azure_openai_deployment, priced_as=settings.azure_openai_model
        ),
        openai=Target(
            provider=Provider.OPENAI,
            model=settings.openai_model,
            capabilities=frozenset({Capability.STRUCTURED_OUTPUT, Capability.MODERATION}),
        ),
        cheaper=Target(provider=Provider.OPENAI, model=settings.openai_cheaper_model),
    )


def _no_answer(what: str) -> ProviderError:
    return ProviderError(f"the provider's answer is {what}", fault=ProviderFault.TRANSIENT)


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncIterator[Mapping[str, OpenAIModel]]:
    """Every model of the routing policy by its key, over aiohttp, without retries of its own."""
    timeout = settings.provider_timeout_s
    async with (
        _OpenAI(
            api_key=settings.openai_api_key.get_secret_value() or "unset",
            base_url=settings.openai_base_url,
            max_retries=0,
            timeout=timeout,
            http_client=DirectHttpClient(timeout),
        ) as direct,
        AsyncAzureOpenAI(
            api_key=settings.azure_openai_api_key.get_secret_value() or "unset",
            azure_endpoint=settings.azure_openai_endpoint or "https://unset.openai.azure.com",
            api_version=settings.azure_openai_api_version,
            max_retries=0,
            timeout=timeout,
            http_client=DirectHttpClient(timeout),
        ) as azure,
    ):
        clients: Mapping[Provider, AsyncOpenAI] = {Provider.OPENAI: direct, Provider.AZURE: azure}
        yield {
            target.key: OpenAIModel(target, clients[target.provider], keeps_answers=settings.provider_keeps_answers)
            for target in routing_of(settings).targets
        }


def _kept_answer(stored: ChatCompletion) -> KeptAnswer | None:
    """``None`` for an answer that is not ours to read."""
    labels = stored.metadata or {}
    if OPERATION not in labels or not stored.choices or stored.usage is None:
        return None
    choice = stored.choices[0]
    return KeptAnswer(
        operation_id=UUID(labels[OPERATION]),
        content=choice.message.content or "",
        refused=choice.finish_reason == "content_filter" or bool(choice.message.refusal),
        usage=_usage_of(_Usage.model_validate(stored.usage.model_dump())),
        prompt_version=labels.get(VERSION, ""),
    )


def _content_of(choice: _Choice, usage: Usage | None) -> str:
    billed = None if usage is None else usage.billed
    if choice.finish_reason == "content_filter" or choice.message.refusal:
        raise ProviderError(
            "the provider refused on content policy",
            fault=ProviderFault.CONTENT_POLICY,
            billed_tokens=billed,
            billing_unknown=billed is None,
        )
    if choice.finish_reason == "length":
        raise ProviderError(
            "the answer was cut off",
            fault=ProviderFault.CONTEXT_LENGTH,
            billed_tokens=billed,
            billing_unknown=billed is None,
        )
    return choice.message.content or ""


def _usage_of(usage: _Usage) -> Usage:
    read, thought = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_tokens=(read.cached_tokens or 0) if read else 0,
        reasoning_tokens=(thought.reasoning_tokens or 0) if thought else 0,
    )


def _translated(error: openai.APIError) -> ProviderError:
    # Without a connection nothing was asked; whoever broke one may have answered.
    asked = not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
    if isinstance(error, openai.APITimeoutError):
        return _too_late(asked=asked)
    if isinstance(error, openai.APIStatusError):
        return ProviderError(
            f"the provider answered {error.status_code}",
            fault=_fault_of(error),
            retry_after_s=_retry_after(error),
            billing_unknown=error.status_code in {408, 500, 502, 504},
        )
    return ProviderError("the provider can't be reached", fault=ProviderFault.TRANSIENT, billing_unknown=asked)


def _too_late(*, asked: bool = True) -> ProviderError:
    return ProviderError("the provider did not answer in time", fault=ProviderFault.TIMEOUT, billing_unknown=asked)


def _fault_of(error: openai.APIStatusError) -> ProviderFault:
    if error.code in {"content_filter", "invalid_prompt"}:
        return ProviderFault.CONTENT_POLICY
    if error.code == "context_length_exceeded":
        return ProviderFault.CONTEXT_LENGTH
    match error.status_code:
        case status if status < 400:
            # It answers somewhere else now: for an administrator to mend, like a key that is not accepted.
            return ProviderFault.AUTH
        case 429:
            return ProviderFault.THROTTLED
        case 401 | 403 | 404:
            # A deployment that is not there is, like a key that is not accepted, for an administrator to mend.
            return ProviderFault.AUTH
        case 408:
            return ProviderFault.TIMEOUT
        case 409:
            return ProviderFault.TRANSIENT
        case status if status >= 500:
            return ProviderFault.TRANSIENT
        case _:
            return ProviderFault.INVALID_REQUEST


def _retry_after(error: openai.APIStatusError) -> float | None:
    """In how many seconds to come back, if it says so."""
    wait_s = _asked_wait_s(error.response.headers)
    return None if wait_s is None else min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """The providers' own ``retry-after-ms``, else ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3)."""
    with suppress(KeyError, ValueError):
        return float(headers["retry-after-ms"]) / 1000
    with suppress(KeyError, ValueError):
        return float(headers["retry-after"])
    with suppress(KeyError, ValueError):
        at = parsedate_to_datetime(headers["retry-after"])
        # A date in "-0000" is in UTC as well, and has no zone here.
        return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None
