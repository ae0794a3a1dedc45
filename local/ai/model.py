"""What goes over the wire in both dialects, brought to one form: a prompt and what the answer has to look like."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.faults import FaultRule

Dialect = Literal["openai", "azure"]
Endpoint = Literal["chat", "responses", "moderations", "models"]
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
    """Billed tokens."""

    input_tokens: int
    output_tokens: int


class ChatBody(_Wire):
    """`chat/completions`."""

    model: str = ""
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None

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
    """A fault of a provider; without a scope it concerns every call but the list of models."""

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
    endpoint: Literal["chat", "responses", "moderations"] | None = None
    model: str | None = None
    status: int = Field(default=503, ge=500, le=599, description="of a server_error")
    shown_as: Literal["error", "finish_reason", "refusal"] | None = Field(default=None, alias="as")

    def covers(self, call: ModelCall) -> bool:
        """Whether this rule is meant for the call."""
        return (
            call.endpoint != "models"
            and self.dialect in (None, call.dialect)
            and self.endpoint in (None, call.endpoint)
            and self.model in (None, call.model)
        )


class BaseLatency(BaseModel):
    """The time that every answer takes at least, in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ms: float = Field(ge=0)


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
