"""Following requests: one, a list, a stream, and never somebody else's."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.api.conftest import Intent
from tests.api.identity import bearer

CAMPAIGNS = "/api/v2/campaigns"
Headers = dict[str, str]


async def start(api: httpx.AsyncClient, caller: Headers, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(f"{CAMPAIGNS}/hybrid", json=body, headers=caller)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


async def progress_when(api: httpx.AsyncClient, caller: Headers, url: str, **wanted: object) -> dict[str, Any]:
    """The status as soon as its progress has these values; they have to be values that stay until they are seen."""
    progress: dict[str, Any] | None = None
    try:
        async with asyncio.timeout(60):
            while True:
                status: dict[str, Any] = (await api.get(url, headers=caller)).json()
                progress = status["progress"]
                if progress and all(progress[name] == value for name, value in wanted.items()):
                    return status
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"waited for {wanted}, but the progress is {progress}") from None


async def until_done(api: httpx.AsyncClient, caller: Headers, url: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of a stream."""
    events: list[tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(80), api.stream("GET", url, headers=caller) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                events.append((name, json.loads(line.removeprefix("data:"))))
    return events


async def forget(temporal: Client, workflow_id: str) -> None:
    """What retention does in the end."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    request = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
    await temporal.workflow_service.delete_workflow_execution(request)
    async with asyncio.timeout(120):
        while True:
            try:
                await temporal.get_workflow_handle(workflow_id).describe()
            except RPCError:
                return
            await asyncio.sleep(0.2)


class TestOneCampaign:
    @pytest.mark.usefixtures("worker")
    async def test_its_progress_is_live_and_steering_works(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=2))
        status = await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)
        assert status["live"] is True
        assert status["campaign"]["owner"] == owner
        assert status["progress"]["pendingReviews"][0]["page"] == 0

        url = f"{CAMPAIGNS}/{accepted['workflowId']}"
        paused = await api.post(f"{url}/pause", json={"reason": "Wait."}, headers=caller)
        assert paused.status_code == 202
        status = await progress_when(api, caller, accepted["statusUrl"], status="paused")
        assert status["progress"]["reason"] == "Wait."
        await api.post(f"{url}/resume", headers=caller)
        await progress_when(api, caller, accepted["statusUrl"], status="running")

        assert (await api.post(f"{url}/cancel", json={"reason": "Over."}, headers=caller)).status_code == 202
        events = await until_done(api, caller, f"{url}/events")
        assert events[-1][0] == "done"
        assert events[-1][1]["status"] == "cancelled"
        assert events[-1][1]["outcomes"] == {"cancelled": 2}

        ended = (await api.get(accepted["statusUrl"], headers=caller)).json()
        assert ended["result"] == events[-1][1]
        assert ended["progress"]["cancelled"] == 2
        for name in ("pause", "resume", "cancel", "approve", "reject"):
            refused = await api.post(f"{url}/{name}", headers=caller)
            assert (refused.status_code, "has ended" in refused.json()["detail"]) == (409, True)

    @pytest.mark.usefixtures("worker")
    async def test_what_temporal_has_forgotten_is_still_answered_and_never_runs_again(
        self, api: httpx.AsyncClient, temporal: Client, caller: Headers, intent: Intent
    ) -> None:
        headers = caller | {"Idempotency-Key": "forgotten"}
        accepted = await start(api, headers, intent())
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        await api.post(f"{url}/cancel", headers=caller)
        [*_, (_, result)] = await until_done(api, caller, f"{url}/events")
        handle = temporal.get_workflow_handle(accepted["workflowId"])
        await handle.result()
        await forget(temporal, accepted["workflowId"])

        status = (await api.get(accepted["statusUrl"], headers=caller)).json()
        assert (status["live"], status["result"]) == (False, result)
        assert status["progress"]["cancelled"] == 3
        assert (await start(api, headers, intent()))["status"] == "cancelled"
        with pytest.raises(RPCError, match="not found"):
            await handle.describe()

    @pytest.mark.usefixtures("worker")
    async def test_what_was_terminated_in_temporal_can_still_be_cancelled(
        self, api: httpx.AsyncClient, temporal: Client, caller: Headers, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=2))
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)
        await temporal.get_workflow_handle(accepted["workflowId"]).terminate()
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        status = (await api.get(accepted["statusUrl"], headers=caller)).json()
        assert status["live"] is False
        assert (await api.post(f"{url}/resume", headers=caller)).status_code == 409
        cancelled = await api.post(f"{url}/cancel", headers=caller)
        assert cancelled.status_code == 202
        assert cancelled.json()["campaign"]["status"] == "cancelled"
        assert (await api.post(f"{url}/cancel", headers=caller)).status_code == 409

    @pytest.mark.parametrize("suffix", ["events", "messages", "pause", "resume", "cancel", "approve", "reject"])
    async def test_of_somebody_else_is_404(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent, suffix: str
    ) -> None:
        accepted = await start(api, caller, intent())
        stranger = bearer("stranger", "agency", accounts=(account,))
        method = "GET" if suffix in {"events", "messages"} else "POST"
        refused = await api.request(method, f"{CAMPAIGNS}/{accepted['campaignId']}/{suffix}", headers=stranger)
        assert refused.status_code == 404
        for url in (accepted["statusUrl"], f"{CAMPAIGNS}/costs?campaignId={accepted['campaignId']}"):
            assert (await api.get(url, headers=stranger)).status_code == 404
            assert (await api.get(url, headers=bearer("staff", "operator"))).status_code == 200

    @pytest.mark.parametrize("name", ["x", "campaign-x", "generation-{id}", "campaign-campaign-{id}", "{id}x"])
    async def test_an_unknown_id_is_404(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, name: str
    ) -> None:
        accepted = await start(api, caller, intent())
        url = f"{CAMPAIGNS}/status?workflowId={name.format(id=accepted['campaignId'])}"
        assert (await api.get(url, headers=caller)).status_code == 404


class TestList:
    async def test_is_the_callers_own_filtered_and_paged(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str, intent: Intent
    ) -> None:
        campaigns = [(await start(api, caller, intent(audience=n + 1)))["campaignId"] for n in range(3)]
        plan = {"type": "content_planning", "brief": "Spring.", "onlyFansContext": {"accountId": account}}
        planned = (await start(api, caller, plan))["campaignId"]

        url = f"{CAMPAIGNS}/status"
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2", "type": "campaign_execution"} | ({"cursor": cursor} if cursor else {})
            page = (await api.get(url, params=query, headers=caller)).json()
            found += [campaign["campaignId"] for campaign in page["campaigns"]]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        assert found == campaigns[::-1]

        everything = (await api.get(url, headers=caller)).json()["campaigns"]
        assert [campaign["campaignId"] for campaign in everything] == [planned, *campaigns[::-1]]
        later = {"createdAfter": "2099-01-01T00:00:00+02:00"}
        assert (await api.get(url, params=later, headers=caller)).json()["campaigns"] == []
        staff = await api.get(url, params={"owner": owner}, headers=bearer("staff", "admin"))
        assert len(staff.json()["campaigns"]) == 4
        assert (await api.get(url, params={"owner": owner}, headers=bearer("stranger"))).status_code == 403

    @pytest.mark.parametrize(
        ("query", "field"),
        [("limit=0", "limit"), ("limit=101", "limit"), ("state=running", "state"), ("status=new", "status")],
    )
    async def test_a_wrong_filter_is_named(
        self, api: httpx.AsyncClient, caller: Headers, query: str, field: str
    ) -> None:
        refused = await api.get(f"{CAMPAIGNS}/status?{query}", headers=caller)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [field]

    @pytest.mark.parametrize(
        ("query", "field"),
        [("status=running", "status"), ("createdAfter=2026-01-01T00:00:00Z", "createdAfter"), ("limit=20", "limit")],
    )
    async def test_one_request_takes_no_filter(
        self, api: httpx.AsyncClient, caller: Headers, query: str, field: str
    ) -> None:
        refused = await api.get(f"{CAMPAIGNS}/status?workflowId=x&{query}", headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)

    async def test_a_foreign_cursor_is_422(self, api: httpx.AsyncClient, caller: Headers) -> None:
        refused = await api.get(f"{CAMPAIGNS}/status?cursor=nonsense", headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")
