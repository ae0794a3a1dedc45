"""Single messages: sent, queued or refused, stored once, and cancelled only while they wait."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.client import Client

from adapters.bootstrap import Ports
from adapters.temporal import TemporalSendQueues
from domain.delivery import MessageStatus, Priority, send_queue_id
from domain.send_queue import MAX_DEPTH, EnqueueBatch
from tests.api.conftest import Intent
from tests.api.identity import bearer
from tests.api.test_progress import CAMPAIGNS, progress_when, start
from tests.local import Simulator
from workflows.policies import ORCHESTRATION

MESSAGES = "/api/v2/onlyfans/messages"
TEXT = "Thank you for the lovely tip, Maya! The new set is up tonight."
Headers = dict[str, str]


def body(account: str, **changes: Any) -> dict[str, Any]:
    return {"accountId": account, "recipientId": "1002003", "text": TEXT, **changes}


async def sent_when(api: httpx.AsyncClient, caller: Headers, message_id: str, status: str) -> dict[str, Any]:
    """The message as soon as it is in ``status``."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await api.get(f"{MESSAGES}/{message_id}", headers=caller)).json()
            if found["status"] == status:
                return found
            await asyncio.sleep(0.1)


async def hold(ports: Ports, account: str, seconds: int = 600) -> None:
    """The platform asks the account to wait."""
    await ports.limiter.hold(account, seconds * 1000, "throttled")


