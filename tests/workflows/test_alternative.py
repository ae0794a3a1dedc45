"""Deadlines: queue, delay, and then the alternative action, with every recipient at exactly one end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.alternative import TakeAlternative
from adapters.temporal import TemporalSendQueues
from domain.alternative import DEADLINE, MASS_MESSAGE, SAVED, AlternativeAction
from domain.campaign import CampaignRecord, CampaignStatus, mass_message_key
from domain.delivery import (
    AccountControl,
    AccountState,
    Message,
    MessageOrigin,
    message_id,
)
from domain.progress import WorkflowResult
from domain.rate_limit import AccountLimits, Cap, recipient_windows
from domain.review import ReviewDecision
from tests.workflows.late_campaigns import (
    HALF_AN_HOUR,
    MASS,
    PASSED,
    TEXT,
    S,
    control,
    delivery,
    mass_messages,
    nobody_got_two,
    reasons,
    unhurried,
    until_stored,
)
from tests.workflows.launcher import Handle, Launcher, intent, progress_until
from worker import activities
from workflows.campaign import CampaignWorkflow
from workflows.policies import DELIVERY, ORCHESTRATION


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
