"""What ``huntaze rollout`` sends, and how it shows what comes back."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.app import create_app
from cli.console import Complaint
from cli.rollout import given, left_out, numbers
from domain.flag import RollbackTriggers
from domain.observation import Arm, Observation
from domain.rollout_request import Guardrails, RolloutRequest
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
        guardrails=given(
            p95LatencyMs=1,
            p95LatencyRatio=1,
            complianceScore=1,
            costPerRequestMicros=1,
            errorRateIncrease=False,
            without=left_out(errorRate=True, p95LatencyMs=False),
        ),
        recallOnRollback=True,
    )
    request = RolloutRequest.model_validate(body)
    assert (request.flag, request.recall_on_rollback, request.guardrails.error_rate_increase) == ("f", True, False)


def test_the_triggers_that_can_be_left_out_are_the_domains() -> None:
    known = Guardrails.model_validate({"without": left_out(errorRate=True, p95LatencyMs=True)})
    assert known.over(RollbackTriggers(latency_threshold=9)).in_force() == ("error_rate_increase",)
    assert left_out(errorRate=False) is None


@pytest.fixture
async def url(stack: Stack) -> AsyncIterator[str]:
    async with served(create_app(Settings(jwt_secret=SecretStr(SECRET)))) as url:
        yield url


async def test_from_start_to_rollback(url: str, worker: None, ports: Ports, tmp_path: Path) -> None:
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
    ports.observations.record(Observation(flag=flag, arm=Arm.BASELINE, at=datetime.now(UTC), latency_ms=100))
    while not (await ports.observations.observed(flag, datetime.now(UTC) - timedelta(hours=1))).requests:
        await asyncio.sleep(0.02)
    options = ("--steps", "5,25", "--bake-seconds", "3600", "--no-error-rate", "--no-error-rate-increase")
    begun = await run("rollout", "start", flag, "--reason", "for everybody", *options)
    assert f"{flag}: baking at 5 %" in begun
    assert "5 % → 25 %, started by root" in begun
    assert "paused at 5 %: lunch" in await run("rollout", "pause", flag, "--reason", "lunch")
    assert "the rollout is paused already" in await run("rollout", "pause", flag, code=1)
    assert "baking at 5 %" in await run("rollout", "resume", flag)
    promoted = await run("rollout", "promote", flag)
    assert "from 5 %" in promoted
    assert "baking at 25 %" in promoted
    assert "at 25 %, not at 5 %" in await run("rollout", "promote", flag, "--from", "5", code=1)
    assert "the flag is at 0 %" in await run("rollout", "rollback", flag, "--reason", "odd texts")
    shown = await run("rollout", "status", flag)
    assert f"{flag}: rolled back at 0 %: odd texts; the flag is at 0 %" in shown
    for decision in ("pause", "resume", "promote", "roll back"):
        assert f" {decision} " in shown
    assert flag in await run("rollout", "status")
    view = json.loads(await run("rollout", "status", flag, "--json"))
    assert (view["status"], view["report"]["phase"]) == ("finished", "rolled_back")
