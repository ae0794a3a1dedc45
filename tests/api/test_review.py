"""Approving, rejecting, and what an owner allows without it."""

import httpx
import pytest

from tests.api.conftest import Intent
from tests.api.identity import bearer
from tests.api.test_progress import CAMPAIGNS, progress_when, start, until_done

Headers = dict[str, str]


class TestReview:
    @pytest.mark.usefixtures("worker")
    async def test_from_draft_to_delivery(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=2))
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)

        drafts = (await api.get(f"{url}/messages", params={"status": "drafted"}, headers=caller)).json()
        assert len(drafts["messages"]) == 2
        assert all(message["text"] and message["accountId"] == account for message in drafts["messages"])

        elsewhere = {"pages": [{"accountId": account, "page": 0}, {"accountId": account, "page": 9}]}
        refused = await api.post(f"{url}/approve", json=elsewhere, headers=caller)
        assert refused.status_code == 409
        assert [error["field"] for error in refused.json()["errors"]] == ["pages[1]"]

        approval = {"pages": [{"accountId": account, "page": 0}], "comment": "Reads well."}
        assert (await api.post(f"{url}/approve", json=approval, headers=caller)).status_code == 202
        events = await until_done(api, caller, f"{url}/events")
        name, result = events[-1]
        assert (name, result["status"], result["outcomes"]) == ("done", "completed", {"sent": 2})

        sent = (await api.get(f"{url}/messages", params={"status": "sent"}, headers=caller)).json()["messages"]
        assert {message["messageId"] for message in sent} == {m["messageId"] for m in drafts["messages"]}

        costs = (
            await api.get(f"{CAMPAIGNS}/costs", params={"campaignId": accepted["workflowId"]}, headers=caller)
        ).json()
        assert costs["total"]["totalCostMicros"] == result["detailedCosts"]["totalCostMicros"] > 0
        assert sum(part["costMicros"] for part in costs["total"]["providers"]) == costs["total"]["totalCostMicros"]
        month = (await api.get(f"{CAMPAIGNS}/costs", headers=caller)).json()
        assert month["total"] == costs["total"]
        assert [day["totalCostMicros"] for day in month["days"]] == [costs["total"]["totalCostMicros"]]

    @pytest.mark.usefixtures("worker")
    async def test_rejected_is_never_sent(self, api: httpx.AsyncClient, caller: Headers, intent: Intent) -> None:
        # Pages of two: two of them wait for a reviewer, the third one is drafted after the decision.
        accepted = await start(api, caller, intent(audience=5))
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=4)
        rejection = {"scope": "campaign", "comment": "Not our tone."}
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        assert (await api.post(f"{url}/reject", json=rejection, headers=caller)).status_code == 202
        assert (await until_done(api, caller, f"{url}/events"))[-1][1]["outcomes"] == {"rejected": 5}

    @pytest.mark.usefixtures("worker")
    async def test_where_nothing_waits_there_is_nothing_to_decide(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent
    ) -> None:
        # A campaign that needs no review, on an account that does not send: it stays as it is.
        opt_in = {"level": "relaxed", "reason": "We trust it."}
        await api.put(f"/api/v2/accounts/{account}/autonomy", json=opt_in, headers=caller)
        await api.post(f"/api/v2/queues/{account}/pause", headers=caller)
        accepted = await start(api, caller, intent(audience=2, level="relaxed"))
        await progress_when(api, caller, accepted["statusUrl"], queued=2)
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        for verb in ("approve", "reject"):
            refused = await api.post(f"{url}/{verb}", headers=caller)
            assert refused.status_code == 409
            assert "pendingReviews" in refused.json()["detail"]
        assert (await api.post(f"{url}/approve", json={"scope": "campaign"}, headers=caller)).status_code == 202

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"page": 1}, "page"),
            ({"scope": "all"}, "scope"),
            ({"pages": [{"accountId": "acct_a", "page": -1}]}, "pages[0].page"),
        ],
    )
    async def test_a_wrong_decision_is_422(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, body: dict[str, object], field: str
    ) -> None:
        campaign = (await start(api, caller, intent()))["campaignId"]
        refused = await api.post(f"{CAMPAIGNS}/{campaign}/approve", json=body, headers=caller)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [field]


class TestAutonomy:
    async def test_is_strict_until_the_owner_says_otherwise(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str
    ) -> None:
        url = f"/api/v2/accounts/{account}/autonomy"
        assert (await api.get(url, headers=caller)).json()["level"] == "strict"
        granted = await api.put(url, json={"level": "relaxed", "reason": "We trust it."}, headers=caller)
        assert granted.status_code == 200
        stored = (await api.get(url, headers=caller)).json()
        assert stored == granted.json()
        assert (stored["level"], stored["grantedBy"], stored["reason"]) == ("relaxed", owner, "We trust it.")
        assert stored["grantedAt"]

    async def test_is_nobody_elses_to_give(self, api: httpx.AsyncClient, account: str) -> None:
        url = f"/api/v2/accounts/{account}/autonomy"
        body = {"level": "relaxed", "reason": "We trust it."}
        for stranger in (bearer("stranger"), bearer("staff", "admin")):
            assert (await api.put(url, json=body, headers=stranger)).status_code == 403
        assert (await api.get(url, headers=bearer("stranger"))).status_code == 403
        assert (await api.get(url, headers=bearer("staff", "operator"))).status_code == 200

    async def test_an_impossible_account_is_422(self, api: httpx.AsyncClient, caller: Headers) -> None:
        refused = await api.get("/api/v2/accounts/luna/autonomy", headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "accountId")
