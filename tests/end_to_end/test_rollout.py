"""Rollouts on the real stack: processes that decide by the flag, a worker that steers it, and kills in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import jwt
import pytest

from adapters.bootstrap import Ports, open_ports
from adapters.settings import Settings
from domain.alert import Alert, AlertKind
from domain.flag import HYBRID_ORCHESTRATOR, Flag, FlagSubject
from domain.observation import Arm, Observation
from local.process import child_environment
from tests.end_to_end.conftest import Product

ROLLOUTS, FLAGS = "/api/admin/rollouts", "/api/admin/feature-flags"
QUICK = {"bakeSeconds": 1, "minSamples": 20, "lookSeconds": 0.3, "reason": "end-to-end test"}


def bearer(product: Product, role: str, user: str = "staff") -> dict[str, str]:
    """The header of a caller in a role."""
    claims = {"sub": user, "role": role, "accounts": [], "iss": "huntaze", "aud": "huntaze-api"}
    times = {"exp": 4_000_000_000, "iat": 1_700_000_000}
    return {"Authorization": f"Bearer {jwt.encode(claims | times, product.stack.env['HUNTAZE_JWT_SECRET'], 'HS256')}"}


async def enable(product: Product, flag: str) -> None:
    """The flag exists and is on for nobody."""
    body = {"enabled": True, "rolloutPercentage": 0, "reason": "for a rollout"}
    answer = await product.http.put(f"{FLAGS}/{flag}", json=body, headers=bearer(product, "admin"))
    answer.raise_for_status()


async def observed(ports: Ports, flag: str) -> None:
    """Returns when a request under the flag was observed; the test's time-out ends the wait."""
    ports.observations.record(Observation(flag=flag, arm=Arm.BASELINE, at=datetime.now(UTC), latency_ms=100))
    while not (await ports.observations.observed(flag, datetime.now(UTC) - timedelta(hours=1))).requests:
        await anyio.sleep(0.05)


async def start(product: Product, flag: str, **changes: Any) -> None:
    """A rollout through the API."""
    body = {**QUICK, "flag": flag, **changes}
    answer = await product.http.post(ROLLOUTS, json=body, headers=bearer(product, "admin"))
    assert answer.status_code == 201, answer.text


