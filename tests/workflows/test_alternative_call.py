"""The one call of an alternative action by itself: to whom, how often, and what of it is certain."""

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from domain.alternative import MASS_MESSAGE
from domain.campaign import CampaignStatus, mass_message_key
from domain.compliance import ComplianceReport
from domain.delivery import (
    Attempt,
    Delivered,
    Message,
    MessageReview,
    MessageStatus,
    Outcome,
    message_id,
)
from domain.ports import MessageStore
from domain.rate_limit import AccountLimits, Cap, LimitPolicy, Slot, fan_windows, recipient_windows
from domain.review import EditRequest, edited
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound
from tests.domain.builders import a_message
from tests.workflows.late_campaigns import (
    MASS,
    PASSED,
    TEXT,
    S,
    Take,
    delivery,
    mass_messages,
)
from tests.workflows.launcher import Launcher, intent


@pytest.fixture
async def take(live: Launcher) -> Take:
    """A campaign whose recipients are all late."""
    record = await live.store(intent(8, delivery=delivery(PASSED, **MASS)))
    await live.ports.campaigns.set_status(record.campaign_id, CampaignStatus.RUNNING, reason="", revision=5)
    return Take(live, record)


class StoreThatFails:
    """The message store, which does not answer when an attempt is to be begun."""

    def __init__(self, messages: MessageStore) -> None:
        self._messages = messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._messages, name)

    async def begin_sends(self, attempts: Sequence[Attempt], _: datetime) -> frozenset[UUID]:
        raise ConnectionError(f"no answer for {len(attempts)} attempts")


async def test_a_fan_has_no_room_before_the_platform_must_have_delivered(take: Take) -> None:
    assert await take.until_done() == {S.SENT: 8}
    one_a_minute = fan_windows((Cap(limit=1, seconds=60),), (await take.fans())[-1])
    [minute] = (await take.ports.limiter.usage(take.account, one_a_minute)).windows
    assert minute.frees_in_ms is not None
    # The platform has a minute to deliver, and the fan's window is a minute long.
    assert 60_000 < minute.frees_in_ms <= 120_000


