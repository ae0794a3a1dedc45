"""Costs over periods: whose, and from when to when."""

from datetime import date

import httpx
import pytest

from api.routes.cost import CostQuery
from tests.api.identity import bearer

COSTS = "/api/v2/campaigns/costs"


class TestPeriod:
    @pytest.mark.parametrize(
        ("first", "last", "expected"),
        [
            (None, None, ("2026-11-01", "2026-11-22")),
            ("2026-10-05", None, ("2026-10-05", "2026-11-22")),
            (None, "2026-10-05", ("2026-10-01", "2026-10-05")),
            ("2026-01-01", "2026-01-01", ("2026-01-01", "2026-01-01")),
        ],
    )
    def test_defaults_to_the_month_so_far(self, first: str | None, last: str | None, expected: tuple[str, str]) -> None:
        query = CostQuery.model_validate({"from": first, "to": last})
        assert query.period(date(2026, 11, 22)) == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("from=yesterday", "from"),
        ("until=2026-01-01", "until"),
        ("campaignId=x&scope=global", "scope"),
        ("campaignId=x&from=2026-01-01", "from"),
        ("campaignId=x&owner=luna", "owner"),
        ("scope=global&owner=luna", "owner"),
    ],
)
async def test_an_impossible_question_is_422(offline: httpx.AsyncClient, query: str, field: str) -> None:
    refused = await offline.get(f"{COSTS}?{query}", headers=bearer())
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


async def test_everybodys_costs_are_for_staff(api: httpx.AsyncClient) -> None:
    for query in ("scope=global", "owner=somebody"):
        assert (await api.get(f"{COSTS}?{query}", headers=bearer("creator-1"))).status_code == 403
        answer = await api.get(f"{COSTS}?{query}", headers=bearer("staff", "admin"))
        assert answer.status_code == 200
    assert answer.json()["owner"] == "somebody"


async def test_a_period_without_costs_is_an_empty_sum(api: httpx.AsyncClient) -> None:
    costs = (await api.get(f"{COSTS}?from=2020-01-01&to=2020-01-31", headers=bearer("nobody"))).json()
    assert (costs["from"], costs["to"], costs["days"]) == ("2020-01-01", "2020-01-31", [])
    assert costs["total"]["totalCost"] == 0
