"""Prompts: what they contain, and that a version never changes."""

from hashlib import sha256
from pathlib import Path

import pytest

import adapters
from adapters.prompt import JUDGE, PLAN, WRITE, FilePrompts
from domain.prompt import Variant
from domain.provider import ContentPlan, WritingTask
from domain.rate_limit import MessageType
from tests.domain.builders import recipients

FILES = Path(adapters.__file__).parent / "prompts"
DIGESTS = {
    "judge.v1.j2": "3ecf897152240250",
    "plan.v1.j2": "2fd8cd6867d7fac4",
    "plan.v2.j2": "dc4d9253e37f9208",
    "write.v1.j2": "b80dd772727b2600",
    "write.v2.j2": "02790df0787b7cdd",
}
"""A prompt that was used is part of a message's provenance: change it by adding a version."""


def test_no_version_ever_changes() -> None:
    assert {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(FILES.iterdir())} == DIGESTS


def a_task() -> WritingTask:
    plan = ContentPlan(theme="Spring", tone="warm", angle="a", call_to_action="c", talking_points=("light",))
    return WritingTask(brief="Spring sale", message_type=MessageType.PROMOTIONAL, plan=plan, recipients=recipients(2))


@pytest.mark.parametrize("variant", Variant)
def test_the_version_says_how_it_was_worded(variant: Variant) -> None:
    prompt = FilePrompts().write(a_task(), variant)
    assert prompt.version == (WRITE if variant is Variant.USUAL else f"{WRITE}/{variant}")
    assert (prompt.schema_name, prompt.max_output_tokens) == ("message_batch", 500)


def test_wordings_differ() -> None:
    prompts = FilePrompts()
    assert len({prompts.write(a_task(), variant).system for variant in Variant}) == len(Variant)
    assert "talking_points" not in prompts.write(a_task(), Variant.SHORT).user


def test_a_plan_knows_nothing_of_any_fan() -> None:
    prompt = FilePrompts().plan(
        brief="Spring", message_type=MessageType.PROMOTIONAL, languages=("en", "de"), variant=Variant.USUAL
    )
    assert prompt.user == '{"brief": "Spring", "message_type": "promotional", "languages": ["en", "de"]}'
    assert prompt.version == PLAN


@pytest.mark.parametrize(("languages", "room"), [(("en",), 1_200), (("en", "de", "fr"), 1_800)])
def test_a_plan_has_room_for_a_general_text_in_each_language(languages: tuple[str, ...], room: int) -> None:
    prompt = FilePrompts().plan(
        brief="Spring", message_type=MessageType.PROMOTIONAL, languages=languages, variant=Variant.USUAL
    )
    assert prompt.max_output_tokens == room


def test_every_schema_is_closed_and_complete() -> None:
    prompts = FilePrompts()
    for prompt in (prompts.write(a_task(), Variant.USUAL), prompts.judge(text="Hello", brief="Spring")):
        schema = prompt.json_schema
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])
    assert prompts.judge(text="Hello", brief="Spring").version == JUDGE
