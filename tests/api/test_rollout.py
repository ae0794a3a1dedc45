"""Rollouts through the API: what starts one, what it answers, and who may ask."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.rollout import BeginRequest, FlagLook, RolloutActivities
from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.app import create_app
from api.engine import Engine, EngineUnavailable
from api.rollout_release import release
from domain.alert import AlertKind
from domain.flag import HYBRID_ORCHESTRATOR
from domain.observation import Arm, Observation
from domain.recall import recall_workflow_id
from domain.rollout import rollout_workflow_id
from domain.rollout_request import RollbackRequest, RolloutRequest
from local.stack import Stack
from tests.api.conftest import Intent, served
from tests.api.identity import SECRET, bearer
from workflows.recall import RecallWorkflow
from workflows.rollout import RolloutRun, RolloutWorkflow

ROLLOUTS = "/api/admin/rollouts"
FLAGS = "/api/admin/feature-flags"
Headers = dict[str, str]


@pytest.fixture
def admin() -> Headers:
    """The headers of an administrator."""
    return bearer("staff", "admin")


@pytest.fixture
async def flag(api: httpx.AsyncClient, ports: Ports) -> str:
    """An enabled flag of this test alone, under which a request was observed."""
    name = f"flag-{uuid4().hex[:12]}"
    body = {"enabled": True, "reason": "for a rollout"}
    answer = await api.put(f"{FLAGS}/{name}", json=body, headers=bearer("root", "admin"))
    assert answer.status_code == 201, answer.text
    ports.observations.record(Observation(flag=name, arm=Arm.BASELINE, at=datetime.now(UTC), latency_ms=100))
    await observed(ports, name)
    return name


async def observed(ports: Ports, flag: str) -> None:
    """Returns when something was observed; the test's time-out ends the wait."""
    while not (await ports.observations.observed(flag, datetime.now(UTC) - timedelta(hours=1))).requests:
        await asyncio.sleep(0.02)


def request(flag: str, **changes: Any) -> dict[str, Any]:
    """A rollout that stays on its step until somebody does something."""
    return {"flag": flag, "bakeSeconds": 3600, "reason": "the new system", **changes}


async def started(api: httpx.AsyncClient, admin: Headers, flag: str, **changes: Any) -> dict[str, Any]:
    """A rollout on its first step."""
    answer = await api.post(ROLLOUTS, json=request(flag, **changes), headers=admin)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{ROLLOUTS}/{flag}"
    view: dict[str, Any] = answer.json()
    return view


