"""What ``huntaze rollout`` sends, and how it shows what comes back."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from cli.console import Complaint
from cli.rollout import given, numbers
from domain.rollout import RolloutRequest
from local.stack import Stack
from tests.api.conftest import served
from tests.api.identity import SECRET, token


def test_only_what_was_given_is_sent() -> None:
    assert given(flag="f", steps=None, guardrails=given(errorRate=None)) == {"flag": "f"}
    body = given(flag="f", reason="why not", steps=numbers("5,12.5,100"), guardrails=given(errorRate=2.5))
    request = RolloutRequest.model_validate(body)
    assert [float(step) for step in request.steps] == [5, 12.5, 100]
    assert (request.guardrails.error_rate, request.bake_seconds) == (2.5, 600)


@pytest.mark.parametrize("text", ["", "5;25", "all", "5,,25"])
def test_anything_else_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(Complaint) as refused:
        numbers(text)
    assert "5,25,50,100" in refused.value.remedy


def test_every_option_of_start_is_a_field_of_the_request() -> None:
    """A misspelt field would be refused by the API; here it is found without one."""
    body = given(
        flag="f",
        reason="why not",
        steps=numbers("5,100"),
        manualGates=numbers("5"),
        bakeSeconds=1,
        minSamples=1,
        maxWaitSeconds=1,
        lookSeconds=1,
        guardrails=given(errorRate=1, p95LatencyMs=1, p95LatencyRatio=1, complianceScore=1, costPerRequestMicros=1),
    )
    assert RolloutRequest.model_validate(body).flag == "f"


@pytest.fixture
async def url(stack: Stack) -> AsyncIterator[str]:
    async with served(create_app(Settings(jwt_secret=SecretStr(SECRET)))) as url:
        yield url


async def test_from_start_to_rollback(url: str, worker: None, tmp_path: Path) -> None:
    """In processes of their own, against the real API."""
    huntaze = Path(sys.executable).with_name("huntaze")
    env = os.environ | {"HUNTAZE_API_URL": url, "HUNTAZE_TOKEN": token("root", "admin"), "COLUMNS": "200"}
    flag = f"flag-{uuid4().hex[:12]}"

    async def run(*arguments: str, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            huntaze, *arguments, env=env, cwd=tmp_path, stdout=PIPE, stderr=PIPE
        )
        stdout, stderr = await process.communicate()
        assert process.returncode == code, stderr.decode()
        return stdout.decode() + stderr.decode()

    refused = await run("rollout", "start", flag, "--reason", "for everybody", code=1)
    assert "There is no flag" in refused
    await run("flags", "set", flag, "--enable", "--reason", "for a rollout")
    begun = await run(
        "rollout", "start", flag, "--reason", "for everybody", "--steps", "5,25", "--bake-seconds", "3600"
    )
    assert f"{flag}: baking at 5 %" in begun
    assert "5 % → 25 %, started by root" in begun
    assert "paused at 5 %: lunch" in await run("rollout", "pause", flag, "--reason", "lunch")
    assert "the rollout is paused already" in await run("rollout", "pause", flag, code=1)
    assert "baking at 5 %" in await run("rollout", "resume", flag)
    assert "baking at 25 %" in await run("rollout", "promote", flag)
    assert "the flag is at 0 %" in await run("rollout", "rollback", flag, "--reason", "odd texts")
    shown = await run("rollout", "status", flag)
    assert f"{flag}: rolled back at 0 %: odd texts; the flag is at 0 %" in shown
    for decision in ("pause", "resume", "promote", "roll back"):
        assert f" {decision} " in shown
    assert flag in await run("rollout", "status")
    view = json.loads(await run("rollout", "status", flag, "--json"))
    assert (view["status"], view["report"]["phase"]) == ("finished", "rolled_back")
