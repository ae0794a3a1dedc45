"""The audit log over HTTP: staff read who changed what, newest first, page by page."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.identity import bearer

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
