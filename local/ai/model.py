"""What goes over the wire in both dialects, brought to one form: a prompt and what the answer has to look like."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.faults import FaultRule

Dialect = Literal["openai", "azure"]
Endpoint = Literal["chat", "responses", "moderations", "models", "stored"]
Outcome = Literal["stop", "length", "content_filter", "refusal"]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True)
class ModelCall:
    """Which endpoint of which dialect is called, for which model or deployment."""

    dialect: Dialect
    endpoint: Endpoint
    model: str


@dataclass(frozen=True)
class Prompt:
    """A request for text. `schema_name` is in snake_case; `schema` is None for free text."""

    text: str
    last_user_text: str
    schema_name: str = ""
    schema: dict[str, Any] | None = None
    max_output_tokens: int | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The last user message read as JSON; empty when it is something else."""
        try:
            content = json.loads(self.last_user_text)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Answer:
    """What the model says, and why it stopped."""

    content: str
    outcome: Outcome = "stop"


@dataclass(frozen=True)
class Usage:
    """Billed tokens; cached ones are among the input, reasoning ones among the output."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
"""What a caller attaches to an answer that is to be stored; the limits are the API's."""


class ChatBody(_Wire):
    """`chat/completions`."""

    model: str = ""
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    @property
    def label(self) -> dict[str, str] | None:
        """Under what the answer is to be stored; None when it is not."""
        return (self.metadata or {}) if self.store else None

    def prompt(self) -> Prompt:
        wanted = self.response_format or {}
        schema = wanted.get("json_schema") or {}
        return Prompt(
            text="\n".join(_text_of(message.get("content")) for message in self.messages),
            last_user_text=_last_user_text(self.messages),
            schema_name=_snake_case(schema.get("name", "")),
            schema=schema.get("schema", {"type": "object"} if wanted.get("type") == "json_object" else None),
            max_output_tokens=self.max_completion_tokens or self.max_tokens,
        )


class ResponsesBody(_Wire):
    """`responses`."""

    model: str
    input: str | tuple[dict[str, Any], ...]
    instructions: str | None = None
    text: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None

    def prompt(self) -> Prompt:
        given = self.input
        messages = ({"role": "user", "content": given},) if isinstance(given, str) else given
        wanted = (self.text or {}).get("format") or {}
        contents = [self.instructions or "", *(_text_of(message.get("content")) for message in messages)]
        return Prompt(
            text="\n".join(content for content in contents if content),
            last_user_text=_last_user_text(messages),
            schema_name=_snake_case(wanted.get("name", "")),
            schema=wanted.get("schema", {"type": "object"} if wanted.get("type") == "json_object" else None),
            max_output_tokens=self.max_output_tokens,
        )


class ModerationBody(_Wire):
    """`moderations`."""

    input: str | tuple[str | dict[str, Any], ...]
    model: str = "omni-moderation-latest"

    def texts(self) -> list[str]:
        """One text for each result; the parts of a multi-modal input are judged together."""
        if isinstance(self.input, str):
            return [self.input]
        strings = [item for item in self.input if isinstance(item, str)]
        parts = [str(item.get("text", "")) for item in self.input if isinstance(item, dict)]
        return [*strings, *([" ".join(parts)] if parts else [])]


class ProviderFault(FaultRule):
    """A fault of a provider; without a scope it concerns every call but the list of models.

    A scope may be the prompt, too: what it contains, does not contain, or how long it is.
    """

    kind: Literal[
        "latency",
        "rate_limited",
        "server_error",
        "hang",
        "malformed_json",
        "content_filter",
        "unauthorized",
        "context_length",
        "connection_reset",
    ]
    dialect: Dialect | None = None
    endpoint: Literal["chat", "responses", "moderations", "stored"] | None = None
    model: str | None = None
    only_contains: str | None = Field(default=None, min_length=1, description="prompts with this text")
    unless_contains: str | None = Field(default=None, min_length=1, description="prompts without this text")
    above_chars: int | None = Field(default=None, ge=0, description="prompts of more characters")
    bill: bool = Field(default=False, description="of a lost answer: the model wrote it, and it was billed")
    status: int = Field(default=503, ge=500, le=599, description="of a server_error")
    shown_as: Literal["error", "finish_reason", "refusal"] | None = Field(default=None, alias="as")

    @model_validator(mode="after")
    def _only_lost_answers_are_billed(self) -> Self:
        if self.bill and not self.loses_answer:
            raise ValueError("bill is for hang and connection_reset: other faults say by themselves what is billed")
        return self

    @property
    def loses_answer(self) -> bool:
        """Whether the caller gets no answer at all."""
        return self.kind in ("hang", "connection_reset")

    def covers(self, call: ModelCall, text: str) -> bool:
        """Whether this rule is meant for the call, whose prompt is `text`."""
        return (
            call.endpoint != "models"
            and self.dialect in (None, call.dialect)
            and self.endpoint in (None, call.endpoint)
            and self.model in (None, call.model)
            and (self.only_contains is None or self.only_contains in text)
            and (self.unless_contains is None or self.unless_contains not in text)
            and (self.above_chars is None or len(text) > self.above_chars)
        )


class BaseLatency(BaseModel):
    """The time that every answer takes at least, in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ms: float = Field(ge=0)


class UsageDetails(BaseModel):
    """How many tokens of every answer count as read from the cache, and how many were thought before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cached_tokens: int = Field(default=0, ge=0, description="at most as many as the prompt has")
    reasoning_tokens: int = Field(default=0, ge=0, description="billed as output on top of the visible answer")

    def usage(self, prompt: str, answer: str) -> Usage:
        """What an answer is billed."""
        read = tokens(prompt)
        return Usage(
            input_tokens=read,
            output_tokens=tokens(answer) + self.reasoning_tokens,
            cached_tokens=min(self.cached_tokens, read),
            reasoning_tokens=self.reasoning_tokens,
        )


def tokens(text: str) -> int:
    """The simulated tokenizer: four characters a token, one at least."""
    return max(math.ceil(len(text) / 4), 1)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _last_user_text(messages: Sequence[dict[str, Any]]) -> str:
    return next((_text_of(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")


def _snake_case(name: str) -> str:
    # The SDK names a schema after its class: CampaignPlan and campaign_plan are the same request.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
