"""Asking for a campaign: what is refused starts nothing, what is repeated starts once."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.campaign import campaign_id, campaign_workflow_id, generation_workflow_id
from tests.api.conftest import Intent
from tests.api.identity import bearer

HYBRID = "/api/v2/campaigns/hybrid"
Headers = dict[str, str]


async def was_started(temporal: Client, owner: str, key: str) -> bool:
    campaign = campaign_id(owner, key)
    for workflow_id in (campaign_workflow_id(campaign), generation_workflow_id(campaign)):
        try:
            await temporal.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return True
    return False


def fields(answer: httpx.Response) -> list[str]:
    return [error["field"] for error in answer.json()["errors"]]


class TestAccepted:
    async def test_answers_202_and_where_to_look(
        self, api: httpx.AsyncClient, temporal: Client, caller: Headers, owner: str, intent: Intent
    ) -> None:
        answer = await api.post(HYBRID, json=intent(priority="high"), headers=caller | {"Idempotency-Key": "a key"})
        body = answer.json()
        campaign = campaign_id(owner, "a key")
        assert answer.status_code == 202
        assert body["campaignId"] == campaign
        assert body["workflowId"] == f"campaign-{campaign}"
        assert body["requestId"] == "a key"
        assert answer.headers["location"] == body["statusUrl"]
        assert "idempotency-replayed" not in answer.headers
        assert (await api.get(answer.headers["location"], headers=caller)).status_code == 200

        description = await temporal.get_workflow_handle(body["workflowId"]).describe()
        found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
        assert found["HuntazeIntentType"] == "campaign_execution"
        assert found["HuntazePriority"] == "high"
        assert found["HuntazeComplianceLevel"] == "strict"
        assert found["HuntazeMessageType"] == "promotional"
        assert "Maya" not in str(await description.static_summary())

    async def test_the_key_may_be_the_bodys_request_id(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, intent: Intent
    ) -> None:
        answer = await api.post(HYBRID, json=intent(requestId="spring-1"), headers=caller)
        assert answer.json()["campaignId"] == campaign_id(owner, "spring-1")
        assert answer.json()["requestId"] == "spring-1"

    async def test_without_any_key_two_requests_are_two(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        first, second = [(await api.post(HYBRID, json=intent(), headers=caller)).json() for _ in range(2)]
        assert first["campaignId"] != second["campaignId"]


class TestRepeated:
    async def test_the_same_key_is_the_same_campaign(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        headers = caller | {"Idempotency-Key": "again"}
        first = await api.post(HYBRID, json=intent(), headers=headers)
        second = await api.post(HYBRID, json=intent(), headers=headers)
        assert second.status_code == 202
        assert second.json() | {"status": "any"} == first.json() | {"status": "any"}
        assert second.headers["idempotency-replayed"] == "true"

    async def test_ten_at_once_start_one_workflow(
        self, api: httpx.AsyncClient, temporal: Client, caller: Headers, intent: Intent
    ) -> None:
        headers = caller | {"Idempotency-Key": "at once"}
        answers = await asyncio.gather(*(api.post(HYBRID, json=intent(), headers=headers) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {202}
        [workflow_id] = {answer.json()["workflowId"] for answer in answers}
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        history = await temporal.get_workflow_handle(workflow_id).fetch_history()
        assert sum(event.HasField("workflow_execution_started_event_attributes") for event in history.events) == 1

    async def test_another_body_is_a_conflict(self, api: httpx.AsyncClient, caller: Headers, intent: Intent) -> None:
        headers = caller | {"Idempotency-Key": "other body"}
        await api.post(HYBRID, json=intent(), headers=headers)
        refused = await api.post(HYBRID, json=intent(brief="Something else."), headers=headers)
        assert refused.status_code == 409
        assert fields(refused) == ["Idempotency-Key"]

    async def test_the_same_key_of_another_caller_is_another_campaign(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent
    ) -> None:
        key = {"Idempotency-Key": "shared"}
        mine = await api.post(HYBRID, json=intent(), headers=caller | key)
        theirs = await api.post(HYBRID, json=intent(), headers=bearer("somebody", accounts=(account,)) | key)
        assert mine.json()["campaignId"] != theirs.json()["campaignId"]


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "status", "field"),
        [
            ({"type": "campaign"}, 422, "type"),
            ({"type": 7}, 422, "type"),
            ({"priority": "urgent"}, 422, "priority"),
            ({"maxCost": "much"}, 422, "maxCost"),
            ({"audiance": []}, 422, "audiance"),
            ({"audience": []}, 422, "audience"),
            ({"brief": ""}, 422, "brief"),
            ({"onlyFansContext": {"accountId": "acct_foreign"}}, 403, "onlyFansContext.accountId"),
            ({"audience": [{"recipientId": "1"}]}, 422, "audience[0].name"),
            ({"audience": [{"recipientId": "1", "name": "M"}] * 2}, 422, "audience[1].recipientId"),
            (
                {"audience": [{"recipientId": "1", "name": "M", "accountId": "acct_foreign"}]},
                403,
                "audience[0].accountId",
            ),
            ({"audience": [{"recipientId": str(n), "name": "M"} for n in range(201)]}, 413, "audience"),
        ],
    )
    async def test_the_field_is_named_and_nothing_starts(
        self,
        api: httpx.AsyncClient,
        temporal: Client,
        caller: Headers,
        owner: str,
        intent: Intent,
        changes: dict[str, Any],
        status: int,
        field: str,
    ) -> None:
        body = intent() | changes
        refused = await api.post(HYBRID, json=body, headers=caller | {"Idempotency-Key": "refused"})
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert field in fields(refused)
        assert not await was_started(temporal, owner, "refused")
        listing = await api.get("/api/v2/campaigns/status", headers=caller)
        assert listing.json()["campaigns"] == []

    @pytest.mark.parametrize("missing", ["type", "onlyFansContext"])
    async def test_a_missing_field_is_named(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, missing: str
    ) -> None:
        refused = await api.post(HYBRID, json=without(intent(), missing), headers=caller)
        assert (refused.status_code, fields(refused)) == (422, [missing])

    async def test_at_most_ten_repeated_recipients_are_listed(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        repeated = intent(audience=1)["audience"] * 30
        refused = await api.post(HYBRID, json=intent() | {"audience": repeated}, headers=caller)
        assert fields(refused) == [f"audience[{number}].recipientId" for number in range(1, 11)]
        assert "audience[0]" in refused.json()["errors"][0]["message"]

    async def test_less_review_needs_the_owners_opt_in(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent
    ) -> None:
        refused = await api.post(HYBRID, json=intent(level="moderate"), headers=caller)
        assert refused.status_code == 403
        assert fields(refused) == ["onlyFansContext.complianceLevel"]
        assert f"PUT /api/v2/accounts/{account}/autonomy" in refused.json()["detail"]
        opt_in = {"level": "moderate", "reason": "Reviewed for months."}
        await api.put(f"/api/v2/accounts/{account}/autonomy", json=opt_in, headers=caller)
        assert (await api.post(HYBRID, json=intent(level="moderate"), headers=caller)).status_code == 202
        assert (await api.post(HYBRID, json=intent(level="relaxed"), headers=caller)).status_code == 403

    @pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"type": NaN'])
    async def test_broken_json_is_400(self, api: httpx.AsyncClient, caller: Headers, body: bytes) -> None:
        refused = await api.post(HYBRID, content=body, headers=caller)
        assert refused.status_code == 400

    async def test_a_form_is_400_and_says_what_to_send(self, api: httpx.AsyncClient, caller: Headers) -> None:
        refused = await api.post(HYBRID, data={"type": "campaign_execution"}, headers=caller)
        assert refused.status_code == 400
        assert "application/json" in refused.json()["detail"]

    @pytest.mark.parametrize("key", ["", "k" * 256, "ключ"])
    async def test_an_unusable_key_is_400(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, key: str
    ) -> None:
        headers = [(name.encode(), value.encode()) for name, value in (caller | {"Idempotency-Key": key}).items()]
        refused = await api.post(HYBRID, content=json.dumps(intent()), headers=headers)
        assert (refused.status_code, fields(refused)) == (400, ["Idempotency-Key"])


class TestAnswersAtOnce:
    @pytest.fixture
    def plan(self, account: str) -> dict[str, Any]:
        return {
            "type": "content_planning",
            "brief": "Spring sale, warm and personal.",
            "onlyFansContext": {"accountId": account},
        }

    @pytest.mark.usefixtures("worker")
    async def test_prefer_wait_answers_the_result(
        self, api: httpx.AsyncClient, caller: Headers, plan: dict[str, Any]
    ) -> None:
        headers = caller | {"Idempotency-Key": "plan", "Prefer": "wait=45"}
        answer = await api.post(HYBRID, json=plan, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=45"
        result = answer.json()
        assert (result["requestId"], result["status"]) == ("plan", "completed")
        assert result["plan"]["theme"]
        assert result["detailedCosts"]["totalCostMicros"] > 0

        again = await api.post(HYBRID, json=plan, headers=headers)
        assert (again.status_code, again.json()) == (200, result)
        assert again.headers["idempotency-replayed"] == "true"

    @pytest.mark.usefixtures("worker")
    async def test_when_the_time_runs_out_it_is_202(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        # A strict campaign waits for its reviewer.
        answer = await api.post(HYBRID, json=intent(), headers=caller | {"Prefer": "respond-async, wait=1"})
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == "wait=1"

    async def test_a_single_shot_request_can_not_be_steered(
        self, api: httpx.AsyncClient, temporal: Client, caller: Headers, plan: dict[str, Any]
    ) -> None:
        campaign = (await api.post(HYBRID, json=plan, headers=caller)).json()["campaignId"]
        refused = await api.post(f"/api/v2/campaigns/{campaign}/pause", headers=caller)
        assert refused.status_code == 409
        assert "content_planning" in refused.json()["detail"]
        description = await temporal.get_workflow_handle(f"generation-{campaign}").describe()
        assert description.status in {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED}
