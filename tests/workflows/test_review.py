"""Drafts that wait for people: single messages, edits behind the workflow's back, and the clock."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.service import RPCError

from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import check
from domain.delivery import Message, MessageReview, MessageStatus
from domain.review import REVIEW_EXPIRED, EditRequest, PageKey, ReviewDecision, edited
from tests.workflows.launcher import Handle, Launcher, progress_until
from workflows.campaign import CampaignWorkflow

S = MessageStatus


async def waiting(launcher: Launcher, audience: int, **changes: Any) -> tuple[CampaignRecord, Handle]:
    """A strict campaign whose drafts all wait."""
    with launcher.env.auto_time_skipping_disabled():
        record, handle = await launcher.campaign(audience, compliance="strict", **changes)
        await progress_until(handle, lambda seen: seen.awaiting_review == audience)
    return record, handle


async def edit(launcher: Launcher, message: Message, *, approve: bool = False) -> bool:
    """As the API does, without the signal."""
    text = "Hello again, the new set is here."
    review = MessageReview(decided_by="ana", decided_at=datetime.now(UTC))
    change = EditRequest(text=text, approve=approve)
    return await launcher.ports.messages.edit(edited(message, change, check(text), 0.5, review))


async def by_status(launcher: Launcher, record: CampaignRecord) -> dict[S, list[Message]]:
    found: dict[S, list[Message]] = {}
    for message in await launcher.messages(record):
        found.setdefault(message.status, []).append(message)
    return found


class TestMessages:
    async def test_only_those_that_are_named_are_decided(self, launcher: Launcher) -> None:
        record, handle = await waiting(launcher, 5)
        first, second, *_ = await launcher.messages(record)
        page = (PageKey(account_id=first.account_id, page=0),)
        reject = ReviewDecision(pages=page, messages=(first.message_id,), decided_by="ana", comment="too loud")
        await handle.signal(CampaignWorkflow.reject, reject)
        # As somebody would send it from the Temporal UI, without the page.
        await handle.signal("approve", {"messages": [str(second.message_id)]})
        with launcher.env.auto_time_skipping_disabled():
            seen = await progress_until(handle, lambda seen: seen.rejected == 1 and seen.awaiting_review == 3)
        assert [(each.page, each.awaiting) for each in seen.pending_reviews] == [(0, 3)]
        found = (await by_status(launcher, record))[S.REJECTED]
        assert [(each.message_id, each.reason) for each in found] == [(first.message_id, "too loud")]
        assert found[0].review is not None
        assert found[0].review.decided_by == "ana"
        await handle.signal("approve")
        assert (await handle.result()).outcomes == {S.REJECTED: 1, S.SENT: 4}
        sent = {each.message_id: each.origin for each in (await by_status(launcher, record))[S.SENT]}
        assert all(
            origin and origin.approved_by == "temporal-signal" and origin.approved_at for origin in sent.values()
        )

    async def test_the_last_word_before_it_is_carried_out_counts(self, launcher: Launcher) -> None:
        record, handle = await waiting(launcher, 3)
        first, *_ = await launcher.messages(record)
        await handle.signal("pause")
        await handle.signal(CampaignWorkflow.reject, ReviewDecision(messages=(first.message_id,)))
        await handle.signal("approve")
        await handle.signal("resume")
        result = await handle.result()
        assert sum(result.outcomes.values()) == 3
        assert result.outcomes.get(S.SENT, 0) >= 2


class TestUnwritten:
    async def unwritten(self, launcher: Launcher) -> tuple[CampaignRecord, Handle]:
        """A campaign whose texts the provider refuses to write."""
        await launcher.ai.fault("content_filter", dialect="openai", count=50)
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(3)
            await progress_until(handle, lambda seen: seen.unwritten == 3)
        return record, handle

    async def test_an_approval_of_the_campaign_does_not_cover_them_nor_go_round_in_circles(
        self, launcher: Launcher
    ) -> None:
        record, handle = await self.unwritten(launcher)
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(scope="campaign", decided_by="ana"))
        await launcher.env.sleep(timedelta(hours=1))
        seen = await handle.query(CampaignWorkflow.progress)
        assert (seen.awaiting_review, seen.unwritten, seen.queued, seen.sent) == (3, 3, 0, 0)
        assert len((await handle.fetch_history()).events) < 100
        first, second, third = await launcher.messages(record)
        assert await edit(launcher, first)
        assert await edit(launcher, second, approve=True)
        await handle.signal(CampaignWorkflow.page_changed, PageKey(account_id=first.account_id, page=0))
        with launcher.env.auto_time_skipping_disabled():
            # What somebody wrote after the approval, and did not approve, is nothing that it was about.
            await progress_until(handle, lambda seen: (seen.sent, seen.awaiting_review, seen.unwritten) == (1, 2, 1))
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(messages=(first.message_id,)))
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: (seen.sent, seen.unwritten) == (2, 1))
        await handle.signal("reject")
        assert (await handle.result()).outcomes == {S.SENT: 2, S.REJECTED: 1}
        assert (await by_status(launcher, record))[S.REJECTED][0].message_id == third.message_id

    async def test_they_expire(self, launcher: Launcher) -> None:
        _, handle = await self.unwritten(launcher)
        assert (await handle.result()).outcomes == {S.SKIPPED: 3}


class TestEdits:
    async def test_one_of_which_the_workflow_never_heard_is_found_with_the_next_decision(
        self, launcher: Launcher
    ) -> None:
        record, handle = await waiting(launcher, 4)
        first, *_ = await launcher.messages(record)
        assert await edit(launcher, first, approve=True)
        await handle.signal("reject")
        assert (await handle.result()).outcomes == {S.SENT: 1, S.REJECTED: 3}

    async def test_one_that_the_workflow_never_heard_of_is_sent_before_the_rest_expires(
        self, launcher: Launcher
    ) -> None:
        record, handle = await waiting(launcher, 4)
        first, *_ = await launcher.messages(record)
        assert await edit(launcher, first, approve=True)
        await launcher.env.sleep(timedelta(hours=13))
        seen = await handle.query(CampaignWorkflow.progress)
        assert (seen.sent, seen.awaiting_review) == (1, 3)
        assert (await handle.result()).outcomes == {S.SENT: 1, S.SKIPPED: 3}

    async def test_an_approval_that_was_made_before_them_is_not_about_them(self, live: Launcher) -> None:
        record, handle = await waiting(live, 3)
        decided_at = datetime.now(UTC)
        first, second, *_ = await live.messages(record)
        assert await edit(live, first)
        named = ReviewDecision(
            messages=(first.message_id, second.message_id),
            revisions={first.message_id: 0, second.message_id: 0},
            decided_at=decided_at,
        )
        await handle.signal(CampaignWorkflow.approve, named)
        await progress_until(handle, lambda seen: (seen.sent, seen.awaiting_review) == (1, 2))
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(decided_at=decided_at))
        await progress_until(handle, lambda seen: (seen.sent, seen.awaiting_review) == (2, 1))
        # One that is made by now is.
        await handle.signal("approve")
        assert (await handle.result()).outcomes == {S.SENT: 3}
        texts = {each.message_id: each.text for each in await live.messages(record)}
        assert texts[first.message_id] == "Hello again, the new set is here."


class TestExpiry:
    async def test_pages_that_nobody_decides_end_and_the_campaign_with_them(self, launcher: Launcher) -> None:
        record, handle = await waiting(launcher, 8)
        seen = await handle.query(CampaignWorkflow.progress)
        assert seen.review_expires_at is not None
        assert timedelta(hours=71) < seen.review_expires_at - record.created_at < timedelta(hours=73)
        result = await handle.result()
        assert result.outcomes == {S.SKIPPED: 8}
        assert {message.reason for message in await launcher.messages(record)} == {REVIEW_EXPIRED}
        assert (await launcher.onlyfans.get("report"))["totals"]["accepted"] == 0

    async def test_the_next_page_is_drafted_and_waits_as_long_again(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(14, compliance="strict", review={"expiresAfterHours": 2})
            await progress_until(handle, lambda seen: seen.awaiting_review == 12)
        await launcher.env.sleep(timedelta(hours=2, minutes=1))
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: (seen.skipped, seen.awaiting_review) == (12, 2))
        await handle.signal("approve")
        assert (await handle.result()).outcomes == {S.SKIPPED: 12, S.SENT: 2}
        assert await launcher.counts(record) == {S.SKIPPED: 12, S.SENT: 2}

    async def test_a_pause_does_not_stop_the_clock(self, launcher: Launcher) -> None:
        _, handle = await waiting(launcher, 3)
        await handle.signal("pause")
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        assert (await handle.result()).outcomes == {S.SKIPPED: 3}


@pytest.mark.parametrize("order", ["cancel approve edit", "edit cancel approve", "approve edit cancel", "reject edit"])
async def test_whoever_is_first_every_recipient_ends_once(live: Launcher, order: str) -> None:
    record, handle = await waiting(live, 6)
    messages = await live.messages(record)

    async def do(what: str) -> None:
        if what == "edit":
            for message in messages:
                await edit(live, message, approve=True)
        # By now it may have ended.
        with suppress(RPCError):
            await handle.signal("page_changed" if what == "edit" else what)

    await asyncio.gather(*(do(what) for what in order.split()))
    result = await handle.result()
    assert sum(result.outcomes.values()) == 6
    assert result.outcomes == await live.counts(record)
    sent = result.outcomes.get(S.SENT, 0)
    totals = (await live.onlyfans.get("report"))["totals"]
    assert (totals["accepted"], totals["duplicate_count"]) == (sent, 0)
