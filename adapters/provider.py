"""OpenAI and Azure OpenAI through the ``openai`` SDK; its exceptions become ``ProviderError`` here only.

Both dialects answer chat completions with structured outputs. The raw answer is parsed here and not by the
SDK, because an answer that can't be used was billed all the same and its usage must not be lost.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import openai
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAioHttpClient
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.settings import Settings
from domain.cost import Usage
from domain.errors import ProviderError, ProviderFault
from domain.provider import (
    ContentPlan,
    ModerationAnswer,
    PlanAnswer,
    Provider,
    WritingAnswer,
    WritingTask,
)

PLAN_PROMPT = "plan.v1"
WRITE_PROMPT = "write.v1"
MODERATION_MODEL = "omni-moderation-latest"

_PROMPTS = Path(__file__).parent / "prompts"


class _Strict(BaseModel):
    """A response schema in the subset that structured outputs accept: closed objects, every field required."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _PlanOutput(_Strict):
    theme: str
    tone: str
    angle: str
    call_to_action: str
    talking_points: list[str]


class _MessageOutput(_Strict):
    recipient_id: str
    text: str


class _BatchOutput(_Strict):
    messages: list[_MessageOutput]


S = TypeVar("S", bound=_Strict)


class OpenAIModel:
    """``domain.ports.LanguageModel`` in either dialect.

    ``deployment`` is what the API is asked for, ``priced_as`` the model whose list price applies: at Azure a
    deployment may have any name.
    """

    def __init__(self, provider: Provider, client: AsyncOpenAI, *, deployment: str, priced_as: str) -> None:
        self.name = str(provider)
        self._client = client
        self._deployment = deployment
        self._priced_as = priced_as

    async def plan(self, *, brief: str, message_type: str) -> PlanAnswer:
        output, usage = await self._structured(
            "campaign_plan", _PlanOutput, _prompt(PLAN_PROMPT, message_type=message_type), brief
        )
        return PlanAnswer(
            plan=ContentPlan.model_validate(output.model_dump()),
            usage=usage,
            model=self._priced_as,
            prompt_version=PLAN_PROMPT,
        )

    async def write(self, task: WritingTask) -> WritingAnswer:
        system = _prompt(WRITE_PROMPT, message_type=str(task.message_type), brief=task.brief)
        request = {
            "message_type": str(task.message_type),
            "plan": task.plan.model_dump(mode="json", by_alias=False),
            "recipients": [
                recipient.model_dump(mode="json", by_alias=False, exclude_none=True) for recipient in task.recipients
            ],
        }
        output, usage = await self._structured(
            "message_batch", _BatchOutput, system, json.dumps(request, ensure_ascii=False)
        )
        asked = {recipient.recipient_id for recipient in task.recipients}
        return WritingAnswer(
            texts={message.recipient_id: message.text for message in output.messages if message.recipient_id in asked},
            usage=usage,
            model=self._priced_as,
            prompt_version=WRITE_PROMPT,
        )

    async def moderate(self, text: str) -> ModerationAnswer:
        try:
            answer = await self._client.moderations.create(model=MODERATION_MODEL, input=text)
        except openai.APIError as error:
            raise _translated(error) from error
        result = answer.results[0]
        flags = result.categories.model_dump(by_alias=True)
        return ModerationAnswer(
            flagged=result.flagged, categories=tuple(sorted(name for name, flagged in flags.items() if flagged))
        )

    async def check(self) -> Mapping[str, str]:
        """That the provider accepts our key; costs nothing."""
        await self._client.models.list(timeout=5)
        return {"deployment": self._deployment}

    async def _structured(self, name: str, schema: type[S], system: str, user: str) -> tuple[S, Usage]:
        try:
            completion = await self._client.chat.completions.create(
                model=self._deployment,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": name, "schema": schema.model_json_schema(), "strict": True},
                },
            )
        except openai.APIError as error:
            raise _translated(error) from error
        usage = _usage_of(completion)
        billed = (usage.input_tokens, usage.output_tokens)
        try:
            return schema.model_validate_json(_content_of(completion)), usage
        except ValidationError as error:
            raise ProviderError(
                f"the answer is not a valid {name}",
                fault=ProviderFault.MALFORMED_OUTPUT,
                billed_tokens=billed,
                model=self._priced_as,
            ) from error
        except _RefusedError as error:
            raise ProviderError(
                "the provider refused on content policy",
                fault=ProviderFault.CONTENT_POLICY,
                billed_tokens=billed,
                model=self._priced_as,
            ) from error


class _RefusedError(Exception):
    """The provider answered with a refusal instead of content."""


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncIterator[Mapping[Provider, OpenAIModel]]:
    """Both providers on the SDK's aiohttp transport, without retries of their own: the workflow owns those."""
    timeout = settings.provider_timeout_s
    async with (
        AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value() or "unset",
            base_url=settings.openai_base_url,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(timeout=timeout),
        ) as direct,
        AsyncAzureOpenAI(
            api_key=settings.azure_openai_api_key.get_secret_value() or "unset",
            azure_endpoint=settings.azure_openai_endpoint or "https://unset.openai.azure.com",
            api_version=settings.azure_openai_api_version,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(timeout=timeout),
        ) as azure,
    ):
        yield {
            Provider.OPENAI: OpenAIModel(
                Provider.OPENAI, direct, deployment=settings.openai_model, priced_as=settings.openai_model
            ),
            Provider.AZURE: OpenAIModel(
                Provider.AZURE,
                azure,
                deployment=settings.azure_openai_deployment,
                priced_as=settings.azure_openai_model,
            ),
        }


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_PROMPTS), undefined=StrictUndefined, autoescape=False)  # noqa: S701


def _prompt(version: str, **values: str) -> str:
    return _environment().get_template(f"{version}.j2").render(values)


def _content_of(completion: ChatCompletion) -> str:
    choice = completion.choices[0]
    if choice.finish_reason == "content_filter" or choice.message.refusal:
        raise _RefusedError
    return choice.message.content or ""


def _usage_of(completion: ChatCompletion) -> Usage:
    if completion.usage is None:
        return Usage()
    return Usage(input_tokens=completion.usage.prompt_tokens, output_tokens=completion.usage.completion_tokens)


def _translated(error: openai.APIError) -> ProviderError:
    if isinstance(error, openai.APITimeoutError) and not _refused_or_reset(error):
        return ProviderError("the provider did not answer in time", fault=ProviderFault.TIMEOUT)
    if isinstance(error, openai.APIStatusError):
        return ProviderError(
            f"the provider answered {error.status_code}",
            fault=_fault_of(error),
            retry_after_s=_retry_after(error),
        )
    return ProviderError("the provider can't be reached", fault=ProviderFault.TRANSIENT)


def _refused_or_reset(error: BaseException) -> bool:
    """The SDK's aiohttp transport reports a refused or reset connection as a time-out; the socket knows better."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _fault_of(error: openai.APIStatusError) -> ProviderFault:
    if error.code in {"content_filter", "invalid_prompt"}:
        return ProviderFault.CONTENT_POLICY
    if error.code == "context_length_exceeded":
        return ProviderFault.CONTEXT_LENGTH
    match error.status_code:
        case 429:
            return ProviderFault.THROTTLED
        case 401 | 403:
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
    try:
        return float(error.response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
