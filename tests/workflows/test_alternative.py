"""Deadlines: queue, delay, and then the alternative action, with every recipient at exactly one end."""

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.alternative import AlternativeTaken, TakeAlternative
from activities.withdrawal import Withdraw, Withdrawn
from adapters.temporal import TemporalSendQueues
from domain.alternative import DEADLINE, MASS_MESSAGE, SAVED, AlternativeAction
from domain.campaign import CampaignRecord, CampaignStatus, mass_message_key
from domain.compliance import ComplianceReport
from domain.delivery import (
    AccountControl,
    AccountState,
    Attempt,
    Delivered,
    Message,
    MessageOrigin,
    MessageReview,
    MessageStatus,
    Outcome,
    message_id,
)
from domain.ports import MessageStore
from domain.progress import WorkflowResult
from domain.rate_limit import AccountLimits, Cap, LimitPolicy, Slot, fan_windows, recipient_windows
from domain.review import EditRequest, ReviewDecision, edited
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound
from tests.domain.builders import a_message
from tests.workflows.launcher import Handle, Launcher, intent, progress_until
from worker import activities
from workflows.campaign import CampaignWorkflow
from workflows.policies import DELIVERY, ORCHESTRATION

S = MessageStatus
TEXT = "Hello everybody, the new set is here."
MASS = {"onDeadline": "mass_message", "alternativeText": TEXT}
PASSED = timedelta(seconds=-1)
HALF_AN_HOUR = timedelta(minutes=30)
"""Deadlines are moments of the clock on the wall, which goes on while a busy machine prepares a campaign."""


def delivery(deadline: timedelta, **terms: Any) -> dict[str, Any]:
    return {"deadline": (datetime.now(UTC) + deadline).isoformat(), **terms}


async def unhurried(launcher: Launcher, *sizes: int, **changes: Any) -> tuple[CampaignRecord, Handle]:
    """A campaign whose accounts send ten messages an hour: whether a page is late is no matter of seconds."""
    record = await launcher.store(intent(*sizes, **changes))
    for lane in record.lanes:
        ten = AccountLimits(account_id=lane.account_id, account=(Cap(limit=10, seconds=3_600),), revision=1)
        assert await launcher.ports.accounts.put_limits(ten)
    return record, await launcher.start(record)


async def control(launcher: Launcher, account: str, state: AccountState, revision: int) -> None:
    changed = AccountControl(account_id=account, state=state, reason="holiday", revision=revision)
    assert await launcher.ports.accounts.put_control(changed)


async def until_stored(launcher: Launcher, record: CampaignRecord, status: MessageStatus, number: int) -> None:
    """Until so many messages are there; the test's time-out ends the wait."""
    while (await launcher.counts(record)).get(status, 0) != number:
        await asyncio.sleep(0.05)


async def mass_messages(launcher: Launcher) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await launcher.onlyfans.get("messages"))["mass_messages"]
    return found


async def reasons(launcher: Launcher, record: CampaignRecord) -> Counter[tuple[MessageStatus, str]]:
    return Counter((message.status, message.reason) for message in await launcher.messages(record))


async def nobody_got_two(launcher: Launcher, record: CampaignRecord) -> bool:
    """Whether each chat that got something got one message, and as many did as the store calls sent."""
    account = record.lanes[0].account_id
    chats = (await launcher.onlyfans.get("received", account=account))["received"].get(account, {})
    sent = (await launcher.counts(record)).get(S.SENT, 0)
    return len(chats) == sent and all(len(copies) == 1 for copies in chats.values())


