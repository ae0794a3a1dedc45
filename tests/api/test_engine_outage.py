"""Temporal is away: requests are kept, callers are told to come back, and coming back repairs."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from adapters.bootstrap import Ports
from adapters.payload import DATA_CONVERTER
from adapters.settings import Settings
from adapters.temporal import connect
from api.app import create_app
from api.engine import Engine, EngineUnavailable
from domain.campaign import campaign_id
from domain.delivery import Message, MessageStatus
from local.stack import Stack
from tests.api.conftest import Intent, served
from tests.api.identity import SECRET
from tests.api.test_message import MESSAGES, body
from tests.api.test_progress import until_done

HYBRID = "/api/v2/campaigns/hybrid"
HEALTH = "/api/health/hybrid-orchestrator"
Headers = dict[str, str]


async def refused() -> Client:
    """Connects to where nobody listens."""
    return await Client.connect("127.0.0.1:9")


async def sent(ports: Ports, message: str) -> Message:
    """A single message as soon as it was sent, by the store alone: looking at it through the API would help it on."""
    async with asyncio.timeout(60):
        while True:
            found = (await ports.messages.get_many(message, [UUID(message)]))[UUID(message)]
            if found.status is MessageStatus.SENT:
                return found
            await asyncio.sleep(0.1)


@pytest.fixture
async def without_temporal(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The store is there, the engine is not."""
    app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
    app.state.engine = Engine(refused)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


async def test_a_request_is_503_and_its_repetition_repairs_it(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, intent: Intent
) -> None:
    headers = caller | {"Idempotency-Key": "repaired"}
    refused = await without_temporal.post(HYBRID, json=intent(), headers=headers)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    [stored] = (await api.get("/api/v2/campaigns/status", headers=caller)).json()["campaigns"]

    repaired = await api.post(HYBRID, json=intent(), headers=headers)
    assert repaired.status_code == 202
    assert repaired.json()["workflowId"] == stored["workflowId"]
    assert (await api.post(f"/api/v2/campaigns/{stored['campaignId']}/pause", headers=caller)).status_code == 202


@pytest.mark.usefixtures("worker", "onlyfans")
async def test_a_message_is_503_and_sent_once_when_its_key_comes_again(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, account: str
) -> None:
    headers = caller | {"Idempotency-Key": "repaired", "Prefer": "wait=30"}
    refused = await without_temporal.post(MESSAGES, json=body(account), headers=headers)
    assert refused.status_code == 503
    repaired = await api.post(MESSAGES, json=body(account), headers=headers)
    assert (repaired.status_code, repaired.json()["attempts"]) == (200, 1)
    assert repaired.headers["idempotency-replayed"] == "true"


async def test_a_message_without_a_key_ends_when_it_can_not_be_queued(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, account: str
) -> None:
    """Its caller can only ask for another one, and must not get two."""
    assert (await without_temporal.post(MESSAGES, json=body(account), headers=caller)).status_code == 503
    url = "/api/v2/campaigns/status?type=direct_message"
    [record] = (await api.get(url, headers=caller)).json()["campaigns"]
    message = (await api.get(f"{MESSAGES}/{record['campaignId']}", headers=caller)).json()
    assert (message["status"], message["reason"]) == ("cancelled", "never_queued")


@pytest.mark.usefixtures("worker", "onlyfans")
async def test_a_message_with_a_key_is_handed_over_as_soon_as_the_engine_is_back(
    stack: Stack, caller: Headers, account: str, owner: str, ports: Ports
) -> None:
    away = True

    async def coming_back() -> Client:
        return await (refused() if away else connect())

    app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
    app.state.engine = Engine(coming_back)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        headers = caller | {"Idempotency-Key": "goes on"}
        assert (await client.post(MESSAGES, json=body(account), headers=headers)).status_code == 503
        away = False
        await sent(ports, campaign_id(owner, "goes on"))


@pytest.mark.usefixtures("worker", "onlyfans")
async def test_a_stored_message_that_no_queue_knows_is_handed_over_when_somebody_looks(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, account: str, owner: str, ports: Ports
) -> None:
    headers = caller | {"Idempotency-Key": "lost"}
    later = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    lost = body(account, notBefore=later.isoformat())
    assert (await without_temporal.post(MESSAGES, json=lost, headers=headers)).status_code == 503
    message = campaign_id(owner, "lost")
    assert (await api.get(f"{MESSAGES}/{message}", headers=caller)).json()["status"] == "queued"
    attempted_at = (await sent(ports, message)).first_attempt_at
    assert attempted_at is not None
    assert attempted_at >= later


async def test_a_message_without_a_key_ends_after_an_error_that_nobody_foresaw(
    stack: Stack, caller: Headers, account: str, api: httpx.AsyncClient
) -> None:
    async def elsewhere() -> Client:
        return await Client.connect(os.environ["TEMPORAL_ADDRESS"], namespace="nowhere", data_converter=DATA_CONVERTER)

    app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
    app.state.engine = Engine(elsewhere)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        assert (await client.post(MESSAGES, json=body(account), headers=caller)).status_code == 500
    [record] = (await api.get("/api/v2/campaigns/status?type=direct_message", headers=caller)).json()["campaigns"]
    message = (await api.get(f"{MESSAGES}/{record['campaignId']}", headers=caller)).json()
    assert (message["status"], message["reason"]) == ("cancelled", "never_queued")


async def test_the_status_comes_from_the_store(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, intent: Intent
) -> None:
    accepted = (await api.post(HYBRID, json=intent(), headers=caller)).json()
    status = await without_temporal.get(accepted["statusUrl"], headers=caller)
    assert status.status_code == 200
    assert status.json()["live"] is False
    assert status.json()["progress"]["audience"] == 3


async def test_a_signal_is_503(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, intent: Intent
) -> None:
    campaign = (await api.post(HYBRID, json=intent(), headers=caller)).json()["campaignId"]
    assert (await without_temporal.post(f"/api/v2/campaigns/{campaign}/cancel", headers=caller)).status_code == 503


async def test_it_lives_but_is_not_ready(without_temporal: httpx.AsyncClient) -> None:
    assert (await without_temporal.get(f"{HEALTH}/live")).status_code == 200
    ready = await without_temporal.get(f"{HEALTH}/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["temporal"])


@pytest.mark.usefixtures("worker")
async def test_a_stream_still_ends_when_the_store_says_so(
    without_temporal: httpx.AsyncClient, api: httpx.AsyncClient, caller: Headers, intent: Intent
) -> None:
    campaign = (await api.post(HYBRID, json=intent(), headers=caller)).json()["campaignId"]
    url = f"/api/v2/campaigns/{campaign}"
    stream = asyncio.create_task(until_done(without_temporal, caller, f"{url}/events"))
    await asyncio.sleep(1)
    assert not stream.done()
    await api.post(f"{url}/cancel", headers=caller)
    [(name, result)] = await stream
    assert (name, result["status"]) == ("done", "cancelled")


async def test_the_engine_connects_again_by_itself(stack: Stack) -> None:
    attempts = iter([refused, connect])

    async def recovering() -> Client:
        return await next(attempts)()

    engine = Engine(recovering)
    with pytest.raises(EngineUnavailable):
        await engine.check()
    await engine.check()
