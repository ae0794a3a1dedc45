"""What a model is asked and how its answer is read. An answer is JSON in a closed schema, or it is malformed."""

import json
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.cost import Usage
from domain.errors import ProviderError, ProviderFault
from domain.model import Model
from domain.provider import ContentPlan, GeneralText


class Variant(StrEnum):
    """How a prompt is worded: as usual, tamer after a refusal, stricter after a malformed answer, or shorter."""

    USUAL = "usual"
    SAFE = "safe"
    REPAIR = "repair"
    SHORT = "short"


class Refusal(Model):
    """A provider would not answer a question, on policy; ``reworded``: nor its safe wording.

    ``run``: the execution of an activity that heard it.
    """

    target: str = Field(examples=["openai/gpt-4o-mini"])
    reworded: bool = False
    run: str = ""


class Prompt(Model):
    """One request for JSON. ``user`` may hold personal data: it goes to the provider and nowhere else."""

    version: str = Field(examples=["write.v2"])
    system: str
    user: str
    schema_name: str
    json_schema: dict[str, Any]
    max_output_tokens: int = Field(ge=1)

    @property
    def text(self) -> str:
        """Everything that is billed as input, but for the schema."""
        return f"{self.system}\n{self.user}"

    @cached_property
    def schema_text(self) -> str:
        """The schema with its name, as JSON."""
        return json.dumps({"name": self.schema_name, "schema": self.json_schema}, ensure_ascii=False)


class ProviderCall(Model):
    """What a call is for. An operation is one purchase; a step is what is wanted, whoever is asked, however often."""

    operation_id: UUID
    step_id: UUID
    campaign_id: str
    timeout_s: float = Field(gt=0)


class Completion(Model):
    """An answer and what was billed for it; ``None``: the provider did not say."""

    content: str
    usage: Usage | None


class KeptAnswer(Model):
    """A purchase that the provider remembers; its answer may never have reached us."""

    operation_id: UUID
    content: str
    usage: Usage
    prompt_version: str = ""
    refused: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the safe wording was asked."""
        return self.prompt_version.endswith(f"/{Variant.SAFE}")


class _Output(BaseModel):
    """A response schema in the subset that structured outputs accept: closed objects, every field required."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _GeneralTextOutput(_Output):
    language: str
    text: str


class PlanOutput(_Output):
    """Schema ``campaign_plan``."""

    theme: str
    tone: str
    angle: str
    call_to_action: str
    talking_points: list[str]
    general_texts: list[_GeneralTextOutput]


class _MessageOutput(_Output):
    recipient_id: str
    text: str


class BatchOutput(_Output):
    """Schema ``message_batch``."""

    messages: list[_MessageOutput]


class JudgeOutput(_Output):
    """Schema ``text_judgement``; ``score`` from 0 to 100."""

    score: int


Output = TypeVar("Output", bound=_Output)


def read_plan(content: str) -> ContentPlan:
    """Raises ``ProviderError`` (malformed output)."""
    output = _read(content, PlanOutput)
    return ContentPlan(
        theme=output.theme,
        tone=output.tone,
        angle=output.angle,
        call_to_action=output.call_to_action,
        talking_points=tuple(output.talking_points),
        general_texts=tuple(
            GeneralText(language=each.language, text=each.text) for each in output.general_texts if each.text.strip()
        ),
    )


def read_batch(content: str) -> dict[str, str]:
    """Texts by recipient id, empty ones left out. Raises ``ProviderError`` (malformed output)."""
    return {each.recipient_id: each.text for each in _read(content, BatchOutput).messages if each.text.strip()}


def read_judgement(content: str) -> float:
    """0 to 1. Raises ``ProviderError`` (malformed output)."""
    return min(100, max(0, _read(content, JudgeOutput).score)) / 100


def _read(content: str, schema: type[Output]) -> Output:
    try:
        return schema.model_validate_json(content)
    except ValidationError as error:
        raise ProviderError(
            f"the answer is not a valid {schema.__name__}", fault=ProviderFault.MALFORMED_OUTPUT
        ) from error