@pytest.mark.usefixtures("worker")
class TestRollouts:
    async def test_from_start_to_rollback(self, api: httpx.AsyncClient, admin: Headers, flag: str) -> None:
        view = await started(api, admin, flag)
        assert (view["status"], view["percentage"], view["report"]["phase"]) == ("running", 5, "baking")
        assert (view["report"]["startedBy"], view["report"]["steps"]) == ("staff", [5, 25, 50, 100])
        url = f"{ROLLOUTS}/{flag}"
        paused = await api.post(f"{url}/pause", json={"reason": "lunch"}, headers=admin)
        assert (paused.status_code, paused.json()["report"]["phase"]) == (200, "paused")
        again = await api.post(f"{url}/pause", headers=admin)
        assert (again.status_code, again.json()["detail"]) == (409, "the rollout is paused already")
        assert (await api.post(f"{url}/resume", headers=admin)).json()["report"]["phase"] == "baking"
        promoted = (await api.post(f"{url}/promote", headers=admin)).json()
        assert (promoted["percentage"], promoted["report"]["percentage"]) == (25, 25)
        assert (await api.get(url, headers=admin)).json()["percentage"] == 25
        back = (await api.post(f"{url}/rollback", json={"reason": "odd texts"}, headers=admin)).json()
        assert (back["percentage"], back["status"], back["report"]["note"]) == (0, "finished", "odd texts")
        ended = (await api.get(url, headers=admin)).json()
        assert (ended["status"], ended["report"]["phase"]) == ("finished", "rolled_back")
        listed = (await api.get(ROLLOUTS, headers=admin)).json()["rollouts"]
        assert [view["status"] for view in listed if view["flag"] == flag] == ["finished"]
        late = await api.post(f"{url}/promote", headers=admin)
        assert (late.status_code, "No rollout of this flag runs" in late.json()["detail"]) == (409, True)

    async def test_one_at_a_time_and_then_another(self, api: httpx.AsyncClient, admin: Headers, flag: str) -> None:
        await started(api, admin, flag)
        second = await api.post(ROLLOUTS, json=request(flag), headers=admin)
        assert second.status_code == 409
        assert f"rollout-{flag}" in second.json()["detail"]
        assert "started by staff" in second.json()["detail"]
        assert (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=admin)).status_code == 200
        assert (await started(api, admin, flag, steps=[10]))["percentage"] == 10
        await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=admin)

    async def test_while_it_steers_people_only_turn_the_flag_off(
        self, api: httpx.AsyncClient, admin: Headers, flag: str
    ) -> None:
        await started(api, admin, flag)
        more = {"enabled": True, "rolloutPercentage": 90, "reason": "faster"}
        refused = await api.put(f"{FLAGS}/{flag}", json=more, headers=admin)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "rolloutPercentage")
        off = {"enabled": False, "rolloutPercentage": 5, "reason": "stop"}
        assert (await api.put(f"{FLAGS}/{flag}", json=off, headers=admin)).status_code == 200
        resumed = await api.post(f"{ROLLOUTS}/{flag}/promote", headers=admin)
        assert (resumed.status_code, "enable it first" in resumed.json()["detail"]) == (409, True)
        back = (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=admin)).json()
        assert (back["percentage"], back["enabled"]) == (0, False)

    async def test_a_workflow_that_was_ended_leaves_a_flag_that_can_be_rolled_back(
        self, api: httpx.AsyncClient, admin: Headers, flag: str, temporal: Client, ports: Ports
    ) -> None:
        await started(api, admin, flag)
        await temporal.get_workflow_handle(rollout_workflow_id(flag)).terminate()
        ended = (await api.get(f"{ROLLOUTS}/{flag}", headers=admin)).json()
        assert (ended["status"], ended["percentage"], ended["report"]) == ("ended", 5, None)
        back = await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "lost"}, headers=admin)
        assert (back.status_code, back.json()["percentage"]) == (200, 0)
        stored = await ports.flag_store.get(flag)
        assert stored is not None
        assert (stored.rollout_id, stored.changed_by, stored.reason) == ("", "staff", "lost")
        assert (await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=admin)).status_code == 409
        assert (await started(api, admin, flag))["percentage"] == 5
        await api.post(f"{ROLLOUTS}/{flag}/rollback", headers=admin)

    async def test_a_repeated_promotion_goes_up_one_step(
        self, api: httpx.AsyncClient, admin: Headers, flag: str
    ) -> None:
        await started(api, admin, flag)
        url = f"{ROLLOUTS}/{flag}"
        assert (await api.post(f"{url}/promote", json={"from": 5}, headers=admin)).json()["percentage"] == 25
        again = await api.post(f"{url}/promote", json={"from": 5}, headers=admin)
        assert (again.status_code, again.json()["detail"]) == (409, "the rollout stands at 25 %, not at 5 %")
        promotions = (api.post(f"{url}/promote", json={"from": 25}, headers=admin) for _ in range(4))
        codes = {answer.status_code for answer in await asyncio.gather(*promotions)}
        # One that arrives when the step is made is refused.
        assert 200 in codes <= {200, 409}
        assert (await api.get(url, headers=admin)).json()["percentage"] == 50
        await api.post(f"{url}/rollback", headers=admin)

    async def test_messages_are_recalled_also_after_the_rollback(
        self, api: httpx.AsyncClient, admin: Headers, flag: str, ports: Ports, temporal: Client, intent: Intent
    ) -> None:
        await started(api, admin, flag)
        url, wanted = f"{ROLLOUTS}/{flag}/rollback", {"recall": True}
        created = await api.post("/api/v2/campaigns/hybrid", json=intent(2), headers=admin)
        assert created.status_code == 202, created.text
        record = await ports.campaigns.get(created.json()["campaignId"])
        assert record is not None
        ours = record.model_copy(update={"campaign_id": str(uuid4()), "request_id": str(uuid4()), "routed_by": flag})
        await ports.campaigns.create(ours, [])
        assert (await api.post(url, headers=admin)).status_code == 200
        await temporal.get_workflow_handle(rollout_workflow_id(flag)).result()
        assert (await api.post(url, headers=admin)).status_code == 409
        back = await api.post(url, json=wanted, headers=admin)
        assert (back.status_code, back.json()["status"]) == (200, "finished")
        assert "Campaigns that are recalled: 1." in back.json()["message"]
        recall = temporal.get_workflow_handle_for(RecallWorkflow.run, recall_workflow_id(ours.campaign_id))
        assert (await recall.result()).complete
        with pytest.raises(RPCError):
            await temporal.get_workflow_handle(recall_workflow_id(record.campaign_id)).describe()
        # What a person brings up again is no rollout's to recall.
        more = {"enabled": True, "rolloutPercentage": 10, "reason": "by hand"}
        await api.put(f"{FLAGS}/{flag}", json=more, headers=admin)
        assert (await api.post(url, json=wanted, headers=admin)).status_code == 409

    async def test_what_the_environment_overrides_is_shown_and_not_started(
        self, api: httpx.AsyncClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = {"enabled": True, "reason": "for a rollout"}
        await api.put(f"{FLAGS}/{HYBRID_ORCHESTRATOR}", json=body, headers=admin)
        url = f"{ROLLOUTS}/{HYBRID_ORCHESTRATOR}"
        assert (await started(api, admin, HYBRID_ORCHESTRATOR))["override"] is None
        monkeypatch.setenv("HYBRID_ORCHESTRATOR_PERCENTAGE", "5")
        app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
        async with served(app) as base, httpx.AsyncClient(base_url=base, timeout=30, trust_env=False) as forced:
            shown = (await forced.get(url, headers=admin)).json()
            assert shown["override"] == {"enabled": None, "percentage": 5}
            assert (await forced.post(f"{url}/rollback", headers=admin)).status_code == 200
            refused = await forced.post(ROLLOUTS, json=request(HYBRID_ORCHESTRATOR), headers=admin)
            assert refused.status_code == 409, refused.text
            assert "unset HYBRID_ORCHESTRATOR_PERCENTAGE first" in refused.json()["detail"]

    async def test_the_audit_log_has_it_all(
        self, api: httpx.AsyncClient, admin: Headers, flag: str, ports: Ports
    ) -> None:
        await started(api, admin, flag)
        await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "odd texts"}, headers=admin)
        decided = (await ports.audit.entries(f"rollout/{flag}", limit=10, cursor=None)).entries
        assert [(entry.action, entry.actor, entry.reason) for entry in decided] == [
            ("rolled_back", "staff", "odd texts"),
            ("started", "staff", "the new system"),
        ]
        written = (await ports.audit.entries(f"flag/{flag}", limit=10, cursor=None)).entries
        assert [entry.action for entry in written] == ["rolled_back", "rollout_started", "created"]


