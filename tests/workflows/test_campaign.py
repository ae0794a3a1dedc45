"""Campaigns from start to closing identity, with every kind of interference."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.campaign import StatusChange
from adapters.bootstrap import open_tables
from domain.alert import AlertKind, Severity
from domain.campaign import CampaignStatus, ControlRequest
from domain.delivery import AccountControl, AccountState, MessageStatus, send_queue_id
from domain.provider import Provider, ProviderUsed
from domain.review import PageKey, ReviewDecision
from tests.workflows.launcher import Launcher, intent, progress_until
from workflows import policies
from workflows.campaign import CampaignWorkflow


class TestACampaign:
    async def test_sends_every_recipient_exactly_once_within_the_limit(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(23, 4)
        result = await handle.result()
        assert result.status is CampaignStatus.COMPLETED
        assert result.outcomes == {MessageStatus.SENT: 27}
        assert result.provider is ProviderUsed.HYBRID
        report = await launcher.onlyfans.get("report")
        assert report["totals"]["accepted"] == 27
        assert report["totals"]["duplicate_count"] == 0
        assert await launcher.counts(record) == {MessageStatus.SENT: 27}

    async def test_waits_on_durable_timers_for_as_long_as_the_limit_binds(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(21)
        await handle.result()
        description = await handle.describe()
        assert description.close_time is not None
        waited = description.close_time - description.start_time
        assert timedelta(seconds=120) <= waited < timedelta(seconds=180)

    async def test_books_exactly_what_the_provider_billed(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(9)
        costs = (await handle.result()).detailed_costs
        book = await launcher.ai.get("usage")
        assert costs.input_tokens == sum(request["input_tokens"] for request in book["requests"])
        assert costs.output_tokens == sum(request["output_tokens"] for request in book["requests"])
        assert costs.total_cost_micros > 0

    async def test_drafts_at_most_one_page_ahead_of_the_queue(self, launcher: Launcher) -> None:
        page = launcher.settings.page_size
        with launcher.env.auto_time_skipping_disabled():
            _, handle = await launcher.campaign(8 * page)
            progress = await progress_until(handle, lambda seen: seen.sent == 10)
            assert progress.drafted <= 10 + 2 * page
            await handle.terminate()

    async def test_carries_its_state_through_continue_as_new(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(20, 14, pages_per_run=2)
        result = await handle.result()
        assert result.outcomes == {MessageStatus.SENT: 34}
        first = launcher.env.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
        assert await launcher.counts(record) == {MessageStatus.SENT: 34}
        assert (await launcher.onlyfans.get("report"))["totals"]["duplicate_count"] == 0

    async def test_the_result_says_how_much_the_tightest_account_may_still_send(self, live: Launcher) -> None:
        _, handle = await live.campaign(6, 2)
        limit = (await handle.result()).rate_limit_status
        assert limit is not None
        assert (limit.remaining, limit.throttled, limit.reset_time) == (4, False, None)

    @pytest.mark.parametrize(("priority", "key"), [("critical", 1), ("high", 2), ("medium", 3), ("low", 4)])
    async def test_owners_take_turns_in_drafting_and_urgent_campaigns_go_first(
        self, live: Launcher, priority: str, key: int
    ) -> None:
        record, handle = await live.campaign(1, priority=priority)
        await handle.result()
        scheduled = [
            event.activity_task_scheduled_event_attributes
            for event in (await handle.fetch_history()).events
            if event.HasField("activity_task_scheduled_event_attributes")
        ]
        drafting = [task.priority for task in scheduled if task.activity_type.name.startswith("provider.")]
        assert len(drafting) == 2
        assert {(each.priority_key, each.fairness_key) for each in drafting} == {(key, record.owner)}


class TestSteering:
    async def test_a_pause_stops_sending_and_a_resume_goes_on(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(12)
            await progress_until(handle, lambda seen: seen.sent == 10)
            await handle.signal("pause")
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        await launcher.env.sleep(timedelta(hours=3))
        progress = await handle.query(CampaignWorkflow.progress)
        assert (progress.sent, progress.queued) == (10, 2)
        await handle.signal("resume")
        result = await handle.result()
        assert result.outcomes == {MessageStatus.SENT: 12}
        assert await launcher.counts(record) == {MessageStatus.SENT: 12}

    async def test_each_change_of_the_status_is_newer_than_the_one_before(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            _, handle = await launcher.campaign(8, compliance="strict")
            await progress_until(handle, lambda seen: seen.awaiting_review == 8)
            for signal, status in (("pause", CampaignStatus.PAUSED), ("resume", CampaignStatus.RUNNING)) * 2:
                await handle.signal(signal)
                await progress_until(handle, lambda seen, status=status: seen.status is status)
            history = await handle.fetch_history()
            await handle.terminate()
        inputs = [
            event.activity_task_scheduled_event_attributes.input.payloads[0].data
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == "campaign.set_status"
        ]
        revisions = [StatusChange.model_validate_json(data).revision or 0 for data in inputs]
        assert len(revisions) == 5
        assert revisions == sorted(set(revisions))

    async def test_a_pause_before_the_first_message_holds_everything_back(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(7)
        await handle.signal(CampaignWorkflow.pause, ControlRequest(requested_by="ops", reason="wrong brief"))
        with launcher.env.auto_time_skipping_disabled():
            progress = await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        assert progress.reason == "wrong brief"
        sent = (await launcher.onlyfans.get("report"))["totals"]["accepted"]
        await launcher.env.sleep(timedelta(minutes=10))
        assert (await launcher.onlyfans.get("report"))["totals"]["accepted"] == sent
        await handle.signal(CampaignWorkflow.resume)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 7}
        assert await launcher.counts(record) == {MessageStatus.SENT: 7}

    async def test_a_cancellation_ends_everything_that_was_not_sent(self, live: Launcher) -> None:
        record, handle = await live.campaign(40)
        await progress_until(handle, lambda seen: seen.sent == 10)
        await handle.signal("cancel")
        result = await handle.result()
        assert result.status is CampaignStatus.CANCELLED
        assert result.outcomes == {MessageStatus.SENT: 10, MessageStatus.CANCELLED: 30}
        assert (await live.onlyfans.get("report"))["totals"]["accepted"] == 10
        assert await live.counts(record) == {MessageStatus.SENT: 10, MessageStatus.CANCELLED: 30}

    async def test_a_draining_account_takes_no_page_until_it_is_resumed(self, launcher: Launcher) -> None:
        record = await launcher.store(intent(7))
        account = record.lanes[0].account_id
        draining = AccountControl(account_id=account, state=AccountState.DRAINING, revision=1)
        assert await launcher.ports.accounts.put_control(draining)
        with launcher.env.auto_time_skipping_disabled():
            handle = await launcher.start(record)
            seen = await progress_until(handle, lambda seen: seen.accounts[0].reason == "account:draining")
            assert (seen.queued, seen.sent) == (0, 0)
            assert set(await launcher.counts(record)) == {MessageStatus.APPROVED}
        resumed = draining.model_copy(update={"state": AccountState.ACTIVE, "revision": 2})
        assert await launcher.ports.accounts.put_control(resumed)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 7}

    async def test_a_draining_account_holds_up_no_other_one(self, live: Launcher) -> None:
        """Not even when the history is handed on to the next run after each page."""
        record = await live.store(intent(3, 10))
        closed, free = (lane.account_id for lane in sorted(record.lanes, key=lambda lane: lane.audience))
        draining = AccountControl(account_id=closed, state=AccountState.DRAINING, revision=1)
        assert await live.ports.accounts.put_control(draining)
        handle = await live.start(record, pages_per_run=1)
        seen = await progress_until(handle, lambda seen: seen.sent == 10)
        assert {each.account_id: each.sent for each in seen.accounts} == {closed: 0, free: 10}
        await handle.terminate()

    async def test_a_cancellation_does_not_wait_for_a_draining_account(self, live: Launcher) -> None:
        record = await live.store(intent(7))
        draining = AccountControl(account_id=record.lanes[0].account_id, state=AccountState.DRAINING, revision=1)
        assert await live.ports.accounts.put_control(draining)
        handle = await live.start(record)
        await progress_until(handle, lambda seen: seen.accounts[0].reason == "account:draining")
        # Half of what the lane would wait before it asks the account again.
        async with asyncio.timeout(30):
            await handle.signal("cancel")
            assert (await handle.result()).outcomes == {MessageStatus.CANCELLED: 7}

    async def test_a_cancellation_during_an_outage_of_both_providers_ends_at_once(self, live: Launcher) -> None:
        await live.ai.fault("server_error")
        _, handle = await live.campaign(5)
        await progress_until(handle, lambda seen: seen.status is CampaignStatus.RUNNING)
        await handle.signal("cancel")
        result = await handle.result()
        assert result.outcomes == {MessageStatus.CANCELLED: 5}


class TestReview:
    async def test_a_strict_campaign_sends_nothing_before_it_is_approved(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(9, compliance="strict")
            progress = await progress_until(handle, lambda seen: seen.awaiting_review == 9)
        account = record.lanes[0].account_id
        waiting = [(page.account_id, page.page, page.awaiting, page.unwritten) for page in progress.pending_reviews]
        assert waiting == [(account, 0, 6, 0), (account, 1, 3, 0)]
        assert (await launcher.onlyfans.get("report"))["totals"]["accepted"] == 0
        await handle.signal("approve")
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 9}
        listing = await launcher.ports.messages.list(
            record.campaign_id, status=None, account_id=None, limit=20, cursor=None
        )
        assert {message.origin.approved_by for message in listing.messages if message.origin} == {"temporal-signal"}

    async def test_pages_are_decided_one_by_one(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(9, compliance="strict")
            await progress_until(handle, lambda seen: seen.awaiting_review == 9)
        first, second = (PageKey(account_id=record.lanes[0].account_id, page=page) for page in (0, 1))
        await handle.signal(CampaignWorkflow.reject, ReviewDecision(pages=(first,), decided_by="ana"))
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(pages=(second,), decided_by="ana"))
        result = await handle.result()
        assert result.outcomes == {MessageStatus.REJECTED: 6, MessageStatus.SENT: 3}

    async def test_an_approval_for_the_campaign_covers_the_pages_to_come(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(26, compliance="strict")
        await handle.signal(CampaignWorkflow.approve, ReviewDecision(scope="campaign", decided_by="ana"))
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 26}
        assert await launcher.counts(record) == {MessageStatus.SENT: 26}

    async def test_cancelling_ends_drafts_that_wait_for_review(self, live: Launcher) -> None:
        _, handle = await live.campaign(30, compliance="strict")
        await progress_until(handle, lambda seen: seen.awaiting_review > 0)
        await handle.signal("cancel")
        result = await handle.result()
        assert result.outcomes == {MessageStatus.CANCELLED: 30}


class TestFailures:
    async def test_an_outage_of_azure_falls_back_to_openai(self, launcher: Launcher) -> None:
        await launcher.ai.fault("server_error", dialect="azure", endpoint="chat", count=2)
        _, handle = await launcher.campaign(3)
        result = await handle.result()
        (step,) = result.fallback_history
        assert (step.from_provider, step.to, step.reason, step.purpose) == (
            Provider.AZURE,
            "openai/gpt-4o-mini",
            "transient",
            "plan",
        )
        assert result.provider is ProviderUsed.OPENAI
        assert result.outcomes == {MessageStatus.SENT: 3}

    async def test_an_outage_of_both_providers_is_waited_out(self, launcher: Launcher) -> None:
        await launcher.ai.fault("server_error", count=6)
        _, handle = await launcher.campaign(3)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 3}

    async def test_a_refusal_on_content_policy_goes_to_a_person_and_is_not_shopped_around(self, live: Launcher) -> None:
        await live.ai.fault("content_filter", dialect="openai")
        record, handle = await live.campaign(3)
        await progress_until(handle, lambda seen: seen.awaiting_review == 3)
        listing = await live.ports.messages.list(
            record.campaign_id, status=None, account_id=None, limit=10, cursor=None
        )
        assert {message.reason for message in listing.messages} == {"manual_review:content_policy"}
        await handle.signal(CampaignWorkflow.reject, ReviewDecision(decided_by="ana"))
        result = await handle.result()
        assert result.outcomes == {MessageStatus.REJECTED: 3}
        assert [step.to for step in result.fallback_history] == ["rewrite", "none", "review"]

    async def test_answers_that_were_lost_on_the_way_are_not_sent_twice(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("accept_then_timeout", count=3, hang_s=0)
        record, handle = await launcher.campaign(6)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 6}
        totals = (await launcher.onlyfans.get("report"))["totals"]
        assert (totals["accepted"], totals["duplicate_count"]) == (6, 0)
        assert await launcher.counts(record) == {MessageStatus.SENT: 6}

    async def test_server_errors_and_resets_are_repeated_until_the_message_is_sent(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("server_error", count=3)
        await launcher.onlyfans.fault("connection_reset", count=2)
        _, handle = await launcher.campaign(5)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 5}
        assert (await launcher.onlyfans.get("report"))["totals"]["duplicate_count"] == 0

    async def test_throttling_by_the_platform_holds_the_account(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("rate_limited", count=1, retry_after_s=2)
        _, handle = await launcher.campaign(4)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 4}

    async def test_banned_words_fail_the_message_and_nothing_else(self, launcher: Launcher) -> None:
        await launcher.onlyfans.fault("banned_words", count=1)
        _, handle = await launcher.campaign(4)
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 3, MessageStatus.FAILED: 1}

    async def test_a_cost_limit_stops_the_drafting(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(30, maxCost="0.021", onBudget="stop", preferredProvider="azure")
        result = await handle.result()
        assert result.status is CampaignStatus.COMPLETED
        assert result.reason == "cost_limit_exceeded"
        assert result.outcomes[MessageStatus.SKIPPED] + result.outcomes[MessageStatus.SENT] == 30
        assert result.detailed_costs.total_cost_micros <= 21_000

    async def test_a_cost_limit_that_not_even_the_plan_fits_in_sends_nothing(self, launcher: Launcher) -> None:
        _, handle = await launcher.campaign(3, maxCost="0.000001", brief=f"Nobody has planned this: {uuid4()}")
        result = await handle.result()
        assert (result.reason, result.detailed_costs.total_cost_micros) == ("cost_limit_exceeded", 0)
        assert result.outcomes == {MessageStatus.SKIPPED: 3}

    async def test_a_campaign_whose_messages_vanish_is_never_called_completed(self, launcher: Launcher) -> None:
        with launcher.env.auto_time_skipping_disabled():
            record, handle = await launcher.campaign(12)
            await progress_until(handle, lambda seen: seen.sent == 10)
            listing = await launcher.ports.messages.list(
                record.campaign_id, status=MessageStatus.QUEUED, account_id=None, limit=10, cursor=None
            )
            async with open_tables(launcher.settings) as tables:
                for message in listing.messages:
                    key = {"campaignId": {"S": record.campaign_id}, "messageId": {"S": str(message.message_id)}}
                    await tables.call(tables.client.delete_item, TableName=tables.table("messages"), Key=key)
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert isinstance(failure.value.cause, ApplicationError)
        assert failure.value.cause.type == "closing_identity_violated"
        stored = await launcher.ports.campaigns.get(record.campaign_id)
        assert stored is not None
        assert (stored.status, stored.status_reason) == (CampaignStatus.FAILED, "closing_identity_violated")
        raised = await launcher.ports.alerts.since(stored.created_at)
        [alert] = [alert for alert in raised if alert.kind is AlertKind.CLOSING_IDENTITY_VIOLATED]
        assert record.campaign_id in alert.detail
        assert alert.severity is Severity.CRITICAL

    async def test_messages_of_a_terminated_queue_are_brought_back(
        self, live: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On the real server: the other one never skips time again after an activity whose workflow is no more."""
        monkeypatch.setattr(policies, "RESYNC_AFTER", timedelta(seconds=3))
        record = await live.store(intent(4))
        account = record.lanes[0].account_id
        paused = AccountControl(account_id=account, state=AccountState.PAUSED, revision=1)
        assert await live.ports.accounts.put_control(paused)
        handle = await live.start(record)
        await progress_until(handle, lambda seen: seen.queued == 4)
        await live.env.client.get_workflow_handle(send_queue_id(account)).terminate("an operator's mistake")
        assert await live.ports.accounts.put_control(
            paused.model_copy(update={"state": AccountState.ACTIVE, "revision": 2})
        )
        assert (await handle.result()).outcomes == {MessageStatus.SENT: 4}
        assert (await live.onlyfans.get("report"))["totals"]["duplicate_count"] == 0


@pytest.mark.parametrize("signal", ["pause", "resume", "cancel", "approve", "reject"])
async def test_signals_work_without_an_argument(launcher: Launcher, signal: str) -> None:
    with launcher.env.auto_time_skipping_disabled():
        _, handle = await launcher.campaign(2, compliance="strict")
        await progress_until(handle, lambda seen: seen.awaiting_review == 2)
        await handle.signal(signal)
        await handle.query(CampaignWorkflow.progress)
        await handle.terminate()


class TestEndedFromOutside:
    async def test_temporals_own_cancellation_ends_every_recipient(self, live: Launcher) -> None:
        record, handle = await live.campaign(14)
        await progress_until(handle, lambda seen: seen.sent == 10)
        await handle.cancel()
        result = await handle.result()
        assert result.status is CampaignStatus.CANCELLED
        assert result.outcomes == {MessageStatus.SENT: 10, MessageStatus.CANCELLED: 4}
        assert await live.counts(record) == {MessageStatus.SENT: 10, MessageStatus.CANCELLED: 4}
