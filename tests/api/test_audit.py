"""The audit log over HTTP: staff read who changed what, newest first, page by page."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.account_audit import control_entry, limits_entry
from domain.delivery import AccountState
from tests.api.identity import bearer
from tests.api.test_webhook import deliver, sign_in

AUDIT = "/api/admin/audit"
ADMIN = bearer("root", "admin")

Headers = dict[str, str]


@pytest.fixture
async def subject(api: httpx.AsyncClient) -> str:
    """A flag of this test alone, after three changes."""
    name = f"flag-{uuid4().hex[:12]}"
    for percentage in (1, 2, 3):
        body = {"enabled": True, "rolloutPercentage": percentage, "reason": f"To {percentage} %."}
        assert (await api.put(f"/api/admin/feature-flags/{name}", json=body, headers=ADMIN)).is_success
    return f"flag/{name}"


async def entries(api: httpx.AsyncClient, headers: Headers, **query: Any) -> dict[str, Any]:
    answer = await api.get(AUDIT, params=query, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


class TestEntries:
    async def test_of_one_subject_newest_first(self, api: httpx.AsyncClient, staff: Headers, subject: str) -> None:
        found = (await entries(api, staff, subject=subject))["entries"]
        assert [(entry["subject"], entry["actor"], entry["action"], entry["reason"]) for entry in found] == [
            (subject, "root", "changed", "To 3 %."),
            (subject, "root", "changed", "To 2 %."),
            (subject, "root", "created", "To 1 %."),
        ]
        assert (found[0]["before"]["rolloutPercentage"], found[0]["after"]["rolloutPercentage"]) == (2, 3)
        assert found[2]["before"] is None

    async def test_page_by_page(self, api: httpx.AsyncClient, staff: Headers, subject: str) -> None:
        first = await entries(api, staff, subject=subject, limit=2)
        second = await entries(api, staff, subject=subject, limit=2, cursor=first["cursor"])
        reasons = [entry["reason"] for page in (first, second) for entry in page["entries"]]
        assert (reasons, second["cursor"]) == (["To 3 %.", "To 2 %.", "To 1 %."], None)

    async def test_of_everything(self, api: httpx.AsyncClient, staff: Headers, subject: str) -> None:
        found = (await entries(api, staff, limit=200))["entries"]
        assert [entry["reason"] for entry in found if entry["subject"] == subject] == ["To 3 %.", "To 2 %.", "To 1 %."]
        moments = [entry["at"] for entry in found]
        assert moments == sorted(moments, reverse=True)

    async def test_of_something_that_nobody_changed(self, api: httpx.AsyncClient, staff: Headers) -> None:
        assert await entries(api, staff, subject="flag/nothing") == {"entries": [], "cursor": None}


class TestAccounts:
    """Whatever a person or the gateway changes of an account is on one list."""

    async def test_its_queue(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, staff: Headers, account: str
    ) -> None:
        for headers, verb in ((caller, "drain"), (staff, "pause"), (staff, "resume")):
            body = {"reason": f"To {verb}."}
            assert (await api.post(f"/api/v2/queues/{account}/{verb}", json=body, headers=headers)).is_success
        found = (await entries(api, staff, subject=f"account/{account}"))["entries"]
        assert [(entry["actor"], entry["action"], entry["reason"]) for entry in found] == [
            ("staff", "resumed", "To resume."),
            ("staff", "paused", "To pause."),
            (owner, "drained", "To drain."),
        ]
        assert [(entry["before"]["state"], entry["after"]["state"]) for entry in found] == [
            ("paused", "active"),
            ("draining", "paused"),
            ("active", "draining"),
        ]
        assert (found[0]["before"]["revision"], found[0]["after"]["revision"]) == (2, 3)
        everything = (await entries(api, staff, limit=200))["entries"]
        assert [entry for entry in everything if entry["subject"] == f"account/{account}"] == found

    async def test_its_limits(self, api: httpx.AsyncClient, staff: Headers, account: str) -> None:
        for changes in ({"tier": "power", "pacingMs": 5}, {"tier": "agency", "pacingMs": 5}):
            body = {**changes, "reason": f"To {changes['tier']}."}
            assert (await api.put(f"/api/v2/rate-limits/{account}", json=body, headers=staff)).is_success
        second, first = (await entries(api, staff, subject=f"account/{account}"))["entries"]
        assert (second["actor"], second["action"], second["reason"]) == ("staff", "limits_changed", "To agency.")
        assert second["before"] == {"tier": "power", "revision": 1}
        assert second["after"] == {"tier": "agency", "revision": 2}
        assert first["before"] == {"tier": None, "pacingMs": None, "revision": 0}
        assert first["after"] == {"tier": "power", "pacingMs": 5, "revision": 1}

    async def test_what_the_gateway_says(self, api: httpx.AsyncClient, staff: Headers, account: str) -> None:
        story = [
            ("accounts.connected", sign_in(9)),
            ("accounts.session_expired", sign_in(8)),
            ("accounts.reconnected", sign_in(7)),
            # Both change nothing that is in force.
            ("accounts.reconnected", sign_in(6)),
            ("messages.received", {"id": 1}),
        ]
        for event, payload in story:
            for _ in range(2):
                assert (await deliver(api, event, account, **payload)).is_success
        found = (await entries(api, staff, subject=f"account/{account}"))["entries"]
        assert [(entry["actor"], entry["action"]) for entry in found] == [
            ("webhook", "resumed"),
            ("webhook", "stopped"),
            ("webhook", "limits_changed"),
        ]
        assert found[1]["reason"] == "session_expired"
        assert found[2]["before"]["connectedAt"] is None
        assert found[2]["after"]["connectedAt"] == story[0][1]["latestAuthAttempt"]["started_at"]

    async def test_changes_at_the_same_time_have_an_entry_each(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str
    ) -> None:
        await asyncio.gather(*(api.post(f"/api/v2/queues/{account}/pause", headers=caller) for _ in range(3)))
        found = (await entries(api, staff, subject=f"account/{account}"))["entries"]
        assert sorted(entry["after"]["revision"] for entry in found) == [1, 2, 3]

    async def test_a_change_that_lost_the_race_has_none(
        self, api: httpx.AsyncClient, staff: Headers, account: str, ports: Ports
    ) -> None:
        control, limits = await ports.accounts.control(account), await ports.accounts.limits(account)
        by = {"changed_at": datetime.now(UTC), "revision": 2}
        late_control = control.model_copy(update={**by, "changed_by": "late", "state": AccountState.PAUSED})
        late_limits = limits.model_copy(update={**by, "changed_by": "late"})
        assert not await ports.accounts.put_control(late_control, control_entry(control, late_control))
        assert not await ports.accounts.put_limits(late_limits, limits_entry(limits, late_limits))
        assert (await entries(api, staff, subject=f"account/{account}"))["entries"] == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "field"),
        [({"subject": "nothing"}, "subject"), ({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"), ({"to": 1}, "to")],
    )
    async def test_what_is_wrong_is_named(
        self, api: httpx.AsyncClient, staff: Headers, query: dict[str, Any], field: str
    ) -> None:
        refused = await api.get(AUDIT, params=query, headers=staff)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)

    async def test_it_is_for_staff(self, api: httpx.AsyncClient, caller: Headers) -> None:
        assert (await api.get(AUDIT, headers=caller)).status_code == 403
        assert (await api.get(AUDIT)).status_code == 401
