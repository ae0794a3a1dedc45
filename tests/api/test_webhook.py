"""Webhooks with bodies as the gateway's docs show them: only signed ones count, each once, whatever the order."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.alert import AlertKind
from domain.delivery import AccountState
from local.onlyfans.webhooks import account_payload
from tests.api.identity import WEBHOOK_SECRET
from tests.local import Simulator

WEBHOOK = "/api/v2/webhooks/onlyfans"
DAY = 24 * 60
"""Minutes."""

S = AccountState
Headers = dict[str, str]


def signed(content: bytes, secret: str = WEBHOOK_SECRET) -> Headers:
    signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Signature": signature}


async def deliver(api: httpx.AsyncClient, event: str, account: str, **payload: Any) -> httpx.Response:
    content = json.dumps({"event": event, "account_id": account, "payload": payload}).encode()
    return await api.post(WEBHOOK, content=content, headers=signed(content))


def sign_in(minutes_ago: float, *, completed: bool = False) -> dict[str, Any]:
    """The payload of an event about an account whose latest sign-in began, or was ``completed``, that long ago."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return account_payload(moment - timedelta(minutes=1), moment) if completed else account_payload(moment)


async def state(ports: Ports, account: str) -> AccountState:
    return (await ports.accounts.control(account)).state


async def alerts(ports: Ports, account: str) -> list[AlertKind]:
    found = await ports.alerts.since(datetime.now(UTC) - timedelta(hours=1), account_id=account)
    return [alert.kind for alert in found]


