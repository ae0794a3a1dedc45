"""Webhooks: only signed ones count, each once, in whatever order they come."""

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
from tests.api.identity import WEBHOOK_SECRET
from tests.local import Simulator

WEBHOOK = "/api/v2/webhooks/onlyfans"
S = AccountState
Headers = dict[str, str]


def signed(content: bytes, secret: str = WEBHOOK_SECRET) -> Headers:
    signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Signature": signature}


async def deliver(api: httpx.AsyncClient, event: str, account: str, **payload: Any) -> httpx.Response:
    content = json.dumps({"event": event, "account_id": account, "payload": payload}).encode()
    return await api.post(WEBHOOK, content=content, headers=signed(content))


def at(minutes_ago: int) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat()


async def state(ports: Ports, account: str) -> AccountState:
    return (await ports.accounts.control(account)).state


async def alerts(ports: Ports, account: str) -> list[AlertKind]:
    found = await ports.alerts.since(datetime.now(UTC) - timedelta(hours=1), account_id=account)
    return [alert.kind for alert in found]


class TestSessions:
    async def test_an_expired_one_stops_the_account_until_it_is_reconnected(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        answer = await deliver(api, "accounts.session_expired", account, createdAt=at(2))
        assert (answer.status_code, answer.json()) == (200, {"duplicate": False})
        assert await state(ports, account) is S.SESSION_EXPIRED
        await deliver(api, "accounts.reconnected", account, createdAt=at(1))
        assert await state(ports, account) is S.ACTIVE
        assert await alerts(ports, account) == [AlertKind.SESSION_RECONNECTED, AlertKind.SESSION_EXPIRED]

    async def test_a_repetition_does_nothing(self, api: httpx.AsyncClient, account: str, ports: Ports) -> None:
        payload = {"createdAt": at(1)}
        await deliver(api, "accounts.session_expired", account, **payload)
        control = await ports.accounts.control(account)
        again = await deliver(api, "accounts.session_expired", account, **payload)
        assert (again.status_code, again.json()) == (200, {"duplicate": True})
        assert await ports.accounts.control(account) == control
        assert await alerts(ports, account) == [AlertKind.SESSION_EXPIRED]

    async def test_what_comes_late_changes_nothing(self, api: httpx.AsyncClient, account: str, ports: Ports) -> None:
        await deliver(api, "accounts.reconnected", account, createdAt=at(1))
        assert (await deliver(api, "accounts.session_expired", account, createdAt=at(5))).status_code == 200
        assert await state(ports, account) is S.ACTIVE
        assert await alerts(ports, account) == [AlertKind.SESSION_RECONNECTED]

    async def test_an_old_body_that_is_sent_again_changes_nothing(
        self, api: httpx.AsyncClient, account: str, ports: Ports
    ) -> None:
        await deliver(api, "accounts.session_expired", account)
        await deliver(api, "accounts.reconnected", account)
        replayed = await deliver(api, "accounts.session_expired", account)
        assert replayed.json() == {"duplicate": True}
        assert await state(ports, account) is S.ACTIVE

    async def test_a_pause_of_an_operator_holds(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await api.post(f"/api/v2/queues/{account}/pause", json={"reason": "Holiday."}, headers=caller)
        await deliver(api, "accounts.session_expired", account)
        await deliver(api, "accounts.reconnected", account)
        assert await state(ports, account) is S.PAUSED
        await api.post(f"/api/v2/queues/{account}/resume", headers=caller)
        assert await state(ports, account) is S.ACTIVE

    async def test_a_resumption_knows_better_than_what_comes_late(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        await deliver(api, "accounts.session_expired", account, createdAt=at(9))
        await api.post(f"/api/v2/queues/{account}/resume", headers=caller)
        await deliver(api, "accounts.session_expired", account, createdAt=at(8))
        assert await state(ports, account) is S.ACTIVE

    async def test_through_the_gateways_own_signature(
        self, api: httpx.AsyncClient, account: str, ports: Ports, onlyfans: Simulator
    ) -> None:
        target = {"url": str(api.base_url.join(WEBHOOK)), "secret": WEBHOOK_SECRET}
        await onlyfans.post("webhooks", target)
        story = [
            {"event": event, "account_id": account, "payload": {"createdAt": at(minutes)}}
            for minutes, event in ((3, "accounts.session_expired"), (2, "accounts.reconnected"))
        ] + [{"event": "messages.received", "account_id": account, "payload": {"id": n}} for n in range(3)]
        sent = await onlyfans.post("webhooks/emit", {"events": story, "duplicates": 2, "shuffle": True, "seed": 7})
        assert {outcome["status"] for outcome in sent["deliveries"]} == {200}
        assert await state(ports, account) is S.ACTIVE
        counts = await ports.inbox.counts(account, datetime.now(UTC).date().isoformat())
        assert dict(counts) == {"accounts.session_expired": 1, "accounts.reconnected": 1, "messages.received": 3}


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
        day = 24 * 60
        refused = await deliver(api, "accounts.session_expired", account, createdAt=at(90 * day + 1))
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "payload")
        assert await state(ports, account) is S.ACTIVE
        taken = await deliver(api, "accounts.session_expired", account, createdAt=at(90 * day - 1))
        assert taken.status_code == 200
        assert await state(ports, account) is S.SESSION_EXPIRED

    async def test_a_large_body_is_413(self, offline: httpx.AsyncClient) -> None:
        content = b" " * 5_000
        assert (await offline.post(WEBHOOK, content=content, headers=signed(content))).status_code == 413
