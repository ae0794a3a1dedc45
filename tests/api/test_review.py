"""Approving, rejecting, and what an owner allows without it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.compliance import MAX_ALIKE
from domain.similarity import fingerprint
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


@pytest.mark.usefixtures("worker")
class TestMessages:
    async def test_single_drafts_are_decided_and_the_rest_of_the_page_goes_on_waiting(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=2))
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)
        one, two = [draft["messageId"] for draft in await drafts(api, caller)]
        rejection = {"messages": [one], "comment": "Not our tone."}
        assert (await api.post(f"{url}/reject", json=rejection, headers=caller)).status_code == 202
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=1, rejected=1)
        rejected = (await api.get(f"{url}/messages/{one}", headers=caller)).json()
        assert (rejected["status"], rejected["reason"]) == ("rejected", "Not our tone.")
        assert (rejected["review"]["decidedBy"], rejected["review"]["comment"]) == (owner, "Not our tone.")

        again = {"messages": [two, one, str(uuid4())]}
        refused = await api.post(f"{url}/approve", json=again, headers=caller)
        assert refused.status_code == 409
        assert [error["field"] for error in refused.json()["errors"]] == ["messages[1]", "messages[2]"]
        assert (await api.post(f"{url}/approve", json={"messages": [two]}, headers=caller)).status_code == 202
        assert (await until_done(api, caller, f"{url}/events"))[-1][1]["outcomes"] == {"sent": 1, "rejected": 1}
        approved = (await api.get(f"{url}/messages/{two}", headers=caller)).json()
        assert approved["origin"]["approvedBy"] == owner
        assert approved["origin"]["approvedAt"]

    async def test_a_revision_that_is_not_the_present_one_is_409_with_what_to_do(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=1))
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=1)
        (draft,) = await drafts(api, caller)
        read: dict[str, Any] = {
            "messages": [draft["messageId"]],
            "revisions": {draft["messageId"]: draft["revision"]},
        }
        edit = await api.put(f"{url}/messages/{draft['messageId']}/text", json={"text": "Hello Maya."}, headers=staff)
        assert edit.json()["revision"] == 1
        for verb in ("approve", "reject"):
            refused = await api.post(f"{url}/{verb}", json=read, headers=caller)
            assert refused.status_code == 409
            (error,) = refused.json()["errors"]
            assert error["field"] == "messages[0]"
            assert "by staff: it is at revision 1, not 0. Read it again" in error["message"]
        read["revisions"][draft["messageId"]] = 1
        assert (await api.post(f"{url}/approve", json=read, headers=caller)).status_code == 202
        assert (await until_done(api, caller, f"{url}/events"))[-1][1]["outcomes"] == {"sent": 1}

    async def test_messages_and_pages_in_one_decision_are_refused(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        campaign = (await start(api, caller, intent()))["campaignId"]
        body = {"messages": [str(uuid4())], "scope": "campaign"}
        refused = await api.post(f"{CAMPAIGNS}/{campaign}/approve", json=body, headers=caller)
        assert refused.status_code == 422
        assert "messages" in refused.json()["detail"]


@pytest.mark.usefixtures("worker")
class TestList:
    async def test_what_waits_oldest_first_with_everything_a_reviewer_needs(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent, staff: Headers
    ) -> None:
        first = await start(api, caller, intent(audience=2, review={"expiresAfterHours": 5}))
        await progress_when(api, caller, first["statusUrl"], awaitingReview=2)
        second = await start(api, caller, intent(audience=1))
        await progress_when(api, caller, second["statusUrl"], awaitingReview=1)
        waiting = await drafts(api, caller)
        assert [draft["campaignId"] for draft in waiting] == [first["campaignId"]] * 2 + [second["campaignId"]]
        draft = waiting[0]
        assert draft["text"]
        assert draft["compliance"]["score"] > 0
        assert (draft["accountId"], draft["page"], draft["revision"], draft["reason"]) == (
            account,
            0,
            0,
            "awaiting_review",
        )
        wait = datetime.fromisoformat(draft["expiresAt"]) - datetime.fromisoformat(draft["waitingSince"])
        assert wait == timedelta(hours=5)
        assert await drafts(api, caller, campaignId=second["workflowId"]) == waiting[2:]
        assert await drafts(api, caller, accountId="acct_other") == []
        assert await drafts(api, staff, accountId=account) == waiting
        assert await drafts(api, bearer("stranger")) == []

        page = (await api.get("/api/v2/reviews", params={"limit": 2}, headers=caller)).json()
        rest = await drafts(api, caller, limit=2, cursor=page["nextCursor"])
        assert page["drafts"] + rest == waiting

    async def test_a_strangers_campaign_is_not_there(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent())
        query = {"campaignId": accepted["campaignId"]}
        assert (await api.get("/api/v2/reviews", params=query, headers=bearer("stranger"))).status_code == 404

    async def test_a_foreign_cursor_is_422(self, api: httpx.AsyncClient, caller: Headers) -> None:
        refused = await api.get("/api/v2/reviews", params={"cursor": "abc"}, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.usefixtures("worker")
class TestEdit:
    async def draft(self, api: httpx.AsyncClient, caller: Headers, intent: Intent) -> tuple[str, str, str]:
        accepted = await start(api, caller, intent(audience=2))
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)
        message = (await drafts(api, caller))[0]["messageId"]
        return accepted["statusUrl"], f"{CAMPAIGNS}/{accepted['campaignId']}", message

    async def test_from_a_new_text_to_delivery(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, intent: Intent
    ) -> None:
        status, url, message = await self.draft(api, caller, intent)
        before = (await api.get(f"{url}/messages/{message}", headers=caller)).json()
        body = {"text": "Hello Maya, would you like a preview?", "revision": 0, "comment": "Less pushy."}
        edit = await api.put(f"{url}/messages/{message}/text", json=body, headers=caller)
        assert edit.status_code == 200
        after = edit.json()
        assert (after["text"], after["status"], after["revision"]) == (body["text"], "drafted", 1)
        assert after["earlier"][0]["text"] == before["text"]
        assert (after["earlier"][0]["replacedBy"], after["earlier"][0]["comment"]) == (owner, "Less pushy.")
        assert after["origin"]["editedBy"] == owner
        assert (await api.put(f"{url}/messages/{message}/text", json=body, headers=caller)).json() == after

        body = {"text": "Hello Maya, shall I send you a preview?", "approve": True}
        approved = await api.put(f"{url}/messages/{message}/text", json=body, headers=caller)
        assert (approved.json()["status"], approved.json()["origin"]["approvedBy"]) == ("approved", owner)
        await progress_when(api, caller, status, sent=1, awaitingReview=1)
        sent = (await api.get(f"{url}/messages/{message}", headers=caller)).json()
        assert (sent["text"], sent["status"], len(sent["earlier"])) == (body["text"], "sent", 2)

        late = await api.put(f"{url}/messages/{message}/text", json={"text": "Too late."}, headers=caller)
        assert late.status_code == 409
        assert "sent" in late.json()["detail"]

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("Pay me on PayPal, Maya.", "off-platform-payment"),
            # Our own rules let it pass; the provider's moderation, which knows words only, does not.
            ("My minor in college was art, Maya.", "moderation-sexual-minors"),
        ],
    )
    async def test_a_text_that_a_rule_blocks_is_422_and_changes_nothing(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, text: str, rule: str
    ) -> None:
        _, url, message = await self.draft(api, caller, intent)
        before = (await api.get(f"{url}/messages/{message}", headers=caller)).json()
        body = {"text": text, "approve": True}
        refused = await api.put(f"{url}/messages/{message}/text", json=body, headers=caller)
        assert refused.status_code == 422
        problem = refused.json()
        assert (problem["errorType"], problem["errors"][0]["field"]) == ("compliance_violation", "text")
        assert rule in problem["errors"][0]["message"]
        assert (await api.get(f"{url}/messages/{message}", headers=caller)).json() == before

    async def test_of_two_editors_at_once_one_is_told_to_read_again(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, staff: Headers
    ) -> None:
        _, url, message = await self.draft(api, caller, intent)
        bodies = [{"text": f"Hello number {number}, Maya.", "revision": 0} for number in range(4)]
        answers = await asyncio.gather(
            *(
                api.put(f"{url}/messages/{message}/text", json=body, headers=staff if number % 2 else caller)
                for number, body in enumerate(bodies)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        stored = (await api.get(f"{url}/messages/{message}", headers=caller)).json()
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert stored == won

    async def test_where_a_region_demands_it_the_new_text_says_that_ai_helped(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        wanted = intent(audience=1)
        wanted["audience"][0] |= {"region": "DE", "language": "de"}
        accepted = await start(api, caller, wanted)
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=1)
        (draft,) = await drafts(api, caller)
        url = f"{CAMPAIGNS}/{accepted['campaignId']}/messages/{draft['messageId']}"

        long = {"text": "Maya, a lovely day. " * 49, "approve": True}
        refused = await api.put(f"{url}/text", json=long, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "text")
        assert "AI helped" in refused.json()["detail"]
        assert (await api.get(url, headers=caller)).json()["text"] == draft["text"]

        body = {"text": "Hallo Maya, magst du eine Vorschau?", "approve": True}
        edit = await api.put(f"{url}/text", json=body, headers=caller)
        assert edit.json()["text"] == f"{body['text']}\n(Mit Hilfe von KI geschrieben.)"
        assert edit.json()["compliance"]["violations"] == []
        again = await api.put(f"{url}/text", json=body, headers=caller)
        assert (again.status_code, again.json()["revision"]) == (200, 1)

    async def test_one_text_for_many_is_a_warning_that_the_reviewer_sees(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, ports: Ports
    ) -> None:
        _, url, message = await self.draft(api, caller, intent)
        campaign = url.rpartition("/")[2]
        text = "Hello lovely, the spring set is here and I am curious what you think of it."
        others = {str(uuid4()): fingerprint(text, "") for _ in range(MAX_ALIKE)}
        await ports.similarity.compare(campaign, others)
        few = await api.put(f"{url}/messages/{message}/text", json={"text": text}, headers=caller)
        assert few.json()["compliance"]["violations"] == []
        await ports.similarity.compare(campaign, {str(uuid4()): fingerprint(text, "")})
        many = await api.put(f"{url}/messages/{message}/text", json={"text": f"{text} 💛"}, headers=caller)
        report = many.json()["compliance"]
        assert [each["ruleId"] for each in report["violations"]] == ["near-identical-blast"]
        assert (report["score"], many.json()["status"]) == (0.75, "drafted")

    async def test_nobody_elses(self, api: httpx.AsyncClient, caller: Headers, intent: Intent) -> None:
        _, url, message = await self.draft(api, caller, intent)
        for path in (f"{url}/messages/{message}/text", f"{url}/messages/{uuid4()}/text"):
            who = bearer("stranger") if message in path else caller
            assert (await api.put(path, json={"text": "Hello."}, headers=who)).status_code == 404


@pytest.mark.usefixtures("worker")
class TestBulk:
    async def test_one_that_is_refused_does_not_stop_the_others(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent
    ) -> None:
        campaigns = [await start(api, caller, intent(audience=1)) for _ in range(2)]
        for accepted in campaigns:
            await progress_when(api, caller, accepted["statusUrl"], awaitingReview=1)
        first, second = [accepted["campaignId"] for accepted in campaigns]
        unknown = str(uuid4())
        items = [
            {"campaignId": first, "verdict": "approve"},
            {"campaignId": unknown, "verdict": "approve"},
            {"campaignId": second, "verdict": "reject", "pages": [{"accountId": account, "page": 7}]},
            {"campaignId": second, "verdict": "reject", "comment": "Not our tone."},
        ]
        answer = await api.post("/api/v2/reviews/decisions", json={"items": items}, headers=caller)
        assert answer.status_code == 200
        results = answer.json()["results"]
        assert [(each["campaignId"], each["accepted"]) for each in results] == [
            (first, True),
            (unknown, False),
            (second, False),
            (second, True),
        ]
        assert [(results[n]["problem"]["status"], results[n]["problem"]["errors"][0]["field"]) for n in (1, 2)] == [
            (404, "items[1].campaignId"),
            (409, "items[2].pages[0]"),
        ]
        ends = [
            (await until_done(api, caller, f"{CAMPAIGNS}/{each}/events"))[-1][1]["outcomes"] for each in (first, second)
        ]
        assert ends == [{"sent": 1}, {"rejected": 1}]

    @pytest.mark.parametrize(
        ("items", "field"), [([], "items"), ([{"campaignId": "a", "verdict": "expire"}], "items[0].verdict")]
    )
    async def test_a_wrong_body_is_422(
        self, api: httpx.AsyncClient, caller: Headers, items: list[object], field: str
    ) -> None:
        refused = await api.post("/api/v2/reviews/decisions", json={"items": items}, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def drafts(api: httpx.AsyncClient, caller: Headers, **query: str | int) -> list[dict[str, Any]]:
    """What waits for the caller."""
    answer = await api.get("/api/v2/reviews", params=query, headers=caller)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["drafts"]
    return found


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