class TestSessions:
    async def test_an_expired_one_stops_the_account_until_it_is_reconnected(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        answer = await deliver(api, "accounts.session_expired", account, **sign_in(2))
        assert (answer.status_code, answer.json()) == (200, {"duplicate": False})
        assert await state(ports, account) is S.SESSION_EXPIRED
        await deliver(api, "accounts.reconnected", account, **sign_in(1))
        assert await state(ports, account) is S.ACTIVE
        assert await alerts(ports, account) == [AlertKind.SESSION_RECONNECTED, AlertKind.SESSION_EXPIRED]

    async def test_a_repetition_does_nothing(self, api: httpx.AsyncClient, account: str, ports: Ports) -> None:
        payload = sign_in(1)
        await deliver(api, "accounts.session_expired", account, **payload)
        control = await ports.accounts.control(account)
        again = await deliver(api, "accounts.session_expired", account, **payload)
        assert (again.status_code, again.json()) == (200, {"duplicate": True})
        assert await ports.accounts.control(account) == control
        assert await alerts(ports, account) == [AlertKind.SESSION_EXPIRED]

    async def test_what_comes_late_changes_nothing(self, api: httpx.AsyncClient, account: str, ports: Ports) -> None:
        await deliver(api, "accounts.reconnected", account, **sign_in(1, completed=True))
        assert (await deliver(api, "accounts.session_expired", account, **sign_in(5))).status_code == 200
        assert await state(ports, account) is S.ACTIVE
        assert await alerts(ports, account) == [AlertKind.SESSION_RECONNECTED]

    async def test_an_old_body_that_is_sent_again_changes_nothing(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        expired = sign_in(2)
        await deliver(api, "accounts.session_expired", account, **expired)
        await deliver(api, "accounts.reconnected", account, **sign_in(1))
        replayed = await deliver(api, "accounts.session_expired", account, **expired)
        assert replayed.json() == {"duplicate": True}
        assert await state(ports, account) is S.ACTIVE

    async def test_a_pause_of_an_operator_holds(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await api.post(f"/api/v2/queues/{account}/pause", json={"reason": "Holiday."}, headers=caller)
        await deliver(api, "accounts.session_expired", account, **sign_in(2))
        await deliver(api, "accounts.reconnected", account, **sign_in(1))
        assert await state(ports, account) is S.PAUSED
        await api.post(f"/api/v2/queues/{account}/resume", headers=caller)
        assert await state(ports, account) is S.ACTIVE

    async def test_a_resumption_knows_better_than_what_comes_late(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await deliver(api, "accounts.session_expired", account, **sign_in(9))
        await api.post(f"/api/v2/queues/{account}/resume", headers=caller)
        await deliver(api, "accounts.session_expired", account, **sign_in(8))
        assert await state(ports, account) is S.ACTIVE

    async def test_through_the_gateways_own_signature(
        self, api: httpx.AsyncClient, account: str, ports: Ports, onlyfans: Simulator
    ) -> None:
        target = {"url": str(api.base_url.join(WEBHOOK)), "secret": WEBHOOK_SECRET}
        await onlyfans.post("webhooks", target)
        story: list[dict[str, Any]] = [
            {"event": "accounts.session_expired", "account_id": account, "payload": sign_in(3)},
            # The simulator's own payload: a sign-in at this moment.
            {"event": "accounts.reconnected", "account_id": account},
        ]
        story += [{"event": "messages.received", "account_id": account, "payload": {"id": n}} for n in range(3)]
        sent = await onlyfans.post("webhooks/emit", {"events": story, "duplicates": 2, "shuffle": True, "seed": 7})
        assert {outcome["status"] for outcome in sent["deliveries"]} == {200}
        assert await state(ports, account) is S.ACTIVE
        counts = await ports.inbox.counts(account, datetime.now(UTC).date().isoformat())
        assert dict(counts) == {"accounts.session_expired": 1, "accounts.reconnected": 1, "messages.received": 3}


class TestConnected:
    """An account is new for 30 days from its connection on, by itself."""

    async def tier(self, api: httpx.AsyncClient, caller: Headers, account: str) -> tuple[str, int]:
        """The tier in force, and what it admits in a minute."""
        found = (await api.get(f"/api/v2/rate-limits/{account}", headers=caller)).json()
        return found["tier"], found["remaining"]["account"]

    async def test_a_new_account_has_the_limits_of_one(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        assert await self.tier(api, caller, account) == ("established", 10)
        payload = sign_in(3 * DAY, completed=True)
        answer = await deliver(api, "accounts.connected", account, **payload)
        assert (answer.status_code, answer.json()) == (200, {"duplicate": False})
        assert await self.tier(api, caller, account) == ("new", 5)
        [limits] = await ports.accounts.limits_history(account, limit=5)
        assert limits.connected_at == datetime.fromisoformat(payload["latestAuthAttempt"]["completed_at"])
        assert (limits.changed_by, limits.reason) == ("webhook", "the account was connected at the gateway")

    async def test_an_account_that_was_connected_long_ago_is_established(
        self, api: httpx.AsyncClient, caller: Headers, account: str
    ) -> None:
        await deliver(api, "accounts.connected", account, **sign_in(31 * DAY))
        assert await self.tier(api, caller, account) == ("established", 10)

    async def test_repeated_or_once_more_it_changes_nothing(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        first = sign_in(3 * DAY)
        await deliver(api, "accounts.connected", account, **first)
        limits = await ports.accounts.limits(account)
        assert (await deliver(api, "accounts.connected", account, **first)).json() == {"duplicate": True}
        assert (await deliver(api, "accounts.connected", account, **sign_in(1))).json() == {"duplicate": False}
        assert await ports.accounts.limits(account) == limits

    async def test_what_staff_has_set_stays(
        self, api: httpx.AsyncClient, caller: Headers, staff: Headers, account: str
    ) -> None:
        body = {"connectedAt": "2024-01-01T00:00:00Z", "pacingMs": 5, "reason": "Known for years."}
        await api.put(f"/api/v2/rate-limits/{account}", json=body, headers=staff)
        await deliver(api, "accounts.connected", account, **sign_in(1))
        found = (await api.get(f"/api/v2/rate-limits/{account}", headers=caller)).json()
        assert (found["tier"], found["revision"]) == ("established", 1)
        assert found["limits"]["connectedAt"] == "2024-01-01T00:00:00Z"


class TestRefused:
    @pytest.mark.parametrize("headers", [{}, {"Signature": "f" * 64}, {"Signature": "ä"}, signed(b"something else")])
    async def test_what_nobody_signed(
        self, api: httpx.AsyncClient, account: str, ports: Ports, headers: Headers
    ) -> None:
        content = json.dumps({"event": "accounts.session_expired", "account_id": account}).encode()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        refused = await api.post(WEBHOOK, content=content, headers=raw)
        assert refused.status_code == 401
        assert "Signature" in refused.headers["www-authenticate"]
        assert await state(ports, account) is S.ACTIVE

    @pytest.mark.parametrize(
        ("content", "status"),
        [(b"{", 400), (b"[]", 422), (b'{"event": "x"}', 422), (b'{"event": "x", "account_id": "luna"}', 422)],
    )
    async def test_what_is_no_event(self, api: httpx.AsyncClient, content: bytes, status: int) -> None:
        assert (await api.post(WEBHOOK, content=content, headers=signed(content))).status_code == status

    async def test_without_a_secret_nothing_is_trusted(self, offline: httpx.AsyncClient) -> None:
        refused = await offline.post(WEBHOOK, content=b"{}", headers=signed(b"{}", ""))
        assert refused.status_code == 503
        assert "HUNTAZE_WEBHOOK_SECRET" in refused.json()["detail"]

    async def test_what_is_so_old_that_its_first_delivery_is_forgotten(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        refused = await deliver(api, "accounts.session_expired", account, **sign_in(90 * DAY + 1))
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "payload")
        assert await state(ports, account) is S.ACTIVE
        taken = await deliver(api, "accounts.session_expired", account, **sign_in(90 * DAY - 1))
        assert taken.status_code == 200
        assert await state(ports, account) is S.SESSION_EXPIRED

    async def test_a_large_body_is_413(self, offline: httpx.AsyncClient) -> None:
        content = b" " * 5_000
        assert (await offline.post(WEBHOOK, content=content, headers=signed(content))).status_code == 413
