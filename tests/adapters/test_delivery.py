"""Messages in DynamoDB: written once, moved only as the state machine allows."""

import asyncio
import base64
import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.delivery import DynamoMessages
from adapters.dynamodb import Dynamo, to_cursor
from adapters.slot import DynamoSlots
from domain.alternative import AlternativeAction, DeliveryTerms, DeliveryTimes, taken
from domain.compliance import check
from domain.delivery import (
    TERMINAL,
    TRANSITIONS,
    Attempt,
    Delivered,
    Message,
    MessageOutline,
    MessageStatus,
    Outcome,
    message_id,
)
from domain.errors import Conflict, InvalidRequest
from domain.rate_limit import Slot
from tests.domain.builders import NOW, a_campaign, a_message, an_account, messages

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
            expires_at=LATER,
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


class TestTake:
    def withdrawn(self, message: Message) -> Message:
        terms = DeliveryTerms(times=DeliveryTimes(deadline=NOW), alternative_text="It is still there for you.")
        return taken(message, AlternativeAction.MASS_MESSAGE, terms, owner="user-1", why="deadline", now=LATER)

    @pytest.mark.parametrize("status", S)
    async def test_whoever_is_unsent_gets_the_text_of_all_and_a_new_story(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        message = await put(store, campaign, status, first_attempt_at=NOW, failures=3)
        wanted = self.withdrawn(message)
        await store.take([wanted])
        unsent = status in {S.DRAFTED, S.APPROVED, S.QUEUED}
        assert await stored(store, message) == (wanted.model_copy(update={"status": S.SENDING}) if unsent else message)
        assert wanted.first_attempt_at is None

    async def test_what_was_edited_meanwhile_stays(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.DRAFTED, revision=1)
        await store.take([self.withdrawn(message.model_copy(update={"revision": 0}))])
        assert await stored(store, message) == message


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

    async def test_the_batch_is_kept(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.APPROVED)
        await store.transition(campaign, [message.message_id], S.QUEUED, batch=3)
        assert (await stored(store, message)).batch == 3


class TestOutlines:
    async def test_every_message_of_the_account_without_what_it_says(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        mine = await put(store, campaign, S.QUEUED, batch=2, page=1, reason="waits")
        await put(store, campaign, S.QUEUED, account_id="acct_other")
        assert await store.outlines(campaign, "acct_luna") == [
            MessageOutline(message_id=mine.message_id, page=1, status=S.QUEUED, reason="waits", batch=2)
        ]


def a_slot(message: Message, counts_at: datetime = NOW + timedelta(seconds=15)) -> Slot:
    return Slot(
        lease_id=uuid4().hex,
        account_id=message.account_id,
        message_type=message.message_type,
        recipient_id=message.recipient_id,
        counts_at_us=int(counts_at.timestamp() * 1_000_000),
    )


def an_attempt(message: Message) -> Attempt:
    return Attempt(message=message, slot=a_slot(message))


async def begun(store: DynamoMessages, campaign: str, **changes: Any) -> Attempt:
    """An attempt that the store knows of."""
    attempt = an_attempt(await put(store, campaign, S.QUEUED, **changes))
    assert await store.begin_sends([attempt], NOW) == {attempt.message.message_id}
    return attempt


def outcome(attempt: Attempt, status: S, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {"attempts": attempt.message.attempts + 1, "at": LATER}
    return Outcome(attempt=attempt, status=status, **fields | changes)


class TestBeginSends:
    async def test_it_is_counted_and_its_slot_is_kept(self, store: DynamoMessages, dynamo: Dynamo) -> None:
        account = an_account()
        message = await put(store, a_campaign(), S.QUEUED, account_id=account, reason="transient")
        first = an_attempt(message)
        assert await store.begin_sends([first], NOW) == {message.message_id}
        changed = {"status": S.SENDING, "attempts": 1, "first_attempt_at": NOW, "updated_at": NOW}
        assert await stored(store, message) == message.model_copy(update=changed)
        second = an_attempt(await stored(store, message))
        assert await store.begin_sends([second], LATER) == {message.message_id}
        found = await stored(store, message)
        assert (found.attempts, found.first_attempt_at, found.updated_at) == (2, NOW, LATER)
        slots = await DynamoSlots(dynamo).slots(account, 0)
        assert {slot.lease_id for slot in slots} == {first.slot.lease_id, second.slot.lease_id}

    async def test_of_two_who_read_the_same_state_one_begins(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.QUEUED)
        answers = await asyncio.gather(*(store.begin_sends([an_attempt(message)], NOW) for _ in range(2)))
        assert sorted(map(len, answers)) == [0, 1]
        assert (await stored(store, message)).attempts == 1

    @pytest.mark.parametrize("status", sorted(set(S) - {S.QUEUED, S.SENDING}))
    async def test_a_message_in_any_other_state_does_not_begin(
        self, store: DynamoMessages, dynamo: Dynamo, campaign: str, status: S
    ) -> None:
        message = await put(store, campaign, status, account_id=an_account())
        assert await store.begin_sends([an_attempt(message)], NOW) == frozenset()
        assert await stored(store, message) == message
        assert await DynamoSlots(dynamo).slots(message.account_id, 0) == []

    async def test_what_was_tried_beside_it_is_found_by_the_slots(self, store: DynamoMessages) -> None:
        account = an_account()
        mine = await begun(store, a_campaign(), account_id=account)
        recipient = mine.message.recipient_id
        beside = await begun(store, a_campaign(), account_id=account, recipient_id=recipient)
        await begun(store, a_campaign(), account_id=account, recipient_id="other")
        again = an_attempt(await stored(store, beside.message))
        await store.begin_sends([again], LATER)
        receipt = Delivered(platform_message_id="7", created_at=LATER)
        await store.settle([outcome(again, S.SENT, delivered=receipt)])
        (found,) = await store.sent_beside(mine.message)
        assert (found.message_id, found.platform_message_id) == (beside.message.message_id, "7")
        (found,) = await store.sent_beside(beside.message)
        assert found.message_id == mine.message.message_id

    async def test_a_message_that_is_not_stored_does_not_begin(self, store: DynamoMessages, campaign: str) -> None:
        assert await store.begin_sends([an_attempt(a_message(campaign))], NOW) == frozenset()
        assert await store.count_by_status(campaign) == {}

    async def test_what_can_not_begin_does_not_hold_back_the_rest_of_any_number(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        ready = messages(campaign, 120, status=S.QUEUED)
        ended = [a_message(campaign, f"late-{number}", status=S.CANCELLED) for number in range(3)]
        await store.create_many([*ready, *ended])
        mixed = [*ready[:5], *ended, *ready[5:]]
        made = await store.begin_sends([an_attempt(message) for message in mixed], NOW)
        assert made == {message.message_id for message in ready}
        assert await store.count_by_status(campaign) == {S.SENDING: 120, S.CANCELLED: 3}

    async def test_nothing_is_no_call(self, store: DynamoMessages) -> None:
        assert await store.begin_sends([], NOW) == frozenset()
        await store.settle([])


RECEIPT = Delivered(platform_message_id="7001", created_at=LATER, cancel_seconds=119)


class TestSettle:
    async def test_the_receipt_is_kept(self, store: DynamoMessages, campaign: str) -> None:
        attempt = await begun(store, campaign, reason="transient")
        before = await stored(store, attempt.message)
        await store.settle([outcome(attempt, S.SENT, delivered=RECEIPT)])
        changed = {
            "status": S.SENT,
            "reason": "",
            "platform_message_id": "7001",
            "sent_at": LATER,
            "cancel_seconds": 119,
            "updated_at": LATER,
        }
        assert await stored(store, attempt.message) == before.model_copy(update=changed)

    async def test_without_a_time_from_the_platform_ours_counts(self, store: DynamoMessages, campaign: str) -> None:
        attempt = await begun(store, campaign)
        await store.settle([outcome(attempt, S.SENT, delivered=Delivered(platform_message_id="7"))])
        found = await stored(store, attempt.message)
        assert (found.sent_at, found.cancel_seconds) == (LATER, None)

    async def test_a_second_receipt_changes_nothing(self, store: DynamoMessages, campaign: str) -> None:
        attempt = await begun(store, campaign)
        await store.settle([outcome(attempt, S.SENT, delivered=RECEIPT)])
        before = await stored(store, attempt.message)
        await store.settle([outcome(attempt, S.SENT, delivered=Delivered(platform_message_id="9999"))])
        assert await stored(store, attempt.message) == before

    async def test_a_receipt_counts_whichever_attempt_was_the_last(self, store: DynamoMessages, campaign: str) -> None:
        first = await begun(store, campaign)
        await store.begin_sends([an_attempt(await stored(store, first.message))], LATER)
        await store.settle([outcome(first, S.SENT, delivered=RECEIPT)])
        assert (await stored(store, first.message)).status is S.SENT

    @pytest.mark.parametrize("status", [S.DRAFTED, S.APPROVED, S.QUEUED])
    async def test_a_message_that_was_not_on_its_way_can_not_have_arrived(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        message = await put(store, campaign, status)
        other = await begun(store, campaign, recipient="other")
        impossible = outcome(an_attempt(message), S.SENT, delivered=RECEIPT)
        with pytest.raises(RuntimeError, match="not on its way"):
            await store.settle([impossible, outcome(other, S.SENT, delivered=RECEIPT)])
        assert await stored(store, message) == message
        assert (await stored(store, other.message)).status is S.SENT

    @pytest.mark.parametrize("status", [S.FAILED, S.SKIPPED])
    async def test_an_end_without_arrival_keeps_its_reason(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        attempt = await begun(store, campaign)
        before = await stored(store, attempt.message)
        await store.settle([outcome(attempt, status, reason="banned_words")])
        changed = {"status": status, "reason": "banned_words", "updated_at": LATER}
        assert await stored(store, attempt.message) == before.model_copy(update=changed)

    async def test_what_sent_nothing_waits_again_without_its_slot(
        self, store: DynamoMessages, dynamo: Dynamo, campaign: str
    ) -> None:
        attempt = await begun(store, campaign, account_id=an_account(), attempts=2)
        await store.settle([outcome(attempt, S.QUEUED, reason="throttled", attempts=2)])
        changed = {
            "status": S.QUEUED,
            "reason": "throttled",
            "attempts": 2,
            "first_attempt_at": NOW,
            "updated_at": LATER,
        }
        assert await stored(store, attempt.message) == attempt.message.model_copy(update=changed)
        assert await DynamoSlots(dynamo).slots(attempt.message.account_id, 0) == []

    async def test_what_is_open_stays_on_its_way_with_its_slot(
        self, store: DynamoMessages, dynamo: Dynamo, campaign: str
    ) -> None:
        attempt = await begun(store, campaign, account_id=an_account())
        await store.settle([outcome(attempt, S.SENDING, reason="unknown_outcome")])
        found = await stored(store, attempt.message)
        assert (found.status, found.reason, found.attempts) == (S.SENDING, "unknown_outcome", 1)
        assert await DynamoSlots(dynamo).slots(attempt.message.account_id, 0) == [attempt.slot]

    @pytest.mark.parametrize("status", [S.QUEUED, S.SENDING, S.FAILED, S.SKIPPED])
    async def test_what_a_later_attempt_is_doing_is_left_alone(
        self, store: DynamoMessages, dynamo: Dynamo, campaign: str, status: S
    ) -> None:
        attempt = await begun(store, campaign, account_id=an_account())
        await store.begin_sends([an_attempt(await stored(store, attempt.message))], LATER)
        before = await stored(store, attempt.message)
        await store.settle([outcome(attempt, status, reason="throttled", attempts=0)])
        assert await stored(store, attempt.message) == before
        assert len(await DynamoSlots(dynamo).slots(attempt.message.account_id, 0)) == 2

    @pytest.mark.parametrize("status", [S.QUEUED, S.SENDING, S.FAILED, S.SKIPPED])
    async def test_a_repetition_does_not_touch_a_later_attempt_of_the_same_count(
        self, store: DynamoMessages, campaign: str, status: S
    ) -> None:
        """Nothing was sent and the count was taken back: the next attempt has the same number."""
        attempt = await begun(store, campaign)
        await store.settle([outcome(attempt, S.QUEUED, reason="throttled", attempts=0)])
        await store.begin_sends([an_attempt(await stored(store, attempt.message))], LATER)
        before = await stored(store, attempt.message)
        assert before.attempts == 1
        await store.settle([outcome(attempt, status, reason="late", attempts=0)])
        assert await stored(store, attempt.message) == before

    @pytest.mark.parametrize("target", [S.QUEUED, S.SENDING, S.FAILED, S.SKIPPED])
    @pytest.mark.parametrize("status", [S.QUEUED, *sorted(TERMINAL)])
    async def test_a_message_that_waits_or_ended_stays_as_it_is(
        self, store: DynamoMessages, campaign: str, status: S, target: S
    ) -> None:
        message = await put(store, campaign, status, attempts=1)
        about = an_attempt(message.model_copy(update={"attempts": 0}))
        await store.settle([outcome(about, target, reason="transient")])
        assert await stored(store, message) == message

    async def test_the_attempt_that_the_store_has_is_told_by_its_count(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        """Whoever finds an open attempt of somebody else does not know its slot."""
        attempt = await begun(store, campaign, attempts=1)
        unknown = attempt.slot.model_copy(update={"lease_id": "", "counts_at_us": 0})
        found = Attempt(message=attempt.message, slot=unknown)
        earlier = Attempt(message=attempt.message.model_copy(update={"attempts": 0}), slot=unknown)
        await store.settle([outcome(earlier, S.QUEUED, reason="too early")])
        assert (await stored(store, attempt.message)).status is S.SENDING
        await store.settle([outcome(found, S.QUEUED, reason="unsent", attempts=2)])
        assert (await stored(store, attempt.message)).reason == "unsent"

    async def test_one_that_does_not_apply_leaves_the_others_unharmed(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        attempts = [an_attempt(message) for message in messages(campaign, 110, status=S.QUEUED)]
        await store.create_many([attempt.message for attempt in attempts])
        await store.begin_sends(attempts, NOW)
        await store.settle([outcome(attempts[3], S.FAILED, reason="banned_words")])
        targets = [S.SENT, S.QUEUED, S.SKIPPED]
        await store.settle(
            [
                outcome(
                    attempt, targets[number % 3], delivered=RECEIPT if number % 3 == 0 else None, attempts=number % 3
                )
                for number, attempt in enumerate(attempts)
            ]
        )
        assert await store.count_by_status(campaign) == {S.SENT: 36, S.FAILED: 1, S.QUEUED: 37, S.SKIPPED: 36}

    async def test_two_outcomes_of_one_message_are_stored_in_their_order(
        self, store: DynamoMessages, campaign: str
    ) -> None:
        attempt = await begun(store, campaign)
        await store.settle(
            [outcome(attempt, S.SENDING, reason="unknown_outcome"), outcome(attempt, S.SENT, delivered=RECEIPT)]
        )
        assert (await stored(store, attempt.message)).status is S.SENT


class TestRecordRecalled:
    async def test_it_is_recorded_once(self, store: DynamoMessages, campaign: str) -> None:
        message = await put(store, campaign, S.SENT, platform_message_id="7", sent_at=NOW)
        await store.record_recalled(message, LATER)
        await store.record_recalled(message, LATER + timedelta(hours=1))
        changed = {"status": S.RECALLED, "updated_at": LATER}
        assert await stored(store, message) == message.model_copy(update=changed)

    @pytest.mark.parametrize("status", sorted(set(S) - {S.SENT, S.RECALLED}))
    async def test_only_what_was_sent_can_be_recalled(self, store: DynamoMessages, campaign: str, status: S) -> None:
        message = await put(store, campaign, status)
        with pytest.raises(Conflict):
            await store.record_recalled(message, LATER)
        assert await stored(store, message) == message


class TestDeadLetters:
    @pytest.fixture
    def account(self) -> str:
        return an_account()

    async def failed(self, store: DynamoMessages, account: str, number: int = 0) -> Message:
        attempt = await begun(store, a_campaign(), account_id=account)
        at = NOW + timedelta(microseconds=number)
        await store.settle([outcome(attempt, S.FAILED, reason="banned_words", at=at)])
        return await stored(store, attempt.message)

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    async def test_walking_through_all_pages_shows_each_once_newest_first(
        self, store: DynamoMessages, account: str, limit: int
    ) -> None:
        made = [await self.failed(store, account, number) for number in (0, 1, 10, 500_000, 999_999)]
        await self.failed(store, an_account())
        found: list[Message] = []
        cursor: str | None = None
        while True:
            listing = await store.dead_letters(account, limit=limit, cursor=cursor)
            found.extend(listing.messages)
            cursor = listing.cursor
            if cursor is None:
                break
            assert len(listing.messages) == limit
        assert found == list(reversed(made))

    async def test_by_transition_as_well(self, store: DynamoMessages, account: str) -> None:
        attempt = await begun(store, a_campaign(), account_id=account)
        await store.transition(attempt.message.campaign_id, [attempt.message.message_id], S.FAILED, reason="why")
        (found,) = (await store.dead_letters(account, limit=5, cursor=None)).messages
        assert (found.message_id, found.reason) == (attempt.message.message_id, "why")

    async def test_what_is_closed_is_closed_once_and_stays_failed(self, store: DynamoMessages, account: str) -> None:
        message = await self.failed(store, account)
        assert await store.dead_letter(account, message.message_id) == message
        answers = await asyncio.gather(*(store.close_dead_letter(message, f"by {number}") for number in range(5)))
        assert len(set(answers)) == 1
        assert answers[0] in {f"by {number}" for number in range(5)}
        assert (await store.dead_letters(account, limit=5, cursor=None)).messages == ()
        assert await store.dead_letter(account, message.message_id) is None
        assert await stored(store, message) == message

    async def test_nobody_elses(self, store: DynamoMessages, account: str) -> None:
        message = await self.failed(store, account)
        assert await store.dead_letter(an_account(), message.message_id) is None
        assert await store.dead_letter(account, uuid4()) is None

    async def test_a_message_that_did_not_fail_is_none(self, store: DynamoMessages, account: str) -> None:
        message = await put(store, a_campaign(), S.SENT, account_id=account)
        assert await store.dead_letter(account, message.message_id) is None
        assert not await store.close_dead_letter(message, "discarded")

    @pytest.mark.parametrize(
        "position",
        ["word", [], ["c", "m", "2026"], [str(uuid4()), str(uuid4()), "late"], {"a": 1, "b": 2, "c": 3}],
    )
    async def test_a_cursor_of_somewhere_else_is_refused_by_name(
        self, store: DynamoMessages, account: str, position: object
    ) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await store.dead_letters(account, limit=5, cursor=to_cursor(position))
        assert refused.value.field == "cursor"


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
