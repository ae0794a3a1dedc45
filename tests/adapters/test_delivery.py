"""Messages in DynamoDB: written once, moved only as the state machine allows."""

import base64
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from adapters.campaign import DynamoCampaigns
from adapters.delivery import DynamoMessages
from domain.campaign import CampaignStatus
from domain.compliance import check
from domain.delivery import (
    TERMINAL,
    TRANSITIONS,
    Delivered,
    Message,
    MessageOutline,
    MessageStatus,
    StartOutcome,
    message_id,
)
from domain.errors import InvalidRequest
from tests.domain.builders import NOW, a_campaign, a_message, a_record, messages

S = MessageStatus
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def campaign() -> str:
    return a_campaign()


async def stored(store: DynamoMessages, message: Message) -> Message:
    return (await store.get_many(message.campaign_id, [message.message_id]))[message.message_id]


async def put(store: DynamoMessages, campaign: str, status: S, **changes: Any) -> Message:
    message = a_message(campaign, status=status, **changes)
    await store.create_many([message])
    return message


class TestCreateMany:
    async def test_what_was_stored_comes_back_whole(self, store: DynamoMessages, campaign: str) -> None:
        message = a_message(
            campaign,
            text="Grüße, Maya 🎉",
            status=S.SENT,
            reason="none",
            compliance=check("Last chance!!!"),
            batch=0,
            attempts=2,
            first_attempt_at=NOW,
            platform_message_id="7",
            sent_at=LATER,
            cancel_seconds=119,
        )
        await store.create_many([message])
        assert await stored(store, message) == message

    async def test_a_message_without_text_or_origin(self, store: DynamoMessages, campaign: str) -> None:
        message = a_message(campaign, text="", origin=None, compliance=None, status=S.SKIPPED)
        await store.create_many([message])
        assert await stored(store, message) == message

    async def test_a_repetition_changes_nothing(self, store: DynamoMessages, campaign: str) -> None:
        made = messages(campaign, 3)
        await store.create_many(made)
        await store.create_many([message.model_copy(update={"text": "other"}) for message in made])
        assert [await stored(store, message) for message in made] == made

    async def test_those_that_exist_stay_and_the_missing_ones_are_written(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        made = messages(campaign, 6)
        await store.create_many(made[1:4])
        await store.transition(campaign, [made[2].message_id], S.APPROVED)
        await store.create_many(made)
        assert await store.count_by_status(campaign) == {S.DRAFTED: 5, S.APPROVED: 1}

    async def test_more_than_one_transaction_takes(self, empty_store: DynamoMessages, campaign: str) -> None:
        made = messages(campaign, 250)
        await empty_store.create_many(made[180:])
        await empty_store.create_many(made)
        found = await empty_store.get_many(campaign, [message.message_id for message in made])
        assert found == {message.message_id: message for message in made}

    async def test_nothing_is_no_call(self, store: DynamoMessages, campaign: str) -> None:
        await store.create_many([])
        assert await store.count_by_status(campaign) == {}


class TestGetMany:
    async def test_only_what_exists(self, store: DynamoMessages, campaign: str) -> None:
        (message,) = messages(campaign, 1)
        await store.create_many([message])
        unknown = message_id(campaign, "acct_luna", "nobody")
        assert await store.get_many(campaign, [unknown, message.message_id]) == {message.message_id: message}

    async def test_a_message_of_another_campaign_is_not_there(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.DRAFTED)
        assert await store.get_many(a_campaign(), [message.message_id]) == {}


class TestTransition:
    @pytest.mark.parametrize("source", S)
    async def test_exactly_the_steps_of_the_table_are_made(
        self, store: DynamoMessages, campaign: str, source: S
    ) -> None:
        for target in set(S) - {S.DRAFTED}:
            message = await put(store, campaign, source, recipient=f"to-{target}")
            arrived = await store.transition(campaign, [message.message_id], target, reason="because")
            found = await stored(store, message)
            if target in TRANSITIONS[source]:
                assert (arrived, found.status, found.reason) == (1, target, "because")
            else:
                assert (arrived, found) == (int(source is target), message)

    async def test_what_can_not_make_the_step_does_not_hold_back_the_rest(
        self, empty_store: DynamoMessages, campaign: str
    ) -> None:
        made = messages(campaign, 110)
        await empty_store.create_many(made)
        ids = [message.message_id for message in made]
        await empty_store.transition(campaign, ids[:10], S.APPROVED)
        await empty_store.transition(campaign, ids[50:55], S.CANCELLED)
        unknown = message_id(campaign, "acct_luna", "nobody")
        assert await empty_store.transition(campaign, [unknown, *ids], S.APPROVED) == 105
        assert await empty_store.count_by_status(campaign) == {S.APPROVED: 105, S.CANCELLED: 5}

    async def test_who_approved_and_in_which_batch_is_kept_beside_the_origin(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        message = await put(store, campaign, S.DRAFTED)
        await store.transition(campaign, [message.message_id], S.APPROVED, approved_by="luna")
        await store.transition(campaign, [message.message_id], S.QUEUED, batch=3)
        found = await stored(store, message)
        assert message.origin is not None
        assert found.origin == message.origin.model_copy(update={"approved_by": "luna"})
        assert found.batch == 3


class TestOutlines:
    async def test_every_message_of_the_account_without_what_it_says(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        mine = await put(store, campaign, S.QUEUED, batch=2, page=1, reason="waits")
        await put(store, campaign, S.QUEUED, account_id="acct_other")
        assert await store.outlines(campaign, "acct_luna") == [
            MessageOutline(message_id=mine.message_id, page=1, status=S.QUEUED, reason="waits", batch=2)
        ]


class TestBeginSend:
    @pytest.fixture
    async def running(self, campaigns: DynamoCampaigns, campaign: str) -> str:
        await campaigns.create(a_record(campaign, status=CampaignStatus.RUNNING), ())
        return campaign

    async def test_in_a_running_campaign_it_starts_and_is_counted(self, store: DynamoMessages, running: str) -> None:
        message = await put(store, running, S.QUEUED)
        assert await store.begin_send(message, NOW) is StartOutcome.STARTED
        assert await store.begin_send(message, LATER) is StartOutcome.STARTED
        found = await stored(store, message)
        assert (found.status, found.attempts, found.first_attempt_at, found.updated_at) == (S.SENDING, 2, NOW, LATER)

    @pytest.mark.parametrize("status", set(CampaignStatus) - {CampaignStatus.RUNNING})
    async def test_in_any_other_campaign_nothing_starts(
        self, store: DynamoMessages, campaigns: DynamoCampaigns, running: str, status: CampaignStatus
    ) -> None:
        message = await put(store, running, S.QUEUED)
        await campaigns.set_status(running, status, "")
        waits = status in {CampaignStatus.PAUSED, CampaignStatus.PLANNING}
        expected = StartOutcome.CAMPAIGN_PAUSED if waits else StartOutcome.CAMPAIGN_CANCELLED
        assert await store.begin_send(message, NOW) is expected
        assert await stored(store, message) == message

    async def test_without_a_campaign_nothing_starts(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.QUEUED)
        assert await store.begin_send(message, NOW) is StartOutcome.CAMPAIGN_CANCELLED

    @pytest.mark.parametrize("status", set(S) - {S.QUEUED, S.SENDING})
    async def test_a_message_in_any_other_state_is_not_sendable(
        self, store: DynamoMessages, running: str, status: S
    ) -> None:
        message = await put(store, running, status)
        assert await store.begin_send(message, NOW) is StartOutcome.NOT_SENDABLE
        assert await stored(store, message) == message

    async def test_a_message_that_is_not_stored_is_not_sendable(self, store: DynamoMessages, running: str) -> None:
        assert await store.begin_send(a_message(running), NOW) is StartOutcome.NOT_SENDABLE
        assert await store.count_by_status(running) == {}


RECEIPT = Delivered(platform_message_id="7001", created_at=LATER, cancel_seconds=119)


class TestRecordSent:
    async def test_the_receipt_is_kept(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENDING, reason="transient")
        await store.record_sent(message, RECEIPT, NOW)
        changed = {
            "status": S.SENT,
            "reason": "",
            "platform_message_id": "7001",
            "sent_at": LATER,
            "cancel_seconds": 119,
        }
        assert await stored(store, message) == message.model_copy(update=changed)

    async def test_without_a_time_from_the_platform_ours_counts(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENDING)
        await store.record_sent(message, Delivered(platform_message_id="7"), LATER)
        found = await stored(store, message)
        assert (found.sent_at, found.cancel_seconds) == (LATER, None)

    async def test_a_second_receipt_changes_nothing(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENDING)
        await store.record_sent(message, RECEIPT, NOW)
        before = await stored(store, message)
        await store.record_sent(message, Delivered(platform_message_id="9999"), LATER)
        assert await stored(store, message) == before

    @pytest.mark.parametrize("status", [S.DRAFTED, S.APPROVED, S.QUEUED])
    async def test_a_message_that_was_not_on_its_way_can_not_have_arrived(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        message = await put(store, campaign, status)
        with pytest.raises(Exception, match="ConditionalCheckFailed"):
            await store.record_sent(message, RECEIPT, NOW)
        assert await stored(store, message) == message


class TestRecordUnsent:
    async def test_it_waits_again_and_remembers_its_attempts(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENDING, attempts=2, first_attempt_at=NOW)
        await store.record_unsent(message, "transient", LATER, attempts=2)
        changed = {"status": S.QUEUED, "reason": "transient", "updated_at": LATER}
        assert await stored(store, message) == message.model_copy(update=changed)

    @pytest.mark.parametrize("status", [S.QUEUED, *sorted(TERMINAL)])
    async def test_a_message_that_waits_or_ended_stays_as_it_is(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        message = await put(store, campaign, status)
        await store.record_unsent(message, "transient", LATER, attempts=message.attempts)
        assert await stored(store, message) == message

    async def test_what_a_later_attempt_is_doing_is_left_alone(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENDING, attempts=3, first_attempt_at=NOW)
        await store.record_unsent(message, "transient", LATER, attempts=2)
        assert await stored(store, message) == message


class TestCountByStatus:
    async def test_by_campaign_and_by_account(self, store: DynamoMessages, campaign: str) -> None:
        await store.create_many(messages(campaign, 3, status=S.SENT))
        await store.create_many(messages(campaign, 2, status=S.QUEUED, account_id="acct_other"))
        await store.create_many(messages(a_campaign(), 5))
        assert await store.count_by_status(campaign) == {S.SENT: 3, S.QUEUED: 2}
        assert await store.count_by_status(campaign, "acct_other") == {S.QUEUED: 2}
        assert await store.count_by_status(campaign, "acct_nobody") == {}


async def walk(store: DynamoMessages, campaign: str, limit: int, status: S | None = None) -> list[Message]:
    """Every page of a list, one after the other."""
    found: list[Message] = []
    cursor: str | None = None
    while True:
        listing = await store.list(campaign, status=status, account_id=None, limit=limit, cursor=cursor)
        found.extend(listing.messages)
        cursor = listing.cursor
        if cursor is None:
            return found
        assert len(listing.messages) == limit


class TestList:
    @pytest.mark.parametrize("limit", [1, 4, 10, 11])
    async def test_walking_through_all_pages_shows_every_message_once(
        self, store: DynamoMessages, campaign: str, limit: int
    ) -> None:
        made = messages(campaign, 10)
        await store.create_many(made)
        found = await walk(store, campaign, limit)
        assert Counter(message.message_id for message in found) == Counter(message.message_id for message in made)

    async def test_by_status_and_account(self, store: DynamoMessages, campaign: str) -> None:
        await store.create_many(messages(campaign, 5, status=S.SENT))
        await store.create_many(messages(campaign, 3, status=S.QUEUED))
        other = messages(campaign, 2, status=S.SENT, account_id="acct_other")
        await store.create_many(other)
        assert {message.status for message in await walk(store, campaign, 2, S.SENT)} == {S.SENT}
        listing = await store.list(campaign, status=S.SENT, account_id="acct_other", limit=5, cursor=None)
        assert {message.message_id for message in listing.messages} == {message.message_id for message in other}

    async def test_a_list_goes_on_beyond_what_the_database_reads_at_once(
        self, empty_store: DynamoMessages, campaign: str
    ) -> None:
        """A query reads 1 MB at a time, before it filters."""
        made = [a_message(campaign, f"fan-{number}", text="x" * 40_000) for number in range(60)]
        for start in range(0, 60, 20):
            await empty_store.create_many(made[start : start + 20])
        ordered = sorted(made, key=lambda message: str(message.message_id))
        wanted = [ordered[0].message_id, ordered[1].message_id, ordered[-1].message_id]
        await empty_store.transition(campaign, wanted, S.APPROVED)
        assert [message.message_id for message in await walk(empty_store, campaign, 1, S.APPROVED)] == wanted

    @pytest.mark.parametrize(
        "cursor",
        [
            "garbage",
            "",
            "é",
            base64.urlsafe_b64encode(json.dumps(["c-1", "2026"]).encode()).decode(),
            base64.urlsafe_b64encode(json.dumps("no uuid").encode()).decode(),
            base64.urlsafe_b64encode(json.dumps(7).encode()).decode(),
        ],
        ids=["word", "empty", "not ascii", "of campaigns", "no id", "number"],
    )
    async def test_a_cursor_of_somewhere_else_is_refused_by_name(
        self, store: DynamoMessages, campaign: str, cursor: str
    ) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await store.list(campaign, status=None, account_id=None, limit=5, cursor=cursor)
        assert refused.value.field == "cursor"
