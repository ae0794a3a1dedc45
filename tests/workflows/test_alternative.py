"""Deadlines: queue, delay, and then the alternative action, with every recipient at exactly one end."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.alternative import TakeAlternative
from domain.alternative import DEADLINE, MASS_MESSAGE, SAVED, AlternativeAction
from domain.campaign import CampaignRecord, CampaignStatus, mass_message_key
from domain.delivery import AccountControl, AccountState, Message, MessageOrigin, MessageStatus, message_id
from domain.progress import WorkflowResult
from domain.rate_limit import AccountLimits, Cap, recipient_windows
from tests.workflows.launcher import Launcher, intent, progress_until
from worker import activities
from workflows.campaign import CampaignWorkflow
from workflows.policies import DELIVERY

S = MessageStatus
TEXT = "Hello everybody, the new set is here."
MASS = {"onDeadline": "mass_message", "alternativeText": TEXT}
PASSED = timedelta(seconds=-1)


def delivery(deadline: timedelta, **terms: Any) -> dict[str, Any]:
    return {"deadline": (datetime.now(UTC) + deadline).isoformat(), **terms}


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
        record, handle = await launcher.campaign(20, delivery=delivery(timedelta(seconds=30), **MASS))
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
        terms = delivery(timedelta(seconds=30), **MASS)
        record, handle = await launcher.campaign(20, 3, delivery=terms)
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
        record, handle = await launcher.campaign(30, delivery=delivery(timedelta(seconds=90), **MASS))
        result = await handle.result()
        assert await reasons(launcher, record) == {(S.SENT, ""): 18, (S.SENT, MASS_MESSAGE): 12}
        assert [alternative.recipients for alternative in result.alternatives] == [12]
        assert await nobody_got_two(launcher, record)

    async def test_a_campaign_that_is_in_time_takes_no_alternative(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(14, delivery=delivery(timedelta(hours=1), **MASS))
        result = await handle.result()
        assert (result.outcomes, result.alternatives) == ({S.SENT: 14}, ())
        assert await mass_messages(launcher) == []

    async def test_saved_for_later_is_kept_at_the_platform_and_reaches_nobody(self, launcher: Launcher) -> None:
        terms = delivery(timedelta(seconds=30), onDeadline="save_for_later", alternativeText=TEXT)
        record, handle = await launcher.campaign(20, delivery=terms)
        assert (await handle.result()).outcomes == {S.SENT: 6, S.SKIPPED: 14}
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SKIPPED, SAVED): 14}
        [mass] = await mass_messages(launcher)
        assert (len(mass["copies"]), set(mass["copies"].values())) == (14, {None})
        assert await nobody_got_two(launcher, record)

    async def test_skipped_recipients_get_nothing(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(20, delivery=delivery(timedelta(seconds=30), onDeadline="skip"))
        assert (await handle.result()).outcomes == {S.SENT: 6, S.SKIPPED: 14}
        assert await reasons(launcher, record) == {(S.SENT, ""): 6, (S.SKIPPED, DEADLINE): 14}
        assert await mass_messages(launcher) == []

    async def test_a_deadline_that_passes_while_reviewers_are_waited_for_takes_what_was_not_drafted(
        self, launcher: Launcher
    ) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(
                20, compliance="strict", delivery=delivery(timedelta(minutes=10), **MASS)
            )
            await progress_until(handle, lambda seen: seen.awaiting_review == 12)
        await launcher.env.sleep(timedelta(minutes=11))
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: seen.sent == 8)
            await handle.signal("approve")
        assert (await handle.result()).outcomes == {S.SENT: 20}
        assert await reasons(launcher, record) == {(S.SENT, ""): 12, (S.SENT, MASS_MESSAGE): 8}


class TestTheOneCall:
    async def late(self, launcher: Launcher) -> tuple[CampaignRecord, WorkflowResult]:
        record, handle = await launcher.campaign(8, delivery=delivery(PASSED, **MASS))
        return record, await handle.result()

    @pytest.mark.parametrize(
        ("fault", "rule"),
        [
            ("connection_reset", {"after_accept": True}),
            ("connection_reset", {}),
            ("server_error", {}),
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
        expires = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
        record, handle = await live.campaign(12, delivery={"expiresAt": expires})
        assert (await handle.result()).outcomes == {S.SENT: 10, S.SKIPPED: 2}
        assert await reasons(live, record) == {(S.SENT, ""): 10, (S.SKIPPED, "expired"): 2}
