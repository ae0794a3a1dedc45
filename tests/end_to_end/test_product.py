"""The main job through the API, with real processes that are killed on the way."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import httpx
import pytest

from adapters.bootstrap import open_ports
from adapters.settings import Settings
from local.process import child_environment
from tests.end_to_end.conftest import Product


async def test_a_killed_worker_loses_nothing_and_sends_nothing_twice(product: Product) -> None:
    await product.onlyfans.reset()
    await product.onlyfans.fault("latency", latency_ms=150)
    campaign = await product.start(9, 9)
    for sent in (3, 10):
        await product.accepted(sent)
        await product.stack.kill("worker")
        await product.stack.restart("worker")
    status = await campaign.until(lambda seen: seen["campaign"]["status"] == "completed")
    assert status["result"]["outcomes"] == {"sent": 18}
    totals = (await product.onlyfans.get("report"))["totals"]
    assert (totals["accepted"], totals["duplicate_count"]) == (18, 0)


async def test_a_single_message_whose_api_is_killed_before_the_queue_has_it_arrives_if_it_has_a_key(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key nobody can ask for it again, only for another one: then it ends, or the fan would get two."""
    await product.onlyfans.reset()
    for name, value in child_environment(product.stack.env).items():
        monkeypatch.setenv(name, value)
    headers = product.token("acct_orphan")
    keyed = {"accountId": "acct_orphan", "recipientId": "3001", "text": "Thank you for the lovely tip, Maya!"}
    unkeyed = keyed | {"recipientId": "3002"}
    # Without Temporal the API stores the messages and goes on offering them: that is when it is killed.
    await product.stack.kill("temporal")
    posts = [
        asyncio.ensure_future(product.http.post("/api/v2/onlyfans/messages", json=body, headers=headers | key))
        for body, key in ((keyed, {"Idempotency-Key": "orphan"}), (unkeyed, {}))
    ]

    async with open_ports(Settings()) as ports:

        async def waiting() -> int:
            return len(await ports.handovers.overdue(datetime.now(UTC) + timedelta(seconds=1)))

        while await waiting() < len(posts):
            assert not any(post.done() for post in posts)
            await anyio.sleep(0.02)
        await product.stack.kill("api")
        for post in posts:
            with suppress(httpx.TransportError):
                await post
        await product.stack.restart("temporal")
        # The API stays away: a worker finds the messages.
        await product.accepted(1)
        while await waiting():
            await anyio.sleep(0.1)
    await product.stack.restart("api")
    [arrived] = (await product.onlyfans.get("messages", account="acct_orphan"))["messages"]
    assert arrived["text"] == keyed["text"]
    listed = await product.http.get("/api/v2/campaigns/status?type=direct_message", headers=headers)
    ended = [
        (await product.http.get(f"/api/v2/onlyfans/messages/{each['campaignId']}", headers=headers)).json()
        for each in listed.json()["campaigns"]
    ]
    assert sorted((message["status"], message["reason"]) for message in ended) == [
        ("cancelled", "never_queued"),
        ("sent", ""),
    ]


async def test_the_real_command_line_pauses_and_resumes_a_campaign(product: Product) -> None:
    await product.onlyfans.reset()
    await product.onlyfans.fault("latency", latency_ms=200)
    campaign = await product.start(8)
    product.temporal("workflow", "signal", "--workflow-id", campaign.workflow_id, "--name", "pause")
    paused = await campaign.until(lambda seen: seen["campaign"]["status"] == "paused")
    accepted = (await product.onlyfans.get("report"))["totals"]["accepted"]
    assert accepted < 8
    product.temporal("workflow", "signal", "--workflow-id", campaign.workflow_id, "--name", "resume")
    await campaign.until(lambda seen: seen["campaign"]["status"] in {"running", "completed"})
    status = await campaign.until(lambda seen: seen["campaign"]["status"] == "completed")
    assert paused["live"] is True
    assert status["result"]["outcomes"] == {"sent": 8}


async def test_the_status_is_known_while_the_worker_is_away(product: Product) -> None:
    campaign = await product.start(5)
    await campaign.until(lambda seen: seen["campaign"]["status"] == "completed")
    other = await product.start(13)
    await other.until(lambda seen: seen["progress"]["sent"] == 10)
    await product.stack.kill("worker")
    status = await other.status()
    assert status["live"] is False
    assert status["progress"]["sent"] == 10
    assert (await campaign.status())["result"]["outcomes"] == {"sent": 5}
    await product.stack.restart("worker")
    await other.until(lambda seen: seen["live"])


async def test_neither_histories_nor_logs_contain_names_or_texts(product: Product) -> None:
    campaign = await product.start(4)
    await campaign.until(lambda seen: seen["campaign"]["status"] == "completed")
    listing = await product.http.get(f"/api/v2/campaigns/{campaign.workflow_id}/messages", headers=campaign.headers)
    texts = [message["text"] for message in listing.json()["messages"]]
    assert len(texts) == 4
    history = product.temporal("workflow", "show", "--workflow-id", campaign.workflow_id, "--output", "json")
    events = json.dumps(json.loads(history))
    logs = "".join(path.read_text() for path in (product.stack.options.directory / "logs").glob("*.log"))
    for secret in ("Noor0", "A warm hello for spring", *texts):
        assert secret not in events
        assert secret not in logs
    assert product.stack.env["HUNTAZE_JWT_SECRET"] not in logs