class ChangedMeanwhile:
    """The message store; while it takes in an audience, somebody changes the limits of its fans."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._take.ports.messages, name)

    async def create_many(self, messages: Sequence[Message]) -> None:
        await self._take.ports.messages.create_many(messages)
        if not (await self._take.ports.accounts.limits(self._take.account)).revision:
            await self._take.close()


async def test_limits_that_change_while_an_audience_is_stored_hold_for_its_call(take: Take) -> None:
    await take.once(messages=ChangedMeanwhile(take))
    assert await take.until_done() == {S.SKIPPED: 8}
    assert await take.calls() == 0


class TestTriesThatComeToNothing:
    async def test_a_store_that_fails_before_the_call_costs_nobody_the_message(self, take: Take) -> None:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await take.once(messages=StoreThatFails(take.ports.messages))
        # What was taken for the fans is given back.
        fan = (await take.fans())[1]
        windows = recipient_windows(LimitPolicy(), AccountLimits(account_id=take.account), fan)
        assert (await take.ports.limiter.usage(take.account, windows)).windows[0].used == 0
        assert await take.until_done() == {S.SENT: 8}
        assert await take.calls() == 1

    async def test_a_kill_before_the_call_costs_nobody_the_message(self, take: Take) -> None:
        # Slots of two processes that ended before they could give anything back.
        for _ in range(2):
            caps = LimitPolicy().recipient
            key = mass_message_key(take.record.campaign_id, take.account)
            await take.ports.limiter.reserve_fans(take.account, await take.fans(), caps, call=key, lease_ms=600_000)
        assert await take.until_done() == {S.SENT: 8}
        assert await take.calls() == 1

    async def test_a_call_that_was_refused_can_still_leave_a_fan_out(self, live: Launcher, take: Take) -> None:
        await live.onlyfans.fault("rate_limited", endpoint="mass", count=1, retry_after_s=0)
        first, *_, last = await take.fans()
        assert not (await take.once()).done
        assert (await take.message(first)).status is S.QUEUED
        await take.busy(last)
        assert await take.until_done() == {S.SENT: 7, S.SKIPPED: 1}
        assert (await take.message(last)).reason == "rate_limit:recipient"
        assert await take.calls() == 1

    @pytest.mark.parametrize("number", [0, 3])
    async def test_cancelling_one_fan_cancels_nobody_else(self, live: Launcher, take: Take, number: int) -> None:
        await live.onlyfans.fault("rate_limited", endpoint="mass", count=1, retry_after_s=0)
        fan = (await take.fans())[number]
        assert not (await take.once()).done
        key = message_id(take.record.campaign_id, take.account, fan)
        await take.ports.messages.transition(take.record.campaign_id, [key], S.CANCELLED, reason="cancelled_by:maya")
        # Only the one that stood for all is queued; whoever is about to be sent to can't be cancelled.
        cancelled = (await take.message(fan)).status is S.CANCELLED
        assert cancelled is (number == 0)
        counts = await take.until_done()
        assert counts == ({S.SENT: 7, S.CANCELLED: 1} if cancelled else {S.SENT: 8})
        assert await take.calls() == 1


class TestWithdrawal:
    """The activity by itself, on messages in every state."""

    async def unsent(self, take: Take, status: MessageStatus, number: int) -> Message:
        """A message of the campaign's own, as it waits."""
        fan = (await take.fans())[number]
        message = a_message(
            take.record.campaign_id,
            fan,
            account_id=take.account,
            page=number // 6,
            status=status,
            batch=0 if status is S.QUEUED else None,
        )
        await take.ports.messages.create_many([message])
        return message

    async def tried(self, take: Take, message: Message) -> bool:
        slot = Slot(lease_id=uuid4().hex, account_id=take.account, counts_at_us=0)
        now = datetime.now(UTC)
        return bool(await take.ports.messages.begin_sends([Attempt(message=message, slot=slot)], now))

    async def test_takes_what_was_not_tried_and_leaves_what_may_be_on_its_way(self, take: Take) -> None:
        waiting = [await self.unsent(take, status, place) for place, status in enumerate([S.DRAFTED, S.APPROVED])]
        queued, on_its_way = [await self.unsent(take, S.QUEUED, place) for place in (2, 3)]
        ended = await self.unsent(take, S.REJECTED, 4)
        assert await self.tried(take, on_its_way)
        for _ in range(2):
            found = await take.withdraw()
            assert (found.taken, found.drafts, found.counts) == (3, 2, {S.REJECTED: 1})
        for message in (*waiting, queued):
            stored = await take.message(message.recipient_id)
            assert (stored.status, stored.reason, stored.text, stored.batch) == (
                S.SENDING,
                MASS_MESSAGE,
                TEXT,
                message.batch,
            )
            assert [earlier.text for earlier in stored.earlier] == [message.text]
        assert (await take.message(on_its_way.recipient_id)).text == on_its_way.text
        assert (await take.message(ended.recipient_id)).status is S.REJECTED

    async def test_the_call_reaches_the_withdrawn_and_nobody_who_may_have_got_the_own_message(
        self, live: Launcher, take: Take
    ) -> None:
        for place in range(6):
            await self.unsent(take, S.QUEUED, place)
        fans = await take.fans()
        assert await self.tried(take, await take.message(fans[3]))
        await take.withdraw()
        taken = await take.once(withdrawn_from=1)
        assert (taken.done, taken.counts) == (True, {S.SENT: 2})
        [mass] = await mass_messages(live)
        assert set(mass["copies"]) == {*fans} - {fans[3]}
        assert (await take.message(fans[3])).status is S.SENDING
        assert Counter([(await take.message(fan)).status for fan in fans]) == {S.SENT: 7, S.SENDING: 1}

    async def test_a_round_that_read_a_message_before_does_not_send_it(self, take: Take) -> None:
        read = await self.unsent(take, S.QUEUED, 0)
        await take.withdraw()
        assert not await self.tried(take, read)

    async def test_of_a_try_and_a_withdrawal_at_the_same_moment_one_wins(self, take: Take) -> None:
        messages = [await self.unsent(take, S.QUEUED, place) for place in range(8)]
        withdrawing = asyncio.create_task(take.withdraw())
        tried = await asyncio.gather(*(self.tried(take, message) for message in messages))
        found = await withdrawing
        stored = [await take.message(message.recipient_id) for message in messages]
        assert [message.text == TEXT for message in stored] == [not begun for begun in tried]
        assert found.taken == tried.count(False)

    async def test_an_edit_at_the_same_moment_loses_nobody(self, take: Take) -> None:
        draft = await self.unsent(take, S.DRAFTED, 0)
        by_ana = MessageReview(decided_by="ana", decided_at=datetime.now(UTC))
        change = edited(draft, EditRequest(text="Hello again."), ComplianceReport(score=1.0), 1.0, by_ana)
        await asyncio.gather(take.ports.messages.edit(change), take.withdraw())
        stored = await take.message(draft.recipient_id)
        assert (stored.status, stored.text) == (S.SENDING, TEXT)

    async def test_the_queue_leaves_the_withdrawn_alone_until_they_have_ended(self, live: Launcher, take: Take) -> None:
        queued, *_ = [await self.unsent(take, S.QUEUED, place) for place in range(6)]
        await take.withdraw()
        deliver = take.activity("deliver")
        candidate = Candidate(campaign_id=take.record.campaign_id, message_id=queued.message_id)
        request = DeliveryRound(account_id=take.account, candidates=(candidate,))
        waits: DeliveryReport = await ActivityEnvironment().run(deliver, request)
        assert [(wait.message_id, wait.reason) for wait in waits.deferred] == [(queued.message_id, "alternative")]
        assert (await take.once(withdrawn_from=1)).done
        report: DeliveryReport = await ActivityEnvironment().run(deliver, request)
        assert [settled.status for settled in report.settled] == [S.SENT]
        received = (await live.onlyfans.get("received", account=take.account))["received"][take.account]
        assert [copy["text"] for copy in received[queued.recipient_id]] == [TEXT]