class TestLatePages:
    async def test_a_mass_message_reaches_everybody_behind_the_first_late_page(self, launcher: Launcher) -> None:
        record, handle = await unhurried(launcher, 20, delivery=delivery(HALF_AN_HOUR, **MASS))
        result = await handle.result()
        assert result.outcomes == {S.SENT: 20}
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SENT, MASS_MESSAGE): 14}
        account = record.lanes[0].account_id
        [mass] = await mass_messages(launcher)
        assert (mass["account"], mass["text"], len(mass["copies"])) == (account, TEXT, 14)
        assert mass["idempotency_key"] == str(mass_message_key(record.campaign_id, account))
        assert await nobody_got_two(launcher, record)
        late = [message for message in await launcher.messages(record) if message.reason == MASS_MESSAGE]
        assert {message.platform_message_id for message in late} == {str(mass["mass_id"])}
        assert {message.origin.approved_by for message in late if message.origin} == {record.owner}

    async def test_the_result_says_what_was_chosen_for_which_account_and_why(self, launcher: Launcher) -> None:
        terms = delivery(HALF_AN_HOUR, **MASS)
        record, handle = await unhurried(launcher, 20, 3, delivery=terms)
        [alternative] = (await handle.result()).alternatives
        busy = max(record.lanes, key=lambda lane: lane.audience)
        assert alternative.account_id == busy.account_id
        assert (alternative.action, alternative.recipients) == (AlternativeAction.MASS_MESSAGE, 14)
        deadline = datetime.fromisoformat(terms["deadline"]).isoformat(timespec="seconds").removesuffix("+00:00")
        assert alternative.reason.startswith("deadline: eta 20")
        assert alternative.reason.endswith(f"after deadline {deadline}Z")
        progress = await handle.query(CampaignWorkflow.progress)
        assert [account.alternative for account in progress.accounts if account.alternative] == [alternative]

    async def test_it_queues_and_waits_as_long_as_that_is_in_time(self, launcher: Launcher) -> None:
        record, handle = await unhurried(launcher, 30, delivery=delivery(3 * HALF_AN_HOUR, **MASS))
        result = await handle.result()
        found = await reasons(launcher, record)
        # More than an hour admits, and not everybody.
        assert 10 < found[S.SENT, ""] < 30
        assert found == {(S.SENT, ""): found[S.SENT, ""], (S.SENT, MASS_MESSAGE): 30 - found[S.SENT, ""]}
        assert [alternative.recipients for alternative in result.alternatives] == [found[S.SENT, MASS_MESSAGE]]
        assert await nobody_got_two(launcher, record)

    async def test_a_campaign_that_is_in_time_takes_no_alternative(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(14, delivery=delivery(timedelta(hours=5), **MASS))
        result = await handle.result()
        assert (result.outcomes, result.alternatives) == ({S.SENT: 14}, ())
        assert await mass_messages(launcher) == []

    async def test_saved_for_later_is_kept_at_the_platform_and_reaches_nobody(self, launcher: Launcher) -> None:
        terms = delivery(HALF_AN_HOUR, onDeadline="save_for_later", alternativeText=TEXT)
        record, handle = await unhurried(launcher, 20, delivery=terms)
        assert (await handle.result()).outcomes == {S.SENT: 6, S.SKIPPED: 14}
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SKIPPED, SAVED): 14}
        [mass] = await mass_messages(launcher)
        assert (len(mass["copies"]), set(mass["copies"].values())) == (14, {None})
        assert await nobody_got_two(launcher, record)

    async def test_skipped_recipients_get_nothing(self, launcher: Launcher) -> None:
        record, handle = await unhurried(launcher, 20, delivery=delivery(HALF_AN_HOUR, onDeadline="skip"))
        assert (await handle.result()).outcomes == {S.SENT: 6, S.SKIPPED: 14}
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SKIPPED, DEADLINE): 14}
        assert await mass_messages(launcher) == []


