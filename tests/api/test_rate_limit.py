"""Limits: asking takes nothing, a change is in force for the next grant, and everybody can read who made it."""

import asyncio
from typing import Any

import httpx
import pytest

from adapters.bootstrap import Ports
from tests.api.identity import bearer
from tests.api.test_message import MESSAGES, body, hold

Headers = dict[str, str]


def limits_of(account: str) -> str:
    return f"/api/v2/rate-limits/{account}"


def change(**changes: Any) -> dict[str, Any]:
    return {"reason": "Because of a test.", **changes}


class TestDryRun:
    async def test_a_fresh_account_may_send(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        answer = await api.get(limits_of(account), params={"recipientId": "1002003"}, headers=caller)
        found = answer.json()
        assert (found["wouldSend"], found["retryAt"], found["tier"], found["revision"]) == (
            True,
            None,
            "established",
            0,
        )
        assert found["remaining"] | {"system": None} == {
            "account": 10,
            "message_type": 5,
            "recipient": 2,
            "system": None,
        }
        assert answer.headers["etag"] == '"0"'
        assert (answer.headers["x-ratelimit-remaining"], answer.headers["x-ratelimit-reset"]) == ("2", "0")

    @pytest.mark.usefixtures("worker", "onlyfans")
    async def test_asking_takes_nothing_and_sending_does(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        for _ in range(5):
            await api.get(limits_of(account), headers=caller)
        assert (await api.post(MESSAGES, json=body(account), headers=caller | {"Prefer": "wait=30"})).status_code == 200
        found = (await api.get(limits_of(account), headers=caller)).json()
        assert found["remaining"]["message_type"] == 4
        window = next(each for each in found["windows"] if each["subject"] == "type:custom")
        assert (window["limit"], window["seconds"], window["used"], window["remaining"]) == (5, 60.0, 1, 4)

    async def test_a_hold_of_the_platform_is_told(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await hold(ports, account)
        found = (await api.get(limits_of(account), headers=caller)).json()
        assert (found["wouldSend"], found["bindingLayer"]) == (False, "platform")
        assert found["hold"]["reason"] == "throttled"
        assert found["retryAt"][:16] == found["hold"]["until"][:16]

    async def test_a_paused_account_would_not_send(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        await api.post(f"/api/v2/queues/{account}/pause", headers=caller)
        found = (await api.get(limits_of(account), headers=caller)).json()
        assert (found["wouldSend"], found["accountState"], found["retryAt"]) == (False, "paused", None)


class TestChange:
    async def test_it_counts_from_the_next_grant_on_and_is_on_record(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str
    ) -> None:
        url = limits_of(account)
        first = change(tier="new", messageTypes={"custom": [{"limit": 3, "seconds": 60}]}, pacingMs=100)
        put = await api.put(url, json=first, headers=staff)
        assert (put.status_code, put.headers["etag"], put.json()["changedBy"]) == (200, '"1"', "staff")
        found = (await api.get(url, headers=caller)).json()
        assert (found["tier"], found["remaining"]["message_type"], found["remaining"]["account"]) == ("new", 3, 5)
        assert found["remaining"]["pacing"] == 1
        await api.put(url, json=change(messageTypes={"custom": []}), headers=staff)
        found = (await api.get(url, headers=caller)).json()
        assert (found["tier"], "message_type" in found["remaining"]) == ("established", False)
        history = (await api.get(f"{url}/history", headers=caller)).json()["history"]
        assert [entry["revision"] for entry in history] == [2, 1]
        assert history[1]["reason"] == "Because of a test."

    async def test_a_change_of_something_that_changed_is_412(
        self, api: httpx.AsyncClient, staff: Headers, account: str
    ) -> None:
        url = limits_of(account)
        based_on_nothing = staff | {"If-Match": '"0"'}
        assert (await api.put(url, json=change(tier="power"), headers=based_on_nothing)).status_code == 200
        refused = await api.put(url, json=change(tier="agency"), headers=based_on_nothing)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (412, "If-Match")
        assert (await api.put(url, json=change(), headers=staff | {"If-Match": "x"})).status_code == 400

    async def test_changes_at_the_same_time_all_count(
        self, api: httpx.AsyncClient, staff: Headers, account: str
    ) -> None:
        url = limits_of(account)
        answers = await asyncio.gather(*(api.put(url, json=change(pacingMs=n), headers=staff) for n in (1, 2, 3)))
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(answer.json()["revision"] for answer in answers) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"account": [{"limit": 11, "seconds": 60}]}, "account"),
            ({"account": [{"limit": -1, "seconds": 60}]}, "account[0].limit"),
            ({"messageTypes": {"letter": []}}, "messageTypes"),
            ({"reason": ""}, "reason"),
            ({"pacing": 1}, "pacing"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, api: httpx.AsyncClient, staff: Headers, account: str, wrong: dict[str, Any], field: str
    ) -> None:
        refused = await api.put(limits_of(account), json=change() | wrong, headers=staff)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"].startswith(field)

    async def test_it_is_for_staff(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        assert (await api.put(limits_of(account), json=change(), headers=caller)).status_code == 403
        assert (await api.get(limits_of(account), headers=bearer("stranger"))).status_code == 403
