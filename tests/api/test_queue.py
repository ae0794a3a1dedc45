"""An account's queue: shown truly, paused at once, drained, and its dead letters sent again or let be."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.delivery import Attempt
from domain.rate_limit import MessageType, Slot
from tests.api.identity import bearer
from tests.api.test_message import MESSAGES, body, hold
from tests.local import Simulator

Headers = dict[str, str]


def queue_of(account: str) -> str:
    return f"/api/v2/queues/{account}"


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