class TestUnsentAtTheDeadline:
    """Who was drafted, approved or queued by then, and not sent."""

    async def waiting_for_reviewers(self, launcher: Launcher, **terms: Any) -> tuple[CampaignRecord, Handle]:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(20, compliance="strict", delivery=delivery(HALF_AN_HOUR, **terms))
            await progress_until(handle, lambda seen: seen.awaiting_review == 12)
        return record, handle

    async def test_drafts_that_nobody_approved_get_the_mass_message(self, launcher: Launcher) -> None:
        record, handle = await self.waiting_for_reviewers(launcher, **MASS)
        result = await handle.result()
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 20}
        [mass] = await mass_messages(launcher)
        assert len(mass["copies"]) == 20
        assert await nobody_got_two(launcher, record)
        [alternative] = result.alternatives
        assert alternative.recipients == 20
        assert alternative.reason.startswith("deadline: not sent by 20")

    async def test_what_was_written_for_them_is_kept_with_the_reason(self, launcher: Launcher) -> None:
        record, handle = await self.waiting_for_reviewers(launcher, **MASS)
        [alternative] = (await handle.result()).alternatives
        written = [message for message in await launcher.messages(record) if message.earlier]
        assert len(written) == 12
        for message in written:
            [own] = message.earlier
            assert own.text
            assert own.text != message.text == TEXT
            assert (own.replaced_by, own.comment) == (MASS_MESSAGE, alternative.reason)

    async def test_what_was_sent_before_stays_and_the_rest_is_withdrawn(self, launcher: Launcher) -> None:
        record, handle = await self.waiting_for_reviewers(launcher, **MASS)
        with launcher.env.auto_time_skipping_disabled():
            progress = await handle.query(CampaignWorkflow.progress)
            await handle.signal("approve", ReviewDecision(pages=(progress.pending_reviews[0],)))
            await progress_until(handle, lambda seen: seen.sent == 6)
        result = await handle.result()
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SENT, MASS_MESSAGE): 14}
        assert [alternative.recipients for alternative in result.alternatives] == [14]
        assert await nobody_got_two(launcher, record)

    @pytest.mark.parametrize(
        ("terms", "reason"),
        [({"onDeadline": "skip"}, DEADLINE), ({"onDeadline": "save_for_later", "alternativeText": TEXT}, SAVED)],
    )
    async def test_other_actions_end_drafts_as_well(
        self, launcher: Launcher, terms: dict[str, str], reason: str
    ) -> None:
        record, handle = await self.waiting_for_reviewers(launcher, **terms)
        assert (await handle.result()).outcomes == {S.SKIPPED: 20}
        assert await reasons(launcher, record) == {(S.SKIPPED, reason): 20}

    async def test_a_whole_campaign_that_was_drafted_is_late_as_well(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(8, compliance="strict", delivery=delivery(HALF_AN_HOUR, **MASS))
            await progress_until(handle, lambda seen: seen.awaiting_review == 8)
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 8}

    async def test_a_cancellation_before_the_deadline_cancels_drafts_and_undrafted(self, launcher: Launcher) -> None:
        record, handle = await self.waiting_for_reviewers(launcher, **MASS)
        await handle.signal("cancel")
        assert (await handle.result()).outcomes == {S.CANCELLED: 20}
        assert await mass_messages(launcher) == []
        assert len(await launcher.messages(record)) == 20

    async def test_a_queue_that_stands_still_sends_none_of_them_when_it_goes_on(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(20, delivery=delivery(HALF_AN_HOUR, **MASS)))
        account = record.lanes[0].account_id
        queues = TemporalSendQueues(launcher.env.client, ORCHESTRATION)
        with launcher.env.auto_time_skipping_disabled():
            await control(launcher, account, AccountState.PAUSED, 1)
            handle = await launcher.start(record)
            await progress_until(handle, lambda seen: seen.queued == 12)
        await launcher.env.sleep(HALF_AN_HOUR + timedelta(minutes=1))
        with launcher.env.auto_time_skipping_disabled():
            await until_stored(launcher, record, S.SENDING, 12)
            await control(launcher, account, AccountState.ACTIVE, 2)
            # The queue is faster than the alternative, which looks again after some minutes.
            await queues.wake(account)
        result = await handle.result()
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 20}
        assert [alternative.recipients for alternative in result.alternatives] == [20]
        assert len(await mass_messages(launcher)) == 1
        assert await nobody_got_two(launcher, record)

    async def all_wait_for_reviewers(self, launcher: Launcher) -> tuple[CampaignRecord, Handle]:
        """Every page is drafted, nothing is in the queue."""
        record, handle = await launcher.campaign(8, compliance="strict", delivery=delivery(HALF_AN_HOUR, **MASS))
        await progress_until(handle, lambda seen: seen.awaiting_review == 8)
        return record, handle

    async def test_a_pause_before_the_call_loses_nobody(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await self.all_wait_for_reviewers(launcher)
            await control(launcher, record.lanes[0].account_id, AccountState.PAUSED, 1)
        await launcher.env.sleep(HALF_AN_HOUR + timedelta(minutes=1))
        with launcher.env.auto_time_skipping_disabled():
            await until_stored(launcher, record, S.SENDING, 8)
            await handle.signal("pause")
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        await launcher.env.sleep(timedelta(hours=1))
        with launcher.env.auto_time_skipping_disabled():
            await control(launcher, record.lanes[0].account_id, AccountState.ACTIVE, 2)
            await handle.signal("resume")
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 8}

    async def test_a_campaign_that_is_paused_at_the_deadline_sends_nothing_late(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await self.all_wait_for_reviewers(launcher)
            await handle.signal("pause")
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        await launcher.env.sleep(HALF_AN_HOUR + timedelta(minutes=1))
        with launcher.env.auto_time_skipping_disabled():
            await until_stored(launcher, record, S.SENDING, 8)
            assert await mass_messages(launcher) == []
            await handle.signal("resume")
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 8}

    async def test_a_page_that_its_queue_does_not_take_is_late_as_well(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(8, delivery=delivery(HALF_AN_HOUR, **MASS)))
        await control(launcher, record.lanes[0].account_id, AccountState.DRAINING, 1)
        handle = await launcher.start(record)
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 8}