async def until(product: Product, flag: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first view for which ``reached`` holds; the test's time-out ends the wait."""
    while True:
        answer = await product.http.get(f"{ROLLOUTS}/{flag}", headers=bearer(product, "operator"))
        if answer.status_code == 200 and answer.json()["report"] and reached(answer.json()):
            view: dict[str, Any] = answer.json()
            return view
        await anyio.sleep(0.1)


@pytest.fixture
async def here(product: Product, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ports]:
    """This process as one more of the product's, with its own snapshot of the flags and its own counters."""
    for name, value in child_environment(product.stack.env).items():
        monkeypatch.setenv(name, value)
    async with open_ports(Settings()) as ports:
        yield ports


@asynccontextmanager
async def traffic(ports: Ports, flag: str, fails: Callable[[Flag], bool] = lambda _: False) -> AsyncIterator[None]:
    """About 200 users a second, each decided by the flag as this process knows it."""

    async def drive() -> None:
        while True:
            known = next((each for each in ports.flags.all() if each.name == flag), None)
            for _ in range(4 if known is not None else 0):
                assert known is not None
                on = ports.flags.evaluate(flag, FlagSubject(user_id=uuid4().hex)).enabled
                error = "timeout" if on and fails(known) else ""
                arm = Arm.CANARY if on else Arm.BASELINE
                ports.observations.record(
                    Observation(flag=flag, arm=arm, at=datetime.now(UTC), latency_ms=100, error=error)
                )
            await anyio.sleep(0.02)

    task = asyncio.create_task(drive())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def stored(ports: Ports, flag: str) -> Flag:
    """The flag as it is."""
    found = await ports.flag_store.get(flag)
    assert found is not None
    return found


async def alerts(ports: Ports, flag: str) -> list[Alert]:
    """Of this flag, newest first; the first one is waited for, since it follows the flag and the rollout's state."""
    while True:
        found = await ports.alerts.since(datetime.now(UTC) - timedelta(hours=1))
        if told := [alert for alert in found if alert.detail.startswith(f"{flag}:")]:
            return told
        await anyio.sleep(0.05)


async def test_healthy_legacy_traffic_ramps_to_everybody(product: Product, here: Ports) -> None:
    await product.ai.reset()
    flag = HYBRID_ORCHESTRATOR
    await enable(product, flag)

    async def client(number: int) -> None:
        while True:
            body = {
                "userId": f"user-{number}-{uuid4().hex[:8]}",
                "action": "generate_message",
                "platforms": ["onlyfans"],
            }
            with suppress(OSError):
                await product.http.post("/api/campaigns", json=body | {"payload": {"brief": "A warm hello."}})

    clients = [asyncio.create_task(client(number)) for number in range(4)]
    try:
        await start(product, flag, steps=[25, 50, 100], minSamples=5)
        ended = await until(product, flag, lambda view: view["report"]["phase"] in {"completed", "rolled_back"})
    finally:
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    assert ended["report"]["phase"] == "completed", ended["report"]["summary"]
    assert (await stored(here, flag)).rollout_percentage == 100
    assert [each["after"] for each in ended["report"]["decisions"]][-1] in {100, "100"}
    [alert, *_] = await alerts(here, flag)
    assert alert.kind is AlertKind.ROLLOUT_COMPLETED


async def test_errors_at_25_percent_are_rolled_back_within_5_s_of_the_verdict(product: Product, here: Ports) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    await enable(product, flag)
    await observed(here, flag)
    async with traffic(here, flag, lambda known: known.rollout_percentage >= 25):
        await start(product, flag)
        ended = await until(product, flag, lambda view: view["report"]["phase"] in {"completed", "rolled_back"})
    assert ended["report"]["phase"] == "rolled_back"
    assert "errors" in ended["report"]["note"]
    flag_now = await stored(here, flag)
    assert (int(flag_now.rollout_percentage), flag_now.rollout_id) == (0, "")
    history = await here.flag_store.history(flag, limit=10)
    assert [int(each.rollout_percentage) for each in history[::-1]] == [0, 5, 25, 0]
    [alert] = await alerts(here, flag)
    assert alert.kind is AlertKind.ROLLOUT_ROLLED_BACK
    [entry, *_] = (await here.audit.entries(f"rollout/{flag}", limit=10, cursor=None)).entries
    assert (entry.action, entry.reason) == ("rolled_back", ended["report"]["note"])
    assert entry.evidence is not None
    assert entry.evidence["verdict"] == "fail"
    # What the product promises: the verdict, the flag, the audit entry and the alert lie within 5 s.
    verdict = datetime.fromisoformat(ended["report"]["judgedAt"])
    for moment in (flag_now.changed_at, entry.at, alert.at):
        assert moment - verdict < timedelta(seconds=5)
    # And every process knows.
    while here.flags.evaluate(flag, FlagSubject(user_id="anybody")).enabled:
        await anyio.sleep(0.05)


async def test_kills_leave_a_consistent_flag_and_a_rollout_that_goes_on(product: Product, here: Ports) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    await enable(product, flag)
    await observed(here, flag)
    async with traffic(here, flag):
        await start(product, flag, manualGates=[5, 25])
        await until(product, flag, lambda view: view["report"]["phase"] == "gate")
        await product.stack.kill("worker")
        product.temporal("workflow", "signal", "--workflow-id", f"rollout-{flag}", "--name", "promote")
        await product.stack.restart("worker")
        await until(product, flag, lambda view: view["report"]["phase"] == "gate" and view["percentage"] == 25)
        await product.stack.kill("redis")
        await product.stack.kill("api")
        await product.stack.restart("redis")
        await product.stack.restart("api")
        answer = await product.http.post(f"{ROLLOUTS}/{flag}/promote", headers=bearer(product, "admin"))
        assert answer.status_code == 200, answer.text
        ended = await until(product, flag, lambda view: view["report"]["phase"] in {"completed", "rolled_back"})
    assert ended["report"]["phase"] == "completed", ended["report"]["summary"]
    history = await here.flag_store.history(flag, limit=20)
    assert [int(each.rollout_percentage) for each in history[::-1]] == [0, 5, 25, 50, 100, 100]
    assert (await stored(here, flag)).rollout_id == ""


async def test_a_rollback_needs_no_temporal(product: Product, here: Ports) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    await enable(product, flag)
    await observed(here, flag)
    await start(product, flag, bakeSeconds=3600)
    await product.stack.kill("temporal")
    answer = await product.http.post(
        f"{ROLLOUTS}/{flag}/rollback", json={"reason": "now"}, headers=bearer(product, "operator")
    )
    assert (answer.status_code, answer.json()["percentage"]) == (200, 0), answer.text
    flag_now = await stored(here, flag)
    assert (int(flag_now.rollout_percentage), flag_now.rollout_id, flag_now.reason) == (0, "", "now")
    await product.stack.restart("temporal")
    ended = await until(product, flag, lambda view: view["status"] == "finished")
    assert ended["report"]["phase"] == "rolled_back"
    assert (await stored(here, flag)).revision == flag_now.revision
    assert len(await alerts(here, flag)) == 1


async def test_a_rollback_before_the_first_worker_keeps_the_flag_down(product: Product, here: Ports) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    await enable(product, flag)
    await observed(here, flag)
    await product.stack.kill("worker")
    await start(product, flag, bakeSeconds=3600)
    answer = await product.http.post(
        f"{ROLLOUTS}/{flag}/rollback", json={"reason": "stop it"}, headers=bearer(product, "operator")
    )
    assert (answer.status_code, answer.json()["percentage"]) == (200, 0), answer.text
    await product.stack.restart("worker")
    while True:
        view = (await product.http.get(f"{ROLLOUTS}/{flag}", headers=bearer(product, "operator"))).json()
        if view["status"] != "running":
            break
        await anyio.sleep(0.1)
    assert "stop it" in view["message"]
    history = await here.flag_store.history(flag, limit=10)
    assert {int(each.rollout_percentage) for each in history} == {0}


async def test_the_real_command_line_steers_a_rollout(product: Product, here: Ports) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    await enable(product, flag)
    await observed(here, flag)
    await start(product, flag, bakeSeconds=3600)
    workflow = ("--workflow-id", f"rollout-{flag}")
    product.temporal("workflow", "signal", *workflow, "--name", "pause")
    await until(product, flag, lambda view: view["report"]["phase"] == "paused")
    state = product.temporal("workflow", "query", *workflow, "--type", "state")
    assert "paused at 5 %" in state
    resumed = product.temporal(
        *("workflow", "update", "execute", *workflow, "--name", "resume"),
        *("--input", '{"requestedBy": "olga", "reason": "checked"}'),
    )
    assert "baking at 5 %" in resumed
    product.temporal("workflow", "update", "execute", *workflow, "--name", "rollback")
    assert (await stored(here, flag)).rollout_percentage == 0