class TestWithoutAWorker:
    """A workflow that nobody executes, on a queue that nobody serves."""

    async def test_a_rollback_needs_none(
        self, api: httpx.AsyncClient, admin: Headers, staff: Headers, flag: str, temporal: Client, ports: Ports
    ) -> None:
        async with unattended(temporal, flag) as handle:
            rollout_id = handle.first_execution_run_id
            assert rollout_id is not None
            await steered_by(ports, flag, rollout_id)
            back = await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "now"}, headers=staff)
            assert (back.status_code, back.json()["percentage"]) == (200, 0)
            stored = await ports.flag_store.get(flag)
            assert stored is not None
            assert (stored.rollout_id, stored.reason) == ("", "now")
            entries = (await ports.audit.entries(f"rollout/{flag}", limit=10, cursor=None)).entries
            assert [(entry.action, entry.actor) for entry in entries] == [("rolled_back", "staff")]
            raised = await ports.alerts.since(datetime.now(UTC) - timedelta(hours=1))
            [alert] = [alert for alert in raised if alert.detail.startswith(f"{flag}:")]
            assert alert.kind is AlertKind.ROLLOUT_ROLLED_BACK
            assert "without its workflow: now" in alert.detail

    async def test_one_that_has_not_begun_never_does(
        self, api: httpx.AsyncClient, staff: Headers, flag: str, temporal: Client, ports: Ports
    ) -> None:
        async with unattended(temporal, flag) as handle:
            back = await api.post(f"{ROLLOUTS}/{flag}/rollback", json={"reason": "not today"}, headers=staff)
            assert (back.status_code, back.json()["percentage"], back.json()["status"]) == (200, 0, "running")
            history = await handle.fetch_history()
            assert "WORKFLOW_EXECUTION_SIGNALED" in str(history.to_json())
            # Its beginning, however late it comes.
            rollout_id = handle.first_execution_run_id
            assert rollout_id is not None
            with pytest.raises(ApplicationError, match="taken from the rollout by staff: not today"):
                await begin(ports, flag, rollout_id)
            stored = await ports.flag_store.get(flag)
            assert stored is not None
            assert (int(stored.rollout_percentage), stored.rollout_id) == (0, "")


async def test_a_beginning_that_is_repeated_after_a_release_writes_nothing(ports: Ports, flag: str) -> None:
    assert (await begin(ports, flag, "rollout-1")).percentage == 5
    await release(ports, flag, "rollout-1", RollbackRequest(requested_by="oncall", reason="odd texts"))
    with pytest.raises(ApplicationError, match="taken from the rollout by oncall: odd texts"):
        await begin(ports, flag, "rollout-1")
    stored = await ports.flag_store.get(flag)
    assert stored is not None
    assert stored.rollout_percentage == 0


