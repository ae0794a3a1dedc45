"""Alerts and statistics: everybody sees their own accounts, staff all of them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.alert import Alert, AlertKind, Severity
from domain.rate_limit import AccountLimits, Cap, MessageType
from tests.api.identity import bearer
from tests.api.test_message import hold
from tests.api.test_webhook import deliver

ALERTS = "/api/v2/alerts"
STATISTICS = "/api/v2/onlyfans/stats"
Headers = dict[str, str]


async def violation(ports: Ports, account: str, *, ago: timedelta = timedelta()) -> str:
    """An alert about a violation of ``account``; returns its id."""
    alert = Alert(
        alert_id=str(uuid4()),
        kind=AlertKind.RATE_LIMIT_VIOLATION,
        severity=Severity.WARNING,
        at=datetime.now(UTC) - ago,
        account_id=account,
        detail="the platform throttled",
    )
    await ports.alerts.raise_alert(alert)
    return alert.alert_id


class TestAlerts:
    async def test_each_sees_those_of_the_own_accounts(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str, ports: Ports
    ) -> None:
        other = f"acct_{uuid4().hex[:16]}"
        mine, theirs = await violation(ports, account), await violation(ports, other)
        found = (await api.get(ALERTS, headers=caller)).json()
        assert ([alert["alertId"] for alert in found["alerts"]], found["more"]) == ([mine], False)
        everything = (await api.get(ALERTS, params={"limit": 1000}, headers=staff)).json()["alerts"]
        assert {mine, theirs} <= {alert["alertId"] for alert in everything}
        one = (await api.get(ALERTS, params={"accountId": other}, headers=staff)).json()["alerts"]
        assert [alert["alertId"] for alert in one] == [theirs]
        assert (await api.get(ALERTS, params={"accountId": other}, headers=caller)).status_code == 403

    async def test_newest_first_from_then_on(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        old = await violation(ports, account, ago=timedelta(days=2))
        new = await violation(ports, account)
        assert [alert["alertId"] for alert in (await api.get(ALERTS, headers=caller)).json()["alerts"]] == [new]
        since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        found = (await api.get(ALERTS, params={"since": since}, headers=caller)).json()["alerts"]
        assert [alert["alertId"] for alert in found] == [new, old]
        first = (await api.get(ALERTS, params={"since": since, "limit": 1}, headers=caller)).json()
        assert (len(first["alerts"]), first["more"]) == (1, True)

    @pytest.mark.parametrize(("query", "field"), [("since=2020-01-01T00:00:00Z", "since"), ("kind=x", "kind")])
    async def test_a_wrong_question_is_named(
        self, api: httpx.AsyncClient, caller: Headers, query: str, field: str
    ) -> None:
        refused = await api.get(f"{ALERTS}?{query}", headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


class TestStatistics:
    async def test_of_the_callers_accounts(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        for ago in (timedelta(), timedelta(minutes=10), timedelta(hours=5)):
            await violation(ports, account, ago=ago)
        await hold(ports, account)
        await deliver(api, "messages.received", account)
        found = (await api.get(STATISTICS, headers=caller)).json()
        assert found["global"] is None
        [one] = found["accounts"]
        assert (one["accountId"], one["state"], one["queueDepth"]) == (account, "active", None)
        assert one["violations"] == {"lastMinute": 1, "lastHour": 2, "lastDay": 3}
        assert (one["webhookEventsToday"], one["webhookEvents"]) == (1, {"messages.received": 1})
        assert one["remaining"]["account"] == 10
        assert one["remainingByType"] == {"welcome": 20, "follow_up": 30, "promotional": 50, "custom": 5}
        assert datetime.fromisoformat(one["throttledUntil"]) > datetime.now(UTC) + timedelta(minutes=9)

    async def test_a_type_without_a_limit_has_no_figure(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        free = {MessageType.CUSTOM: (Cap(limit=None, seconds=60),), MessageType.WELCOME: ()}
        assert await ports.accounts.put_limits(AccountLimits(account_id=account, message_types=free, revision=1))
        [one] = (await api.get(STATISTICS, headers=caller)).json()["accounts"]
        assert one["remainingByType"] == {"follow_up": 30, "promotional": 50}

    async def test_staff_see_who_violates_most(self, api: httpx.AsyncClient, staff: Headers, ports: Ports) -> None:
        # More often than any other test of the session.
        worst = f"acct_{uuid4().hex[:16]}"
        for _ in range(9):
            await violation(ports, worst)
        found = (await api.get(STATISTICS, headers=staff)).json()
        assert found["global"]["topAccounts"][0] == {"accountId": worst, "violations": 9}
        assert found["global"]["violations"]["lastDay"] >= 9
        assert worst in {one["accountId"] for one in found["accounts"]}
        one = (await api.get(STATISTICS, params={"accountId": worst}, headers=staff)).json()["accounts"]
        assert [(each["accountId"], each["violations"]["lastDay"]) for each in one] == [(worst, 9)]

    async def test_of_another_ones_account_are_403(self, api: httpx.AsyncClient, account: str) -> None:
        refused = await api.get(STATISTICS, params={"accountId": account}, headers=bearer("stranger"))
        assert refused.status_code == 403