class TestTheOneCall:
    async def late(self, launcher: Launcher) -> tuple[CampaignRecord, WorkflowResult]:
        record, handle = await launcher.campaign(8, delivery=delivery(PASSED, **MASS))
        return record, await handle.result()

    @pytest.mark.parametrize(
        ("fault", "rule"),
        [
            ("connection_reset", {"after_accept": True}),
            ("connection_reset", {}),
            ("rate_limited", {"retry_after_s": 2}),
        ],
    )
    async def test_is_repeated_until_it_is_known_to_have_been_made_once(
        self, launcher: Launcher, fault: str, rule: dict[str, Any]
    ) -> None:
        await launcher.onlyfans.fault(fault, endpoint="mass", count=1, **rule)
        record, result = await self.late(launcher)
        assert result.outcomes == {S.SENT: 8}
        assert len(await mass_messages(launcher)) == 1
        assert await nobody_got_two(launcher, record)

    async def test_a_refusal_fails_all_its_recipients(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("banned_words", endpoint="mass", count=1)
        record, result = await self.late(launcher)
        assert result.outcomes == {S.FAILED: 8}
        assert await reasons(launcher, record) == {(S.FAILED, "banned_words"): 8}

    async def test_an_activity_that_runs_again_finds_everything_done(self, launcher: Launcher) -> None:
        record, result = await self.late(launcher)
        served = activities(launcher.ports, launcher.env.client, launcher.settings)[DELIVERY]
        [take] = [each for each in served if each.__name__ == "take"]
        request = TakeAlternative(
            campaign_id=record.campaign_id,
            account_id=record.lanes[0].account_id,
            from_page=0,
            pages=record.lanes[0].pages,
            action=AlternativeAction.MASS_MESSAGE,
        )
        again = await ActivityEnvironment().run(take, request)
        assert (again.done, again.counts) == (True, result.outcomes)
        assert len(await mass_messages(launcher)) == 1

    async def test_takes_one_slot_of_the_account(self, launcher: Launcher) -> None:
        record, _ = await self.late(launcher)
        slots = await launcher.ports.slots.slots(record.lanes[0].account_id, 0)
        assert [slot.message_type for slot in slots if "account" in slot.subjects] == [record.message_type]

    async def test_counts_for_every_fan_it_reaches_and_leaves_out_those_without_room(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(8, delivery=delivery(PASSED, **MASS)))
        account = record.lanes[0].account_id
        fans = [
            each.recipient_id
            for each in (await launcher.ports.campaigns.audience_page(record.campaign_id, account, 0)).recipients
        ]
        limits, limiter = launcher.settings.limit_policy, launcher.ports.limiter
        windows = {fan: recipient_windows(limits, AccountLimits(account_id=account), fan) for fan in fans}
        for fan in (fans[0], fans[3]):
            for _ in range(2):
                reserved = await limiter.reserve(account, windows[fan], lease_ms=600_000)
                assert reserved.granted
        handle = await launcher.start(record)
        assert (await handle.result()).outcomes == {S.SENT: 6, S.SKIPPED: 2}
        assert await reasons(launcher, record) == {(S.SENT, MASS_MESSAGE): 6, (S.SKIPPED, "rate_limit:recipient"): 2}
        [mass] = await mass_messages(launcher)
        assert {fans[0], fans[3]}.isdisjoint(mass["copies"])
        assert await nobody_got_two(launcher, record)
        used = await limiter.usage(account, [window for each in windows.values() for window in each])
        minute = {each.subject: each.used for each in used.windows if each.seconds == 60}
        assert minute == {f"recipient:{fan}": 2 if fan in {fans[0], fans[3]} else 1 for fan in fans}

    async def test_nobody_is_left_out_of_a_call_that_may_have_arrived(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("connection_reset", endpoint="mass", count=1, after_accept=True)
        record = await launcher.store(intent(8, delivery=delivery(PASSED, **MASS)))
        account = record.lanes[0].account_id
        # The first call has used up everybody's limit: the second one waits for all of them.
        one = AccountLimits(account_id=account, recipient=(Cap(limit=1, seconds=60),), revision=1)
        assert await launcher.ports.accounts.put_limits(one)
        handle = await launcher.start(record)
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert len(await mass_messages(launcher)) == 1
        assert await nobody_got_two(launcher, record)

    async def test_nobody_has_room_and_nothing_is_called(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(8, delivery=delivery(PASSED, **MASS)))
        account = record.lanes[0].account_id
        closed = AccountLimits(account_id=account, recipient=(Cap(limit=0, seconds=60),), revision=1)
        assert await launcher.ports.accounts.put_limits(closed)
        handle = await launcher.start(record)
        assert (await handle.result()).outcomes == {S.SKIPPED: 8}
        assert await mass_messages(launcher) == []

    async def test_goes_on_where_a_process_ended_that_had_stored_some_recipients(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(8, delivery=delivery(PASSED, **MASS)))
        account = record.lanes[0].account_id
        last = (await launcher.ports.campaigns.audience_page(record.campaign_id, account, 1)).recipients[-1]
        await launcher.ports.messages.create_many(
            [
                Message(
                    message_id=message_id(record.campaign_id, account, last.recipient_id),
                    campaign_id=record.campaign_id,
                    account_id=account,
                    recipient_id=last.recipient_id,
                    page=1,
                    message_type=record.message_type,
                    status=S.SENDING,
                    text=TEXT,
                    origin=MessageOrigin(
                        provider="caller", model="", prompt_version=MASS_MESSAGE, approved_by=record.owner
                    ),
                    updated_at=datetime.now(UTC),
                )
            ]
        )
        handle = await launcher.start(record)
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await nobody_got_two(launcher, record)

    async def test_is_not_made_for_a_paused_campaign_and_made_after_the_resume(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(8, delivery=delivery(PASSED, **MASS))
            await handle.signal("pause")
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        sent = len(await mass_messages(launcher))
        await launcher.env.sleep(timedelta(hours=1))
        assert len(await mass_messages(launcher)) == sent
        await handle.signal("resume")
        assert (await handle.result()).outcomes == {S.SENT: 8}
        assert await nobody_got_two(launcher, record)

    async def test_waits_for_a_paused_account_and_can_be_cancelled_meanwhile(self, live: Launcher) -> None:
        record = await live.store(intent(8, delivery=delivery(PASSED, **MASS)))
        account = record.lanes[0].account_id
        paused = AccountControl(account_id=account, state=AccountState.PAUSED, reason="holiday", revision=1)
        assert await live.ports.accounts.put_control(paused)
        handle = await live.start(record)
        progress = await progress_until(handle, lambda seen: seen.accounts[0].reason == "account:paused")
        assert progress.accounts[0].alternative is not None
        assert await live.counts(record) == {}
        await handle.signal("cancel")
        assert (await handle.result()).outcomes == {S.CANCELLED: 8}
        assert await mass_messages(live) == []
        assert {reason for _, reason in await reasons(live, record)} == {"campaign_cancelled"}


class Take:
    """The activity by itself: what one try after the other finds, on the real server's clock."""

    def __init__(self, live: Launcher, record: CampaignRecord) -> None:
        self.ports = live.ports
        self.record = record
        self.account = record.lanes[0].account_id
        self._live = live

    async def fans(self) -> list[str]:
        pages = [
            await self.ports.campaigns.audience_page(self.record.campaign_id, self.account, page)
            for page in range(self.record.lanes[0].pages)
        ]
        return [recipient.recipient_id for page in pages for recipient in page.recipients]

    def activity(self, name: str, **changes: Any) -> Any:
        """One of the worker's activities."""
        served = activities(replace(self.ports, **changes), self._live.env.client, self._live.settings)
        [found] = [each for each in (*served[DELIVERY], *served[ORCHESTRATION]) if each.__name__ == name]
        return found

    async def withdraw(self) -> Withdrawn:
        request = Withdraw(
            campaign_id=self.record.campaign_id,
            account_id=self.account,
            action=AlternativeAction.MASS_MESSAGE,
            why="deadline: not sent by then",
        )
        found: Withdrawn = await ActivityEnvironment().run(self.activity("withdraw"), request)
        return found

    async def once(self, *, withdrawn_from: int | None = None, **changes: Any) -> AlternativeTaken:
        """``withdrawn_from``: the first page that was not drafted when everything before it was withdrawn."""
        take = self.activity("take", **changes)
        request = TakeAlternative(
            campaign_id=self.record.campaign_id,
            account_id=self.account,
            from_page=withdrawn_from or 0,
            pages=self.record.lanes[0].pages,
            action=AlternativeAction.MASS_MESSAGE,
            withdrawn=withdrawn_from is not None,
            batches=(0,),
        )
        taken: AlternativeTaken = await ActivityEnvironment().run(take, request)
        return taken

    async def until_done(self) -> dict[MessageStatus, int]:
        """As the workflow does it, but not for ever."""
        for _ in range(5):
            taken = await self.once()
            if taken.done:
                return taken.counts
            await asyncio.sleep(taken.wait_ms / 1000)
        raise AssertionError(f"still at it: {taken}")

    async def message(self, fan: str) -> Message:
        key = message_id(self.record.campaign_id, self.account, fan)
        return (await self.ports.messages.get_many(self.record.campaign_id, [key]))[key]

    async def busy(self, fan: str) -> None:
        """Others use up the limits of a fan."""
        caps = (Cap(limit=10, seconds=60), Cap(limit=10, seconds=3_600))
        for _ in range(2):
            await self.ports.limiter.reserve_fans(self.account, [fan], caps, call=uuid4(), lease_ms=600_000)

    async def close(self) -> None:
        """From now on no fan may get anything."""
        closed = AccountLimits(account_id=self.account, recipient=(Cap(limit=0, seconds=60),), revision=1)
        assert await self.ports.accounts.put_limits(closed)

    async def calls(self) -> int:
        return len([mass for mass in await mass_messages(self._live) if mass["account"] == self.account])


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


class TestTimes:
    async def test_nothing_is_sent_before_its_time(self, launcher: Launcher) -> None:
        start = datetime.now(UTC) + timedelta(hours=2)
        _, handle = await launcher.campaign(8, delivery={"notBefore": start.isoformat()})
        assert (await handle.result()).outcomes == {S.SENT: 8}
        closed = (await handle.describe()).close_time
        assert closed is not None
        assert closed >= start

    async def test_nothing_is_written_for_a_campaign_that_has_expired(self, launcher: Launcher) -> None:
        expired = (datetime.now(UTC) + PASSED).isoformat()
        record, handle = await launcher.campaign(8, delivery={"expiresAt": expired})
        assert (await handle.result()).outcomes == {S.SKIPPED: 8}
        assert await reasons(launcher, record) == {(S.SKIPPED, "expired"): 8}
        assert not any(message.text for message in await launcher.messages(record))

    async def test_what_waits_too_long_in_the_queue_is_not_sent(self, live: Launcher) -> None:
        # Ten go at once; the others could go after a minute.
        expires = (datetime.now(UTC) + timedelta(seconds=25)).isoformat()
        record, handle = await live.campaign(12, delivery={"expiresAt": expires})
        assert (await handle.result()).outcomes == {S.SENT: 10, S.SKIPPED: 2}
        assert await reasons(live, record) == {(S.SENT, ""): 10, (S.SKIPPED, "expired"): 2}
