"""Drafts in DynamoDB: who decides first, who edits first, and in which order they wait."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.delivery import DynamoMessages
from adapters.dynamodb import to_cursor
from domain.compliance import check
from domain.delivery import Message, MessageReview, MessageStatus
from domain.errors import InvalidRequest
from domain.ports import ReviewFilter
from domain.review import EditRequest, edited
from tests.domain.builders import NOW, a_campaign, a_message, an_account

S = MessageStatus
LATER = NOW + timedelta(minutes=1)
REVIEW = MessageReview(decided_by="luna", decided_at=LATER, comment="Not our tone.")


@pytest.fixture
def owner() -> str:
    return f"user-{uuid4().hex[:12]}"


async def stored(store: DynamoMessages, message: Message) -> Message:
    return (await store.get_many(message.campaign_id, [message.message_id]))[message.message_id]


async def put(store: DynamoMessages, **changes: Any) -> Message:
    message = a_message(a_campaign(), **changes)
    await store.create_many([message])
    return message


def new_text(message: Message, text: str, by: str = "luna", **changes: object) -> Message:
    change = EditRequest.model_validate({"text": text, **changes})
    return edited(message, change, check(text), 0.5, REVIEW.model_copy(update={"decided_by": by}))


def rejected(message: Message) -> Message:
    changes = {"status": S.REJECTED, "reason": REVIEW.comment, "review": REVIEW, "updated_at": LATER}
    return message.model_copy(update=changes)


class TestDecide:
    async def test_who_approved_and_when_is_kept_beside_the_origin(self, store: DynamoMessages) -> None:
        message = await put(store)
        await store.decide([message], S.APPROVED, reason="", review=REVIEW, now=LATER)
        found = await stored(store, message)
        assert message.origin is not None
        assert found.origin == message.origin.model_copy(update={"approved_by": "luna", "approved_at": LATER})
        assert (found.status, found.review, found.updated_at) == (S.APPROVED, REVIEW, LATER)

    async def test_a_rejection_is_kept_with_who_when_and_why_also_without_a_text(self, store: DynamoMessages) -> None:
        message = await put(store, text="", origin=None, compliance=None)
        await store.decide([message], S.REJECTED, reason=REVIEW.comment, review=REVIEW, now=LATER)
        found = await stored(store, message)
        assert (found.status, found.reason, found.review, found.origin) == (S.REJECTED, REVIEW.comment, REVIEW, None)

    @pytest.mark.parametrize("target", [S.APPROVED, S.REJECTED, S.SKIPPED])
    @pytest.mark.parametrize("status", sorted(set(S) - {S.DRAFTED}))
    async def test_what_is_no_draft_any_more_stays_as_it_is(self, store: DynamoMessages, status: S, target: S) -> None:
        message = await put(store, status=status)
        other = await put(store)
        await store.decide([message, other], target, reason="late", review=None, now=LATER)
        assert await stored(store, message) == message
        assert (await stored(store, other)).status is target

    @pytest.mark.parametrize("target", [S.APPROVED, S.REJECTED])
    async def test_a_text_that_nobody_has_seen_goes_on_waiting(self, store: DynamoMessages, target: S) -> None:
        read = await put(store)
        changed = new_text(read, "Hello Maya.")
        assert await store.edit(changed)
        await store.decide([read], target, reason="", review=REVIEW, now=LATER)
        assert await stored(store, read) == changed

    async def test_the_clock_ends_what_was_edited_too(self, store: DynamoMessages) -> None:
        read = await put(store)
        assert await store.edit(new_text(read, "Hello Maya."))
        await store.decide([read], S.SKIPPED, reason="review_expired", review=None, now=LATER)
        assert (await stored(store, read)).status is S.SKIPPED


class TestEdit:
    async def test_the_text_before_it_is_kept(self, store: DynamoMessages) -> None:
        message = await put(store)
        changed = new_text(message, "Hello Maya.", comment="shorter")
        assert await store.edit(changed)
        found = await stored(store, message)
        assert found == changed
        assert (found.text, found.revision, found.status, found.review) == ("Hello Maya.", 1, S.DRAFTED, None)
        (before,) = found.earlier
        assert (before.text, before.origin, before.replaced_by) == (message.text, message.origin, "luna")

    async def test_a_draft_without_a_text_gets_one_and_is_approved(self, store: DynamoMessages) -> None:
        message = await put(store, text="", origin=None, compliance=None, reason="manual_review:content_policy")
        assert await store.edit(new_text(message, "Hello Maya.", approve=True))
        found = await stored(store, message)
        assert found.origin is not None
        assert (found.status, found.origin.approved_by, found.origin.edited_by) == (S.APPROVED, "luna", "luna")

    async def test_of_two_editors_at_once_one_wins_whole(self, store: DynamoMessages) -> None:
        message = await put(store)
        edits = [new_text(message, f"Hello from {name}.", by=name) for name in ("ana", "bea", "cleo", "dora")]
        answers = await asyncio.gather(*(store.edit(each) for each in edits))
        assert sorted(answers) == [False, False, False, True]
        assert await stored(store, message) == edits[answers.index(True)]

    async def test_of_an_edit_and_a_decision_at_once_nothing_is_lost(self, store: DynamoMessages) -> None:
        message = await put(store)
        changed = new_text(message, "Hello Maya.")
        won, _ = await asyncio.gather(
            store.edit(changed),
            store.decide([message], S.REJECTED, reason=REVIEW.comment, review=REVIEW, now=LATER),
        )
        found = await stored(store, message)
        assert found == (changed if won else rejected(message))

    @pytest.mark.parametrize("status", sorted(set(S) - {S.DRAFTED}))
    async def test_only_drafts_are_edited(self, store: DynamoMessages, status: S) -> None:
        message = await put(store, status=status)
        assert not await store.edit(new_text(message, "Hello."))
        assert await stored(store, message) == message


class TestWaiting:
    async def test_those_that_wait_longest_come_first_over_all_campaigns(
        self, store: DynamoMessages, owner: str
    ) -> None:
        made = [await put(store, owner=owner, updated_at=NOW + timedelta(minutes=n)) for n in (3, 1, 2)]
        listing = await store.waiting(ReviewFilter(owner=owner), limit=10, cursor=None)
        assert [draft.message for draft in listing.drafts] == [made[1], made[2], made[0]]
        assert [draft.since for draft in listing.drafts] == [NOW + timedelta(minutes=n) for n in (1, 2, 3)]
        assert listing.cursor is None

    @pytest.mark.parametrize("limit", [1, 2, 7])
    async def test_walking_shows_each_draft_once_also_with_equal_moments(
        self, store: DynamoMessages, owner: str, limit: int
    ) -> None:
        made = {(await put(store, owner=owner)).message_id for _ in range(7)}
        found, cursor = [], None
        while True:
            listing = await store.waiting(ReviewFilter(owner=owner), limit=limit, cursor=cursor)
            found += [draft.message.message_id for draft in listing.drafts]
            if (cursor := listing.cursor) is None:
                break
        assert len(found) == 7
        assert set(found) == made

    async def test_only_the_owners_and_of_the_account_and_campaign(self, store: DynamoMessages, owner: str) -> None:
        account = an_account()
        mine = await put(store, owner=owner, account_id=account)
        other = await put(store, owner=owner)
        foreign = await put(store, owner=f"{owner}-2", account_id=account)

        async def found(**changes: str) -> set[object]:
            listing = await store.waiting(ReviewFilter(**changes), limit=50, cursor=None)
            return {draft.message.message_id for draft in listing.drafts}

        assert await found(owner=owner) == {mine.message_id, other.message_id}
        assert await found(owner=owner, account_id=account) == {mine.message_id}
        assert await found(owner=owner, campaign_id=other.campaign_id) == {other.message_id}
        assert await found(account_id=account) == {mine.message_id, foreign.message_id}

    @pytest.mark.parametrize("target", [S.APPROVED, S.REJECTED, S.SKIPPED, S.CANCELLED])
    async def test_what_is_decided_is_not_listed(self, store: DynamoMessages, owner: str, target: S) -> None:
        decided, waits = await put(store, owner=owner), await put(store, owner=owner)
        if target is S.CANCELLED:
            await store.transition(decided.campaign_id, [decided.message_id], target)
        else:
            await store.decide([decided], target, reason="", review=None, now=LATER)
        listing = await store.waiting(ReviewFilter(owner=owner), limit=10, cursor=None)
        assert [draft.message for draft in listing.drafts] == [waits]

    async def test_an_edit_keeps_the_place_and_an_approving_one_gives_it_up(
        self, store: DynamoMessages, owner: str
    ) -> None:
        first = await put(store, owner=owner)
        await put(store, owner=owner, updated_at=LATER)
        changed = new_text(first, "Hello Maya.")
        assert await store.edit(changed)
        listing = await store.waiting(ReviewFilter(owner=owner), limit=10, cursor=None)
        assert (listing.drafts[0].message, listing.drafts[0].since) == (changed, NOW)
        assert await store.edit(new_text(changed, "Hello again.", approve=True))
        assert len((await store.waiting(ReviewFilter(owner=owner), limit=10, cursor=None)).drafts) == 1

    @pytest.mark.parametrize("position", ["word", [], 7, None, {"a": 1}])
    async def test_a_cursor_of_somewhere_else_is_refused_by_name(self, store: DynamoMessages, position: object) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await store.waiting(ReviewFilter(), limit=5, cursor=to_cursor(position))
        assert refused.value.field == "cursor"
