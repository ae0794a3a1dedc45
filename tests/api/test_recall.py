"""Recalling: what was sent a moment ago is taken back, and the report can be read again."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.api.conftest import Intent
from tests.api.identity import bearer
from tests.api.test_message import MESSAGES, body, sent_when
from tests.api.test_progress import CAMPAIGNS, progress_when, start
from tests.local import Simulator

Headers = dict[str, str]


@pytest.mark.usefixtures("worker")
class TestRecall:
    async def test_of_a_campaign_cancels_and_takes_back(
        self, api: httpx.AsyncClient, caller: Headers, account: str, intent: Intent, onlyfans: Simulator
    ) -> None:
        accepted = await start(api, caller, intent(audience=4))
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=4)
        first_page = {"pages": [{"accountId": account, "page": 0}]}
        assert (await api.post(f"{url}/approve", json=first_page, headers=caller)).status_code == 202
        await progress_when(api, caller, accepted["statusUrl"], sent=2, awaitingReview=2)

        assert (await api.get(f"{url}/recall", headers=caller)).status_code == 404
        answer = await api.post(f"{url}/recall", headers=caller | {"Prefer": "wait=60"})
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert (report["recalled"], report["cancelled"], report["complete"]) == (2, 2, True)
        assert (report["late"], report["failed"]) == ([], [])
        for again in (
            await api.get(f"{url}/recall", headers=caller),
            await api.post(f"{url}/recall", headers=caller),
        ):
            assert (again.status_code, again.json()) == (200, report)
        messages = (await api.get(f"{url}/messages", headers=caller)).json()["messages"]
        assert Counter(message["status"] for message in messages) == {"recalled": 2, "cancelled": 2}
        assert (await api.post(f"{url}/recall", headers=bearer("stranger"))).status_code == 404

    async def test_of_a_single_message(
        self, api: httpx.AsyncClient, caller: Headers, account: str, onlyfans: Simulator
    ) -> None:
        sent = (await api.post(MESSAGES, json=body(account), headers=caller | {"Prefer": "wait=30"})).json()
        url = f"{CAMPAIGNS}/{sent['messageId']}/recall"
        answer = await api.post(url, headers=caller | {"Prefer": "wait=60"})
        assert (answer.status_code, answer.json()["recalled"]) == (200, 1)
        await sent_when(api, caller, sent["messageId"], "recalled")

    async def test_who_does_not_wait_gets_202_and_where_to_look(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent
    ) -> None:
        accepted = await start(api, caller, intent(audience=1))
        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=1)
        url = f"{CAMPAIGNS}/{accepted['campaignId']}/recall"
        answer = await api.post(url, headers=caller | {"Prefer": "wait=0"})
        assert answer.status_code in {200, 202}
        if answer.status_code == 202:
            assert (answer.headers["location"], answer.json()["status"]) == (url, "running")
        async with asyncio.timeout(60):
            while (found := await api.get(url, headers=caller)).status_code != 200:
                await asyncio.sleep(0.1)
        assert found.json()["recalled"] == 0

    async def test_what_sends_nothing_has_nothing_to_recall(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        plan = {"type": "content_planning", "brief": "Spring.", "onlyFansContext": {"accountId": account}}
        accepted = await start(api, caller, plan)
        assert (await api.post(f"{CAMPAIGNS}/{accepted['campaignId']}/recall", headers=caller)).status_code == 409