class TestMemory:
    async def test_no_message_but_the_first_is_kept_for_the_call(self, take: Take) -> None:
        """An audience of 100,000 would take half a gigabyte."""

        class CountingGateway:
            """The real gateway; it counts what is in memory at the time of the call."""

            messages: int | None = None

            async def send_mass(self, **arguments: Any) -> Delivered:
                kept = (each for each in gc.get_objects() if isinstance(each, Message))
                ids = {each.message_id for each in kept if each.campaign_id == take.record.campaign_id}
                self.messages = len(ids)
                return await take.ports.gateway.send_mass(**arguments)

        gateway = CountingGateway()
        await take.once(gateway=gateway)
        assert gateway.messages == 1


class TestAnOpenCallWithoutRoom:
    async def test_is_looked_for_in_the_chats(self, live: Launcher, take: Take) -> None:
        await live.onlyfans.fault("connection_reset", endpoint="mass", count=1, after_accept=True)
        assert not (await take.once()).done
        await take.close()
        assert await take.until_done() == {S.SENT: 8}
        assert await take.calls() == 1

    async def test_leaves_fans_out_once_it_certainly_did_not_arrive(self, live: Launcher, take: Take) -> None:
        await live.onlyfans.fault("connection_reset", endpoint="mass", count=1)
        assert not (await take.once()).done
        busy = (await take.fans())[-1]
        await take.busy(busy)
        waits = await take.once()
        assert (waits.done, waits.reason) == (False, "outcome_open")
        assert (await take.message(busy)).status is S.SENDING
        await self.grow_old(take, timedelta(minutes=2))
        assert await take.until_done() == {S.SENT: 7, S.SKIPPED: 1}
        assert await take.calls() == 1

    async def test_does_not_keep_a_campaign_from_ending(self, live: Launcher, take: Take) -> None:
        await live.onlyfans.fault("connection_reset", endpoint="mass", count=1)
        assert not (await take.once()).done
        await take.close()
        await self.grow_old(take, timedelta(minutes=2))
        assert await take.until_done() == {S.SKIPPED: 8}
        assert await take.calls() == 0

    async def test_is_made_again_after_a_server_error_once_it_can_no_longer_arrive(
        self, live: Launcher, take: Take
    ) -> None:
        await live.onlyfans.fault("server_error", endpoint="mass", count=1)
        assert not (await take.once()).done
        await self.grow_old(take, timedelta(seconds=40))
        assert not (await take.once()).done
        assert await take.calls() == 0
        await self.grow_old(take, timedelta(minutes=2))
        assert await take.until_done() == {S.SENT: 8}
        assert await take.calls() == 1

    async def test_does_not_end_before_it_can_no_longer_arrive(self, live: Launcher, take: Take) -> None:
        await live.onlyfans.fault("connection_reset", endpoint="mass", count=1)
        assert not (await take.once()).done
        cancelling = CampaignStatus.CANCELLING
        await take.ports.campaigns.set_status(take.record.campaign_id, cancelling, reason="", revision=9)
        # Longer than a message to one fan takes at most, and shorter than the platform takes for many.
        await self.grow_old(take, timedelta(seconds=40))
        waits = await take.once()
        assert (waits.done, waits.reason) == (False, "outcome_open")
        await self.grow_old(take, timedelta(minutes=2))
        assert await take.until_done() == {S.CANCELLED: 8}
        assert await take.calls() == 0

    async def grow_old(self, take: Take, age: timedelta) -> None:
        """Let the open call be so old."""
        first = await take.message((await take.fans())[0])
        old = datetime.now(UTC) - age
        slot = Slot(lease_id="", account_id=take.account, counts_at_us=0)
        before = first.model_copy(update={"attempts": first.attempts - 1})
        await take.ports.messages.settle(
            [
                Outcome(
                    attempt=Attempt(message=before, slot=slot),
                    status=S.SENDING,
                    reason=first.reason,
                    attempts=first.attempts,
                    failures=first.failures,
                    at=old,
                )
            ]
        )
