"""What can't be read is refused without being repeated."""

import traceback
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.payload import DATA_CONVERTER
from domain.campaign import ControlRequest
from domain.review import ReviewDecision

SECRET = "Maya-Secret"
READ = DATA_CONVERTER.payload_converter.from_payload


def payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


@pytest.mark.parametrize("expected", [ControlRequest, ControlRequest | None, ReviewDecision | None, str])
@pytest.mark.parametrize("text", [f'["{SECRET}"]', f'{{"reason": ["{SECRET}"]}}', f'{{"reason": "{SECRET}'])
def test_a_refusal_and_its_traceback_do_not_quote_the_input(expected: Any, text: str) -> None:
    if expected == ReviewDecision | None and text.endswith("]}"):
        text = f'{{"decidedBy": ["{SECRET}"]}}'
    with pytest.raises(ValueError, match="this is no") as refused:
        READ(payload(text), expected)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("value", [None, "text", b"bytes", ControlRequest(reason="lunch"), {"a": 1}])
def test_everything_else_is_as_the_sdk_has_it(value: Any) -> None:
    [ours] = DATA_CONVERTER.payload_converter.to_payloads([value])
    [theirs] = pydantic_data_converter.payload_converter.to_payloads([value])
    assert ours == theirs
    assert READ(ours, cast("type", type(value))) == value
