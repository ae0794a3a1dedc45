"""Versioned prompts: Jinja2 files whose name is their version. A file that was ever used is never changed."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel

from domain.prompt import BatchOutput, JudgeOutput, PlanOutput, Prompt, Variant
from domain.provider import WritingTask
from domain.rate_limit import MessageType

PLAN = "plan.v2"
WRITE = "write.v2"
JUDGE = "judge.v1"

PLAN_OUTPUT_TOKENS = 900
GENERAL_TEXT_OUTPUT_TOKENS = 300
"""A plan has room for a general text, as long as a message, in each language, with what is needed around it."""
MESSAGE_OUTPUT_TOKENS = 250
"""A message has at most 280 characters; no language needs more tokens than this for it, its id and its quotes."""
JUDGE_OUTPUT_TOKENS = 50

_TOLD_OF_PLAN = {"theme", "tone", "angle", "call_to_action", "talking_points"}

_FILES = Path(__file__).parent / "prompts"


class FilePrompts:
    """``domain.ports.Prompts``."""

    def plan(self, *, brief: str, message_type: MessageType, languages: Sequence[str], variant: Variant) -> Prompt:
        """Knows the brief and nothing of any fan, so that the plan can be cached."""
        request = {"brief": brief, "message_type": str(message_type), "languages": list(languages)}
        room = PLAN_OUTPUT_TOKENS + GENERAL_TEXT_OUTPUT_TOKENS * len(languages)
        return _prompt(PLAN, "campaign_plan", PlanOutput, request, room, variant)

    def write(self, task: WritingTask, variant: Variant) -> Prompt:
        """For every recipient of the task one message. The short variant leaves out the talking points."""
        plan = task.plan.model_dump(mode="json", by_alias=False, include=_TOLD_OF_PLAN)
        if variant is Variant.SHORT:
            plan.pop("talking_points")
        request = {
            "message_type": str(task.message_type),
            # A person plans where the brief could not be followed.
            "brief": "" if task.plan.written_by else task.brief,
            "plan": plan,
            "recipients": [
                recipient.model_dump(mode="json", by_alias=False, exclude_none=True) for recipient in task.recipients
            ],
        }
        room = MESSAGE_OUTPUT_TOKENS * len(task.recipients)
        return _prompt(WRITE, "message_batch", BatchOutput, request, room, variant)

    def judge(self, *, text: str, brief: str) -> Prompt:
        """How well a text does what the brief asks for."""
        request = {"brief": brief, "text": text}
        return _prompt(JUDGE, "text_judgement", JudgeOutput, request, JUDGE_OUTPUT_TOKENS, Variant.USUAL)


def _prompt(
    version: str, name: str, schema: type[BaseModel], request: Mapping[str, Any], room: int, variant: Variant
) -> Prompt:
    return Prompt(
        version=version if variant is Variant.USUAL else f"{version}/{variant}",
        system=_environment().get_template(f"{version}.j2").render(variant=str(variant)),
        user=json.dumps(request, ensure_ascii=False),
        schema_name=name,
        json_schema=_schema(schema),
        max_output_tokens=room,
    )


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_FILES), undefined=StrictUndefined, autoescape=False)  # noqa: S701


@cache
def _schema(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()
