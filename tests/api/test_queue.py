"""An account's queue: shown truly, paused at once, drained, and its dead letters sent again or let be."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.delivery import Attempt, Message, MessageOrigin, MessageStatus, Outcome
from domain.rate_limit import MessageType, Slot
from tests.api.identity import bearer
from tests.api.test_message import MESSAGES, body, hold, sent_when
from tests.domain.builders import a_message
from tests.local import Simulator

Headers = dict[str, str]


def queue_of(account: str) -> str:
    return f"/api/v2/queues/{account}"


async def dead_letter(api: httpx.AsyncClient, caller: Headers, account: str) -> dict[str, Any]:
    """A message that the platform refused for its words."""
    refused = await api.post(
        MESSAGES, json=body(account, text="No blackmail, please."), headers=caller | {"Prefer": "wait=30"}
    )
    assert refused.status_code == 422, refused.text
    [letter] = (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"]
    return dict(letter)


async def unknown_outcome(ports: Ports, account: str, **changes: Any) -> Message:
    """A message that was given up without knowing whether it arrived."""
    fields: dict[str, Any] = {"account_id": account, "message_type": MessageType.CUSTOM, **changes}
    letter = a_message(str(uuid4()), status=MessageStatus.QUEUED, **fields)
    await ports.messages.create_many([letter])
    slot = Slot(lease_id=str(uuid4()), account_id=account, message_type=MessageType.CUSTOM, counts_at_us=1)
    attempt, now = Attempt(message=letter, slot=slot), datetime.now(UTC)
    assert await ports.messages.begin_sends([attempt], now) == {letter.message_id}
    failed = Outcome(
        attempt=attempt, status=MessageStatus.FAILED, reason="outcome_unknown:recipient_not_found", attempts=1, at=now
    )
    await ports.messages.settle([failed])
    return letter


class TestState:
    async def test_an_account_that_never_sent(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        found = (await api.get(queue_of(account), headers=caller)).json()
        assert (found["state"], found["live"], found["depth"], found["lastEta"]) == ("active", False, 0, None)

    async def test_every_change_says_who_and_why(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str
    ) -> None:
        url = queue_of(account)
        for verb, state in (("pause", "paused"), ("drain", "draining"), ("resume", "active"), ("resume", "active")):
            answer = await api.post(f"{url}/{verb}", json={"reason": f"To {verb}."}, headers=caller)
            found = answer.json()
            assert answer.status_code == 200
            assert (found["state"], found["stateReason"], found["changedBy"]) == (state, f"To {verb}.", owner)
            assert found["changedAt"]

    async def test_changes_at_the_same_time_all_count(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        answers = await asyncio.gather(*(api.post(f"{queue_of(account)}/pause", headers=caller) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await ports.accounts.control(account)).revision == 3

    @pytest.mark.usefixtures("worker")
    async def test_what_waits_is_counted_and_explained(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports, onlyfans: Simulator
    ) -> None:
        await hold(ports, account)
        for priority in ("low", "critical", "low"):
            await api.post(MESSAGES, json=body(account, priority=priority), headers=caller)
        async with asyncio.timeout(30):
            while True:
                found = (await api.get(queue_of(account), headers=caller)).json()
                if found["throttledUntil"]:
                    break
                await asyncio.sleep(0.1)
        assert found["depthByPriority"] == {"critical": 1, "high": 0, "medium": 0, "low": 2}
        assert (found["live"], found["depth"]) == (True, 3)
        assert found["oldestAgeSeconds"] >= 0
        assert "platform" in found["headOfLineReason"]
        assert found["lastEta"] >= found["throttledUntil"][:16]

    @pytest.mark.usefixtures("worker", "onlyfans")
    async def test_what_a_round_is_sending_waits_no_more(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await hold(ports, account)
        sent = [(await api.post(MESSAGES, json=body(account), headers=caller)).json() for _ in range(3)]
        assert [message["position"] for message in sent] == [1, 2, 3]
        first, _, last = (message["messageId"] for message in sent)
        # The mark that a delivery round makes right before its call.
        message = (await ports.messages.get_many(first, [UUID(first)]))[UUID(first)]
        slot = Slot(lease_id=str(uuid4()), account_id=account, message_type=MessageType.CUSTOM, counts_at_us=1)
        assert await ports.messages.begin_sends([Attempt(message=message, slot=slot)], datetime.now(UTC))
        found = (await api.get(queue_of(account), headers=caller)).json()
        assert (found["depth"], found["depthByPriority"]["high"]) == (2, 2)
        assert (await api.get(f"{MESSAGES}/{last}", headers=caller)).json()["position"] == 2
        statistics = (await api.get("/api/v2/onlyfans/stats", headers=caller)).json()
        assert [each["queueDepth"] for each in statistics["accounts"]] == [2]

    async def test_what_staff_has_paused_only_staff_lets_go_on(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str
    ) -> None:
        url = queue_of(account)
        await api.post(f"{url}/pause", json={"reason": "Under review."}, headers=staff)
        for verb in ("resume", "pause", "drain"):
            refused = await api.post(f"{url}/{verb}", headers=caller)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "accountId")
            assert "Under review." in refused.json()["detail"]
            assert "operator" in refused.json()["detail"]
        assert (await api.get(url, headers=caller)).json()["state"] == "paused"
        assert (await api.post(f"{url}/resume", headers=staff)).status_code == 200
        for verb in ("pause", "resume"):
            assert (await api.post(f"{url}/{verb}", headers=caller)).status_code == 200

    async def test_is_the_owners_and_the_staffs(self, api: httpx.AsyncClient, staff: Headers, account: str) -> None:
        url = queue_of(account)
        for method, path in (("GET", url), ("POST", f"{url}/pause"), ("GET", f"{url}/dead-letters")):
            assert (await api.request(method, path, headers=bearer("stranger"))).status_code == 403
            assert (await api.request(method, path, headers=staff)).status_code == 200


@pytest.mark.usefixtures("worker", "onlyfans")
class TestDeadLetters:
    async def test_a_retry_is_one_message_however_often_it_is_asked_for(
        self, api: httpx.AsyncClient, caller: Headers, account: str, staff: Headers
    ) -> None:
        letter = await dead_letter(api, caller, account)
        url = f"{queue_of(account)}/dead-letters/{letter['messageId']}"
        assert (await api.get(url, headers=caller)).json() == letter
        answers = [await api.post(f"{url}/retry", headers=headers) for headers in (caller, caller, staff)]
        assert [answer.status_code for answer in answers] == [202, 202, 202]
        [retried] = {answer.json()["messageId"] for answer in answers}
        # The words are still the same, so it fails again, as another dead letter.
        again = await sent_when(api, caller, retried, "failed")
        assert (again["text"], again["recipientId"]) == (letter["text"], letter["recipientId"])
        [left] = (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"]
        assert left["messageId"] == retried
        assert (await api.get(url, headers=caller)).status_code == 404

    async def test_whoever_asks_for_a_retry_approves_it_then(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str, ports: Ports
    ) -> None:
        asked_at = datetime.now(UTC)
        origin = MessageOrigin(
            provider="openai",
            model="gpt-4o-mini",
            prompt_version="write.v2",
            approved_by="ana",
            approved_at=asked_at - timedelta(days=1),
        )
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.", origin=origin)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        retried = (await api.post(url, json={"force": True}, headers=caller)).json()["messageId"]
        (again,) = (await ports.messages.get_many(retried, [UUID(retried)])).values()
        assert again.origin is not None
        assert (again.origin.model, again.origin.prompt_version) == ("gpt-4o-mini", "write.v2")
        assert again.origin.approved_by == owner
        assert again.origin.approved_at is not None
        assert again.origin.approved_at >= asked_at

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("Pay me on PayPal, Maya.", "off-platform-payment"),
            ("My minor in college was art, Maya.", "moderation-sexual-minors"),
        ],
    )
    async def test_what_is_blocked_by_now_is_not_sent_again(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports, text: str, rule: str
    ) -> None:
        letter = await unknown_outcome(ports, account, text=text)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}"
        refused = await api.post(f"{url}/retry", json={"force": True}, headers=caller)
        assert (refused.status_code, refused.json()["errorType"]) == (422, "compliance_violation")
        assert rule in refused.json()["errors"][0]["message"]
        assert (await api.get(url, headers=caller)).json()["text"] == text

    async def test_a_discarded_one_is_off_the_list(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        letter = await dead_letter(api, caller, account)
        url = f"{queue_of(account)}/dead-letters/{letter['messageId']}"
        assert (await api.post(f"{url}/discard", json={}, headers=caller)).status_code == 422
        discarded = await api.post(f"{url}/discard", json={"reason": "The fan has left."}, headers=caller)
        assert (discarded.status_code, discarded.json()["status"]) == (200, "failed")
        assert (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"] == []
        assert (await api.post(f"{url}/retry", headers=caller)).status_code == 404

    async def test_what_the_fan_may_have_already_is_sent_again_only_on_purpose(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        refused = await api.post(url, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "force")
        retried = await api.post(url, json={"force": True}, headers=caller)
        assert retried.status_code == 202
        sent = await sent_when(api, caller, retried.json()["messageId"], "sent")
        assert (sent["text"], sent["recipientId"]) == (letter.text, letter.recipient_id)

    async def test_of_another_account_is_404(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        letter = await dead_letter(api, caller, account)
        elsewhere = f"acct_{uuid4().hex[:16]}"
        url = f"{queue_of(elsewhere)}/dead-letters/{letter['messageId']}"
        assert (await api.post(f"{url}/retry", headers=bearer("staff", "admin"))).status_code == 404
