"""Webhook events: each one consumed once, and counted once."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from adapters.dynamodb import Dynamo, plain
from adapters.webhook import DynamoInbox
from tests.domain.builders import NOW, an_account

TODAY = "2026-11-22"


@pytest.fixture
def account() -> str:
    return an_account()


@pytest.fixture
def inbox(dynamo: Dynamo) -> DynamoInbox:
    return DynamoInbox(dynamo)


def a_digest() -> str:
    return uuid4().hex * 2


class TestTake:
    async def test_of_many_deliveries_of_one_event_one_is_the_first(self, inbox: DynamoInbox, account: str) -> None:
        digest = a_digest()
        answers = await asyncio.gather(*(inbox.take(digest, "messages.received", account, NOW) for _ in range(6)))
        assert sorted(answers) == [False] * 5 + [True]
        assert await inbox.counts(account, TODAY) == {"messages.received": 1}

    async def test_events_are_counted_by_kind_day_and_account(self, inbox: DynamoInbox, account: str) -> None:
        for event in ("messages.received", "messages.received", "subscriptions.new"):
            assert await inbox.take(a_digest(), event, account, NOW)
        await inbox.take(a_digest(), "messages.received", account, NOW + timedelta(days=1))
        await inbox.take(a_digest(), "messages.received", an_account(), NOW)
        assert await inbox.counts(account, TODAY) == {"messages.received": 2, "subscriptions.new": 1}
        assert await inbox.counts(account, "2026-11-23") == {"messages.received": 1}

    async def test_many_at_once_are_all_counted(self, inbox: DynamoInbox, account: str) -> None:
        assert all(
            await asyncio.gather(*(inbox.take(a_digest(), "messages.received", account, NOW) for _ in range(12)))
        )
        assert await inbox.counts(account, TODAY) == {"messages.received": 12}

    async def test_it_is_remembered_for_90_days(self, inbox: DynamoInbox, dynamo: Dynamo, account: str) -> None:
        digest = a_digest()
        await inbox.take(digest, "messages.received", account, NOW)
        item = await dynamo.get("inbox", {"scope": {"S": f"event#{digest}"}, "entry": {"S": "taken"}})
        assert item is not None
        assert plain(item)["expiresAt"] == int((NOW + timedelta(days=90)).timestamp())


class TestSeen:
    async def test_an_event_is_seen_from_the_moment_it_was_taken(self, inbox: DynamoInbox, account: str) -> None:
        digest, other = a_digest(), a_digest()
        assert not await inbox.seen(digest)
        await inbox.take(digest, "messages.received", account, NOW)
        assert (await inbox.seen(digest), await inbox.seen(other)) == (True, False)
