"""Rollouts through the API: what starts one, what it answers, and who may ask."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import Client

from adapters.bootstrap import Ports
from domain.rollout import rollout_workflow_id
from tests.api.identity import bearer

ROLLOUTS = "/api/admin/rollouts"
FLAGS = "/api/admin/feature-flags"
Headers = dict[str, str]


@pytest.fixture
async def flag(api: httpx.AsyncClient) -> str:
    """An enabled flag of this test alone."""
    name = f"flag-{uuid4().hex[:12]}"
    body = {"enabled": True, "reason": "for a rollout"}
    answer = await api.put(f"{FLAGS}/{name}", json=body, headers=bearer("root", "admin"))
    assert answer.status_code == 201, answer.text
    return name


def request(flag: str, **changes: Any) -> dict[str, Any]:
    """A rollout that stays on its step until somebody does something."""
    return {"flag": flag, "bakeSeconds": 3600, "reason": "the new system", **changes}


async def started(api: httpx.AsyncClient, staff: Headers, flag: str, **changes: Any) -> dict[str, Any]:
    """A rollout on its first step."""
    answer = await api.post(ROLLOUTS, json=request(flag, **changes), headers=staff)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{ROLLOUTS}/{flag}"
    view: dict[str, Any] = answer.json()
    return view


@pytest.mark.usefixtures("worker")
class TestRollouts:
    async def test_from_start_to_rollback(self, api: httpx.AsyncClient, staff: Headers, flag: str) -> None:
        view = await started(api, staff, flag)
        assert (view["status"], view["percentage"], view["report"]["phase"]) == ("running", 5, "baking")
        assert (view["report"]["startedBy"], view["report"]["steps"]) == ("staff", [5, 25, 50, 100])
        url = f"{ROLLOUTS}/{flag}"
        paused = await api.post(f"{url}/pause", json={"reason": "lunch"}, headers=staff)
        assert (paused.status_code, paused.json()["report"]["phase"]) == (200, "paused")
        again = await api.post(f"{url}/pause", headers=staff)
        assert (again.status_code, again.json()["detail"]) == (409, "the rollout is paused already")
        assert (await api.post(f"{url}/resume", headers=staff)).json()["report"]["phase"] == "baking"
        promoted = (await api.post(f"{url}/promote", headers=staff)).json()
        assert (promoted["percentage"], promoted["report"]["percentage"]) == (25, 25)
        assert (await api.get(url, headers=staff)).json()["percentage"] == 25
        back = (await api.post(f"{url}/rollback", json={"reason": "odd texts"}, headers=staff)).json()
        assert (back["percentage"], back["status"], back["report"]["note"]) == (0, "finished", "odd texts")
        ended = (await api.get(url, headers=staff)).json()
        assert (ended["status"], ended["report"]["phase"]) == ("finished", "rolled_back")
        listed = (await api.get(ROLLOUTS, headers=staff)).json()["rollouts"]
        assert [view["status"] for view in listed if view["flag"] == flag] == ["finished"]
        late = await api.post(f"{url}/promote", headers=staff)
        assert (late.status_code, "No rollout of this flag runs" in late.json()["detail"]) == (409, True)

    async def test_one_at_a_time_and_then_another(self, api: httpx.AsyncClient, staff: Headers, flag: str) -> None:
        await started(api, staff, flag)
        second = await api.post(ROLLOUTS, json=request(flag), headers=staff)
        assert second.status_code == 409
        assert f"rollout-{flag}" in second.json()["detail"]
        assert "started by staff" in second.json()["detail"]
        assert (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=staff)).status_code == 200
        assert (await started(api, staff, flag, steps=[10]))["percentage"] == 10
        await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=staff)

    async def test_while_it_steers_people_only_turn_the_flag_off(
        self, api: httpx.AsyncClient, staff: Headers, flag: str
    ) -> None:
        await started(api, staff, flag)
        admin = bearer("root", "admin")
        more = {"enabled": True, "rolloutPercentage": 90, "reason": "faster"}
        refused = await api.put(f"{FLAGS}/{flag}", json=more, headers=admin)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "rolloutPercentage")
        off = {"enabled": False, "rolloutPercentage": 5, "reason": "stop"}
        assert (await api.put(f"{FLAGS}/{flag}", json=off, headers=admin)).status_code == 200
        resumed = await api.post(f"{ROLLOUTS}/{flag}/promote", headers=staff)
        assert (resumed.status_code, "enable it first" in resumed.json()["detail"]) == (409, True)
        back = (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=staff)).json()
        assert (back["percentage"], back["enabled"]) == (0, False)

    async def test_a_workflow_that_was_ended_leaves_a_flag_that_can_be_rolled_back(
        self, api: httpx.AsyncClient, staff: Headers, flag: str, temporal: Client, ports: Ports
    ) -> None:
        await started(api, staff, flag)
        await temporal.get_workflow_handle(rollout_workflow_id(flag)).terminate()
        ended = (await api.get(f"{ROLLOUTS}/{flag}", headers=staff)).json()
        assert (ended["status"], ended["percentage"], ended["report"]) == ("ended", 5, None)
        back = await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "lost"}, headers=staff)
        assert (back.status_code, back.json()["percentage"]) == (200, 0)
        stored = await ports.flag_store.get(flag)
        assert stored is not None
        assert (stored.rollout_id, stored.changed_by, stored.reason) == ("", "staff", "lost")
        assert (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=staff)).status_code == 409
        assert (await started(api, staff, flag))["percentage"] == 5
        await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=staff)

    async def test_the_audit_log_has_it_all(
        self, api: httpx.AsyncClient, staff: Headers, flag: str, ports: Ports
    ) -> None:
        await started(api, staff, flag)
        await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "odd texts"}, headers=staff)
        decided = (await ports.audit.entries(f"rollout/{flag}", limit=10, cursor=None)).entries
        assert [(entry.action, entry.actor, entry.reason) for entry in decided] == [
            ("rolled_back", "staff", "odd texts"),
            ("started", "staff", "the new system"),
        ]
        written = (await ports.audit.entries(f"flag/{flag}", limit=10, cursor=None)).entries
        assert [entry.action for entry in written] == ["rolled_back", "rollout_started", "created"]


async def test_a_rollback_needs_no_worker(
    api: httpx.AsyncClient, staff: Headers, flag: str, temporal: Client, ports: Ports, worker: None
) -> None:
    """The flag as a rollout left it whose workflow nobody executes."""
    await started(api, staff, flag)
    handle = temporal.get_workflow_handle(rollout_workflow_id(flag))
    await handle.terminate()
    await temporal.start_workflow("RolloutWorkflow", id=handle.id, task_queue="nobody-serves-this")
    back = await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "now"}, headers=staff)
    assert (back.status_code, back.json()["percentage"]) == (200, 0)
    await temporal.get_workflow_handle(handle.id).terminate()


async def test_what_cannot_start(api: httpx.AsyncClient, staff: Headers, flag: str) -> None:
    unknown = await api.post(ROLLOUTS, json=request("flag-nobody-knows"), headers=staff)
    assert (unknown.status_code, "create it" in unknown.json()["detail"]) == (404, True)
    off = {"enabled": False, "reason": "not yet"}
    await api.put(f"{FLAGS}/{flag}", json=off, headers=bearer("root", "admin"))
    disabled = await api.post(ROLLOUTS, json=request(flag), headers=staff)
    assert (disabled.status_code, "enable it first" in disabled.json()["detail"]) == (409, True)
    falling = await api.post(ROLLOUTS, json=request(flag, steps=[50, 25]), headers=staff)
    assert falling.status_code == 422
    assert (await api.get(f"{ROLLOUTS}/{flag}", headers=staff)).status_code == 404


async def test_staff_only(api: httpx.AsyncClient, flag: str, caller: Headers) -> None:
    calls = [
        api.get(ROLLOUTS, headers=caller),
        api.get(f"{ROLLOUTS}/{flag}", headers=caller),
        api.post(ROLLOUTS, json=request(flag), headers=caller),
        *(api.post(f"{ROLLOUTS}/{flag}/{verb}", headers=caller) for verb in ("pause", "resume", "promote", "rollback")),
    ]
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {403}


async def test_without_anything_behind_it_nothing_hangs(offline: httpx.AsyncClient, staff: Headers) -> None:
    answers = await asyncio.gather(
        offline.get(f"{ROLLOUTS}/some-flag", headers=staff),
        offline.post(f"{ROLLOUTS}/some-flag/rollback", headers=staff),
        offline.post(ROLLOUTS, json=request("some-flag"), headers=staff),
    )
    assert {answer.status_code for answer in answers} == {503}
