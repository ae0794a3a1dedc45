"""Budgets over HTTP: everybody sees their own, staff see any, administrators set them."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.budget import budgets
from tests.api.identity import bearer
from tests.domain.builders import a_cost

BUDGETS = "/api/v2/budgets"
USERS = "/api/v2/user-budgets"
HYBRID = "/api/v2/campaigns/hybrid"
ADMIN = bearer("root", "admin")

Headers = dict[str, str]


def change(**caps: Any) -> dict[str, Any]:
    return {"reason": "Because of a test.", **caps}


class TestStandings:
    async def test_what_is_spent_set_aside_and_left(
        self, api: httpx.AsyncClient, ports: Ports, owner: str, caller: Headers
    ) -> None:
        put = await api.put(f"{BUDGETS}/{owner}", json=change(userDay="0.001"), headers=ADMIN)
        assert put.status_code == 200
        now = datetime.now(UTC)
        await ports.costs.record(a_cost(campaign_id=str(uuid4()), owner=owner, cost_micros=300, at=now))
        charged = budgets(
            await ports.budget_store.caps(owner), owner=owner, campaign_id=str(uuid4()), max_cost_micros=None, now=now
        )
        operation = uuid4()
        await ports.budgets.reserve(operation, charged, 200)
        found = (await api.get(BUDGETS, headers=caller)).json()
        await ports.budgets.refund(operation, charged)
        assert (found["user"], found["exhausted"]) == (owner, [])
        assert [each["scope"] for each in found["budgets"]] == ["user_day", "user_month"]
        day = found["budgets"][0]
        assert (day["capMicros"], day["committedMicros"], day["reservedMicros"], day["remainingMicros"]) == (
            1_000,
            300,
            200,
            500,
        )
        assert (day["cap"], day["committed"], day["reserved"], day["remaining"]) == (0.001, 0.0003, 0.0002, 0.0005)
        assert found["budgets"][1]["capMicros"] is None

    async def test_nothing_left_is_said(self, api: httpx.AsyncClient, owner: str, caller: Headers) -> None:
        await api.put(f"{BUDGETS}/{owner}", json=change(userMonth=0), headers=ADMIN)
        assert (await api.get(BUDGETS, headers=caller)).json()["exhausted"] == ["user_month"]

    async def test_staff_see_anybodys_and_everybodys(
        self, api: httpx.AsyncClient, owner: str, caller: Headers, staff: Headers
    ) -> None:
        found = (await api.get(BUDGETS, params={"user": owner}, headers=staff)).json()
        assert [each["scope"] for each in found["budgets"]] == ["user_day", "user_month", "global_day", "global_month"]
        refused = await api.get(BUDGETS, params={"user": "somebody"}, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "user")

    async def test_a_campaign_is_the_owners_to_see(self, api: httpx.AsyncClient, caller: Headers, intent: Any) -> None:
        accepted = await api.post(HYBRID, json=intent(maxCost=0.5), headers=caller)
        campaign = accepted.json()["campaignId"]
        found = (await api.get(BUDGETS, params={"campaignId": campaign}, headers=caller)).json()
        request = found["budgets"][0]
        assert (request["scope"], request["subject"], request["capMicros"]) == ("request", campaign, 500_000)
        stranger = await api.get(BUDGETS, params={"campaignId": campaign}, headers=bearer("stranger"))
        assert stranger.status_code == 404


class TestSettings:
    async def test_a_change_is_in_force_and_on_record(
        self, api: httpx.AsyncClient, owner: str, caller: Headers
    ) -> None:
        url = f"{BUDGETS}/{owner}"
        first = await api.put(url, json=change(userDay="2.50", userMonth=None), headers=ADMIN)
        assert (first.status_code, first.headers["etag"]) == (200, '"1"')
        found = await api.get(url, headers=caller)
        assert found.headers["etag"] == '"1"'
        settings = found.json()
        assert float(settings["inForce"]["userDay"]) == 2.5
        assert (settings["setFields"], settings["changedBy"]) == (["userDay", "userMonth"], "root")
        second = await api.put(url, json=change(), headers=ADMIN)
        assert (second.json()["inForce"]["userDay"], second.json()["setFields"]) == (None, [])
        history = (await api.get(f"{url}/history", headers=caller)).json()["history"]
        assert [entry["revision"] for entry in history] == [2, 1]
        assert history[1]["reason"] == "Because of a test."

    @pytest.mark.parametrize("name", ["global", "team/luna", "a b?c=d&e", "../campaigns"])
    async def test_every_user_has_budgets_whatever_the_id(
        self, api: httpx.AsyncClient, ports: Ports, name: str
    ) -> None:
        user, amount = name if name == "global" else f"{name}-{uuid4()}", uuid4().int % 1_000_000
        changed = await api.put(USERS, params={"user": user}, json=change(userDay=amount), headers=ADMIN)
        assert (changed.status_code, changed.json()["subject"], changed.json()["setFields"]) == (200, user, ["userDay"])
        found = await api.get(USERS, params={"user": user}, headers=bearer(user))
        assert (found.json()["revision"], found.headers["etag"]) == (
            changed.json()["revision"],
            changed.headers["etag"],
        )
        history = await api.get(f"{USERS}/history", params={"user": user, "limit": 1}, headers=bearer(user))
        assert history.json()["history"][0]["setFields"] == ["userDay"]
        assert (await ports.budget_store.caps(user)).user_day == amount
        assert (await ports.budget_store.settings(None)).caps.user_day != amount
        for path in (USERS, f"{USERS}/history"):
            assert (await api.get(path, params={"user": user}, headers=bearer("stranger"))).status_code == 403

    async def test_a_change_of_something_that_changed_is_412(self, api: httpx.AsyncClient, owner: str) -> None:
        url, based_on_nothing = f"{BUDGETS}/{owner}", ADMIN | {"If-Match": '"0"'}
        assert (await api.put(url, json=change(campaign=1), headers=based_on_nothing)).status_code == 200
        refused = await api.put(url, json=change(campaign=2), headers=based_on_nothing)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (412, "If-Match")
        assert (await api.put(url, json=change(), headers=ADMIN | {"If-Match": "x"})).status_code == 400

    async def test_changes_at_the_same_time_all_count(self, api: httpx.AsyncClient, owner: str) -> None:
        url = f"{BUDGETS}/{owner}"
        answers = await asyncio.gather(*(api.put(url, json=change(userDay=n), headers=ADMIN) for n in (1, 2, 3)))
        assert sorted(answer.json()["revision"] for answer in answers) == [1, 2, 3]

    async def test_administrators_set_and_staff_look(
        self, api: httpx.AsyncClient, owner: str, caller: Headers, staff: Headers
    ) -> None:
        for headers in (caller, staff):
            assert (await api.put(f"{BUDGETS}/{owner}", json=change(), headers=headers)).status_code == 403
        assert (await api.get(f"{BUDGETS}/global", headers=staff)).status_code == 200
        for path in ("global", "somebody", "somebody/history"):
            assert (await api.get(f"{BUDGETS}/{path}", headers=caller)).status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (change(userDay=-1), "userDay"),
        (change(userDay="much"), "userDay"),
        (change(user_days=1), "user_days"),
        (change(globalDay=1), "globalDay"),
        ({"userDay": 1}, "reason"),
    ],
)
async def test_what_is_wrong_is_named(offline: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    refused = await offline.put(f"{BUDGETS}/luna", json=body, headers=ADMIN)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"].startswith(field)


async def test_without_redis_standings_are_503(offline: httpx.AsyncClient) -> None:
    assert (await offline.get(BUDGETS, headers=bearer())).status_code == 503