@pytest.mark.usefixtures("worker")
class TestSent:
    async def test_now_is_200_with_the_platforms_id(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        answer = await api.post(MESSAGES, json=body(account), headers=caller | {"Prefer": "wait=30"})
        message = answer.json()
        assert answer.status_code == 200, answer.text
        assert (message["status"], message["text"], message["attempts"]) == ("sent", TEXT, 1)
        assert int(answer.headers["x-ratelimit-remaining"]) == 1
        assert 0 < int(answer.headers["x-ratelimit-reset"]) <= 60
        [arrived] = (await onlyfans.get("messages", account=account))["messages"]
        assert arrived["text"] == TEXT
        assert (await api.get(f"{MESSAGES}/{message['messageId']}", headers=caller)).json() == message

    async def test_the_same_key_is_the_same_message(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        headers = caller | {"Idempotency-Key": "once", "Prefer": "wait=30"}
        answers = await asyncio.gather(*(api.post(MESSAGES, json=body(account), headers=headers) for _ in range(3)))
        again = await api.post(MESSAGES, json=body(account), headers=headers)
        assert {answer.json()["messageId"] for answer in (*answers, again)} == {again.json()["messageId"]}
        assert again.headers["idempotency-replayed"] == "true"
        assert len((await onlyfans.get("messages", account=account))["messages"]) == 1
        other = await api.post(MESSAGES, json=body(account, text="Something else."), headers=headers)
        assert (other.status_code, other.json()["errors"][0]["field"]) == (409, "Idempotency-Key")

    async def test_what_the_platform_refuses_is_named_and_a_dead_letter(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        refused = await api.post(
            MESSAGES, json=body(account, text="No blackmail, please."), headers=caller | {"Prefer": "wait=30"}
        )
        assert (refused.status_code, refused.json()["errorType"]) == (422, "compliance_violation")
        letters = (await api.get(f"/api/v2/queues/{account}/dead-letters", headers=caller)).json()["messages"]
        assert [letter["reason"] for letter in letters] == ["banned_words"]


@pytest.mark.usefixtures("worker")
class TestQueued:
    async def test_a_throttled_account_is_202_with_place_and_time(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await hold(ports, account)
        before = datetime.now(UTC)
        places = []
        for _ in range(2):
            answer = await api.post(MESSAGES, json=body(account), headers=caller)
            assert answer.status_code == 202, answer.text
            assert answer.headers["x-ratelimit-remaining"] == "0"
            assert 590 <= int(answer.headers["x-ratelimit-reset"]) <= 600
            message = answer.json()
            assert answer.headers["location"] == f"{MESSAGES}/{message['messageId']}"
            assert message["status"] == "queued"
            places.append(message["position"])
            assert datetime.fromisoformat(message["eta"]) - before > timedelta(seconds=590)
        assert places == [1, 2]

    async def test_a_fan_whose_limit_is_used_up_is_not_promised_more_than_the_limits_admit(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        now = caller | {"Prefer": "wait=30"}
        for number in range(2):
            sent = await api.post(MESSAGES, json=body(account, text=f"Hello number {number}."), headers=now)
            assert sent.status_code == 200, sent.text
        before = datetime.now(UTC)
        third = await api.post(MESSAGES, json=body(account), headers=caller)
        assert (third.status_code, third.json()["position"]) == (202, 1)
        first_free = datetime.fromisoformat(sent.json()["sentAt"]) + timedelta(seconds=30)
        assert before < first_free < datetime.fromisoformat(third.json()["eta"])

    async def test_a_paused_account_keeps_it_and_says_why(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        queue = f"/api/v2/queues/{account}"
        await api.post(f"{queue}/pause", json={"reason": "On holiday."}, headers=caller)
        waiting = await api.post(MESSAGES, json=body(account), headers=caller)
        assert (waiting.status_code, waiting.json()["eta"]) == (202, None)
        assert "paused (On holiday.)" in waiting.json()["reason"]
        now_or_never = await api.post(MESSAGES, json=body(account, queue=False), headers=caller)
        assert (now_or_never.status_code, now_or_never.json()["errors"][0]["field"]) == (409, "queue")
        await api.post(f"{queue}/resume", headers=caller)
        await sent_when(api, caller, waiting.json()["messageId"], "sent")

    async def test_a_draining_account_refuses_and_says_how_to_go_on(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        await api.post(f"/api/v2/queues/{account}/drain", json={"reason": "Closing."}, headers=caller)
        refused = await api.post(MESSAGES, json=body(account), headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "accountId")
        assert f"/api/v2/queues/{account}/resume" in refused.json()["detail"]

    async def test_a_message_that_is_too_late_is_skipped(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports, onlyfans: Simulator
    ) -> None:
        await hold(ports, account)
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        message = (await api.post(MESSAGES, json=body(account, expiresAt=soon), headers=caller)).json()
        ended = await sent_when(api, caller, message["messageId"], "skipped")
        assert ended["reason"].startswith("expired")
        assert (await onlyfans.get("messages", account=account))["messages"] == []


@pytest.mark.usefixtures("worker")
class TestNotWaiting:
    async def test_a_free_account_sends_at_once(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        answer = await api.post(MESSAGES, json=body(account, queue=False), headers=caller)
        assert (answer.status_code, answer.json()["status"]) == (200, "sent")

    async def test_a_throttled_one_is_429_and_nothing_is_stored(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await hold(ports, account)
        headers = caller | {"Idempotency-Key": "now"}
        refused = await api.post(MESSAGES, json=body(account, queue=False), headers=headers)
        assert (refused.status_code, refused.json()["errorType"]) == (429, "rate_limit_exceeded")
        assert 590 <= int(refused.headers["retry-after"]) <= 600
        assert refused.headers["x-ratelimit-remaining"] == "0"
        listed = (await api.get(f"{CAMPAIGNS}/status?type=direct_message", headers=caller)).json()["campaigns"]
        assert listed == []

    async def test_a_queue_in_front_is_429_too(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        first = await api.post(MESSAGES, json=body(account, notBefore=later), headers=caller)
        assert first.status_code == 202
        # What may not go yet is not in the way.
        passed = await api.post(MESSAGES, json=body(account, queue=False), headers=caller)
        assert passed.status_code == 200, passed.text

    async def test_a_limit_of_nothing_says_that_waiting_is_no_help(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str
    ) -> None:
        nothing = {"account": [{"limit": 0, "seconds": 60}], "reason": "Under review."}
        await api.put(f"/api/v2/rate-limits/{account}", json=nothing, headers=staff)
        refused = await api.post(MESSAGES, json=body(account, queue=False), headers=caller)
        assert refused.status_code == 409
        assert "limit of 0" in refused.json()["detail"]


@pytest.mark.usefixtures("worker", "onlyfans")
class TestAFullQueue:
    async def test_refuses_by_priority_and_stores_nothing(
        self, api: httpx.AsyncClient, caller: Headers, account: str, temporal: Client
    ) -> None:
        later = datetime.now(UTC) + timedelta(days=1)
        crowd = EnqueueBatch(
            campaign_id=str(uuid4()),
            batch=0,
            priority=Priority.MEDIUM,
            message_ids=tuple(uuid4() for _ in range(MAX_DEPTH * 7 // 10)),
            not_before=later,
            reports=False,
        )
        await TemporalSendQueues(temporal, ORCHESTRATION).enqueue(account, crowd)
        waits = body(account, priority="medium", notBefore=later.isoformat())
        refused = await api.post(MESSAGES, json=waits, headers=caller)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:huntaze:problem:queue-full")
        assert refused.headers["retry-after"] == "60"
        at_once = await api.post(MESSAGES, json=body(account, priority="medium", queue=False), headers=caller)
        assert (at_once.status_code, at_once.headers["retry-after"]) == (429, "60")
        listed = (await api.get(f"{CAMPAIGNS}/status?type=direct_message", headers=caller)).json()["campaigns"]
        assert listed == []
        urgent = await api.post(MESSAGES, json=waits | {"priority": "high"}, headers=caller)
        assert (urgent.status_code, urgent.json()["status"]) == (202, "queued")
        await temporal.get_workflow_handle(send_queue_id(account)).terminate()


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"text": "Call me: 0171 234567890"}, "text"),
            ({"text": ""}, "text"),
            ({"recipientId": "no such id!"}, "recipientId"),
            ({"queue": False, "notBefore": "2099-01-01T00:00:00Z"}, "notBefore"),
            ({"notBefore": "2099-01-02T00:00:00Z", "expiresAt": "2099-01-01T00:00:00Z"}, "expiresAt"),
            ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
            ({"messageTyp": "custom"}, "messageTyp"),
        ],
    )
    async def test_what_is_wrong_is_named_with_its_remedy(
        self, api: httpx.AsyncClient, caller: Headers, account: str, changes: dict[str, Any], field: str
    ) -> None:
        refused = await api.post(MESSAGES, json=body(account, **changes), headers=caller)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [field]

    async def test_a_rule_is_named_with_what_to_write_instead(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        refused = (await api.post(MESSAGES, json=body(account, text="Pay me by PayPal!"), headers=caller)).json()
        assert refused["errorType"] == "compliance_violation"
        assert "off-platform-payment" in refused["detail"]
        assert "tip" in refused["errors"][0]["message"]

    async def test_another_ones_account_is_403(self, api: httpx.AsyncClient, account: str) -> None:
        assert (await api.post(MESSAGES, json=body(account), headers=bearer("stranger"))).status_code == 403

    async def test_a_campaign_is_no_place_for_it(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        intent = {"type": "direct_message", "brief": "Hello.", "onlyFansContext": {"accountId": account}}
        refused = await api.post(f"{CAMPAIGNS}/hybrid", json=intent, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "type")
        assert MESSAGES in refused.json()["detail"]


@pytest.mark.usefixtures("worker")
class TestCancel:
    async def test_what_waits_is_never_sent(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str, ports: Ports, onlyfans: Simulator
    ) -> None:
        await hold(ports, account)
        message = (await api.post(MESSAGES, json=body(account), headers=caller)).json()
        url = f"{MESSAGES}/{message['messageId']}/cancel"
        cancelled = await api.post(url, headers=caller)
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert cancelled.json()["reason"] == f"cancelled_by:{owner}"
        assert (await api.post(url, headers=caller)).status_code == 200
        async with asyncio.timeout(30):
            while (await api.get(f"/api/v2/queues/{account}", headers=caller)).json()["depth"]:
                await asyncio.sleep(0.1)

    async def test_what_was_sent_is_409(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        message = (await api.post(MESSAGES, json=body(account), headers=caller | {"Prefer": "wait=30"})).json()
        refused = await api.post(f"{MESSAGES}/{message['messageId']}/cancel", headers=caller)
        assert refused.status_code == 409
        assert "sent" in refused.json()["detail"]

    async def test_one_draft_of_a_campaign(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, ports: Ports
    ) -> None:
        accepted = await start(api, caller, intent(audience=2))
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2)
        url = f"{CAMPAIGNS}/{accepted['campaignId']}/messages"
        [first, second] = (await api.get(url, headers=caller)).json()["messages"]
        cancelled = await api.post(f"{url}/{first['messageId']}/cancel", headers=caller)
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        counts = await ports.messages.count_by_status(accepted["campaignId"])
        assert counts == {MessageStatus.CANCELLED: 1, MessageStatus.DRAFTED: 1}
        assert (await api.post(f"{url}/{UUID(int=1)}/cancel", headers=caller)).status_code == 404
        assert (await api.post(f"{url}/{second['messageId']}/cancel", headers=bearer("other"))).status_code == 404

    async def test_of_somebody_else_is_404(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await hold(ports, account)
        message = (await api.post(MESSAGES, json=body(account), headers=caller)).json()
        url = f"{MESSAGES}/{message['messageId']}"
        stranger = bearer("stranger", accounts=(account,))
        assert (await api.get(url, headers=stranger)).status_code == 404
        assert (await api.post(f"{url}/cancel", headers=stranger)).status_code == 404
        assert (await api.get(url, headers=bearer("staff", "operator"))).status_code == 200
        # It is no campaign.
        assert (await api.get(f"{CAMPAIGNS}/{message['messageId']}/messages", headers=caller)).status_code == 404