class TestTemporalHangs:
    """Connecting comes to no end."""

    @pytest.fixture
    async def hanging(self, stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an application without Temporal."""
        app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
        app.state.engine = Engine(never)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            yield client

    async def test_a_steered_flag_is_rolled_back(
        self, hanging: httpx.AsyncClient, staff: Headers, flag: str, ports: Ports
    ) -> None:
        await begin(ports, flag, "rollout-1")
        url, body = f"{ROLLOUTS}/{flag}/rollback", {"reason": "now", "recall": True}
        back = await hanging.post(url, json=body, headers=staff)
        assert (back.status_code, back.json()["percentage"]) == (200, 0)
        assert "Nothing is recalled" in back.json()["message"]
        # A workflow that was about to begin may bring it up again, and nobody can tell whether there is one.
        again = await hanging.post(url, headers=staff)
        assert again.status_code == 503
        assert "disable the flag" in again.json()["detail"]

    async def test_callers_wait_side_by_side(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One after the other they would take ten times as long as they are given here."""
        monkeypatch.setattr("api.engine.CALL_TIMEOUT", timedelta(seconds=0.5))
        engine = Engine(never)
        async with asyncio.timeout(5):
            failed = await asyncio.gather(*(engine.client() for _ in range(100)), return_exceptions=True)
        assert {type(each) for each in failed} == {EngineUnavailable}


async def never() -> Client:
    """Connects to where nobody answers."""
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def unattended(temporal: Client, flag: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """The workflow of a rollout whose queue has no worker."""
    run = RolloutRun(request=RolloutRequest.model_validate(request(flag)))
    queue = "nobody-serves-this"
    handle = await temporal.start_workflow(RolloutWorkflow.run, run, id=rollout_workflow_id(flag), task_queue=queue)
    try:
        yield handle
    finally:
        await handle.terminate()


async def steered_by(ports: Ports, flag: str, rollout_id: str) -> None:
    """The flag on the first step of a rollout."""
    assert (await begin(ports, flag, rollout_id)).percentage == 5


async def begin(ports: Ports, flag: str, rollout_id: str) -> FlagLook:
    """As the workflow begins it."""
    activities = RolloutActivities(ports.flag_store, ports.observations, ports.audit, ports.alerts, ports.campaigns)
    wanted = RolloutRequest.model_validate(request(flag))
    return await activities.begin(BeginRequest(request=wanted, rollout_id=rollout_id, actor="olga"))


async def test_what_cannot_start(api: httpx.AsyncClient, admin: Headers, flag: str) -> None:
    unknown = await api.post(ROLLOUTS, json=request("flag-nobody-knows"), headers=admin)
    assert (unknown.status_code, "create it" in unknown.json()["detail"]) == (404, True)
    off = {"enabled": False, "reason": "not yet"}
    await api.put(f"{FLAGS}/{flag}", json=off, headers=bearer("root", "admin"))
    unobserved = f"flag-{uuid4().hex[:12]}"
    await api.put(f"{FLAGS}/{unobserved}", json={"enabled": True, "reason": "for nobody"}, headers=admin)
    blind = await api.post(ROLLOUTS, json=request(unobserved), headers=admin)
    assert (blind.status_code, "the product observes hybrid-orchestrator" in blind.json()["detail"]) == (409, True)
    disabled = await api.post(ROLLOUTS, json=request(flag), headers=admin)
    assert (disabled.status_code, "enable it first" in disabled.json()["detail"]) == (409, True)
    falling = await api.post(ROLLOUTS, json=request(flag, steps=[50, 25]), headers=admin)
    assert falling.status_code == 422
    assert (await api.get(f"{ROLLOUTS}/{flag}", headers=admin)).status_code == 404


async def test_who_may(api: httpx.AsyncClient, flag: str, caller: Headers, staff: Headers) -> None:
    """Staff looks, pauses and rolls back; only administrators bring the flag to more users."""

    def post(headers: Headers, *verbs: str) -> list[Coroutine[Any, Any, httpx.Response]]:
        return [api.post(f"{ROLLOUTS}/{flag}/{verb}", headers=headers) for verb in verbs]

    refused = [
        api.get(ROLLOUTS, headers=caller),
        api.get(f"{ROLLOUTS}/{flag}", headers=caller),
        api.post(ROLLOUTS, json=request(flag), headers=caller),
        api.post(ROLLOUTS, json=request(flag), headers=staff),
        *post(caller, "pause", "resume", "promote", "rollback"),
        *post(staff, "resume", "promote"),
    ]
    assert {answer.status_code for answer in await asyncio.gather(*refused)} == {403}
    assert {answer.status_code for answer in await asyncio.gather(*post(staff, "pause", "rollback"))} == {409}


async def test_without_anything_behind_it_nothing_hangs(offline: httpx.AsyncClient, admin: Headers) -> None:
    answers = await asyncio.gather(
        offline.get(f"{ROLLOUTS}/some-flag", headers=admin),
        offline.post(f"{ROLLOUTS}/some-flag/rollback", headers=admin),
        offline.post(ROLLOUTS, json=request("some-flag"), headers=admin),
    )
    assert {answer.status_code for answer in answers} == {503}
