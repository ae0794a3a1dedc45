"""Tokens offline: exact where the encoding is published, never too few anywhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tokens import OfflineTokens
from domain.prompt import Prompt
from local.ai.model import tokens as billed_by_simulator

TOKENS = OfflineTokens()

# The first of each come from OpenAI's cookbook, "How to count tokens with tiktoken"; specials are plain text here.
KNOWN = [
    ("gpt-4o-mini", "hello world", 2),
    ("gpt-4.1-nano", "antidisestablishmentarianism", 6),
    ("gpt-5", "2 + 2 = 4", 7),
    ("gpt-5.2", "お誕生日おめでとう", 8),
    ("gpt-4", "antidisestablishmentarianism", 6),
    ("gpt-4-turbo", "お誕生日おめでとう", 9),
    ("gpt-4o", "", 0),
    ("gpt-4o", "<|endoftext|>", 7),
]


def a_prompt(system: str, user: str) -> Prompt:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    return Prompt(
        version="write.v2", system=system, user=user, schema_name="batch", json_schema=schema, max_output_tokens=500
    )


@pytest.mark.parametrize(("model", "text", "expected"), KNOWN)
def test_published_encodings_are_counted_exactly(model: str, text: str, expected: int) -> None:
    assert TOKENS.count(text, model) == expected


@given(st.text())
def test_no_model_has_more_tokens_than_an_unknown_one_is_said_to_have(text: str) -> None:
    unknown = TOKENS.count(text, "no-such-model")
    assert unknown == len(text.encode())
    assert TOKENS.count(text, "gpt-4o") <= unknown
    assert TOKENS.count(text, "gpt-4") <= unknown


def test_what_is_no_text_is_counted_too() -> None:
    assert TOKENS.count("\ud800", "gpt-4o") >= 1
    assert TOKENS.count("\ud800", "no-such-model") >= 1


@given(st.text(), st.text(), st.sampled_from(["gpt-4o-mini", "gpt-4", "no-such-model"]))
def test_a_prompt_is_never_billed_more_than_estimated(system: str, user: str, model: str) -> None:
    estimated = TOKENS.of_prompt(a_prompt(system, user), model)
    assert estimated >= billed_by_simulator(f"{system}\n{user}")
    assert estimated > TOKENS.count(system, model) + TOKENS.count(user, model)


@pytest.mark.parametrize("text", [" " * 4_000, "a" * 4_000, "=" * 4_000])
def test_long_runs_that_are_few_tokens_are_still_estimated_by_their_length(text: str) -> None:
    assert TOKENS.count(text, "gpt-4o") < math.ceil(len(text) / 4)
    assert TOKENS.of_prompt(a_prompt(text, text), "gpt-4o") >= billed_by_simulator(f"{text}\n{text}")


def test_the_schema_counts() -> None:
    prompt = a_prompt("Write.", "Now.")
    larger = prompt.model_copy(update={"json_schema": {**prompt.json_schema, "description": "very long " * 50}})
    assert TOKENS.of_prompt(larger, "gpt-4o") > TOKENS.of_prompt(prompt, "gpt-4o") + 50
