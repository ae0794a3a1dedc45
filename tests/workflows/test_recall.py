"""Recalling: nothing further is sent, what is young enough is taken back, and the rest is named."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio import activity
from temporalio.worker import Worker

from activities.recall import Stopped, Unsend
from domain.alert import AlertKind
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import MessageStatus
from domain.recall import WINDOW_OVER, NotRecalled, RecallInput, RecallReport, recall_workflow_id
from local.time_skipping import time_skipping
from tests.domain.builders import a_message
from tests.workflows.launcher import Launcher, intent, progress_until
from workflows.policies import DELIVERY, ORCHESTRATION
from workflows.recall import PASSES_PER_RUN, RecallWorkflow

S = MessageStatus


async def unsent(launcher: Launcher) -> int:
    count: int = (await launcher.onlyfans.get("report"))["totals"]["unsent"]
    return count


async def stored(launcher: Launcher, campaign: CampaignStatus, **message: Any) -> CampaignRecord:
    """A request with one message that no workflow steers, as a single message is."""
    record = await launcher.store(intent(1))
    await launcher.ports.campaigns.set_status(record.campaign_id, campaign, "")
    await launcher.ports.messages.create_many(
        [a_message(record.campaign_id, "1000", account_id=record.lanes[0].account_id, **message)]
    )
    return record


class TestARunningCampaign:
    async def test_is_cancelled_and_what_was_sent_is_taken_back(self, live: Launcher) -> None:
        record, handle = await live.campaign(14)
        await progress_until(handle, lambda seen: seen.sent == 10)
        report = await live.recall(record.campaign_id)
        assert (report.recalled, report.cancelled, report.late, report.failed) == (10, 4, (), ())
        assert report.complete
        assert await live.counts(record) == {S.RECALLED: 10, S.CANCELLED: 4}
        assert await unsent(live) == 10
        result = await handle.result()
        assert result.status is CampaignStatus.CANCELLED

    async def test_a_message_that_was_in_flight_is_taken_back_too(self, live: Launcher) -> None:
        await live.onlyfans.fault("latency", latency_ms=3_000)
        record, handle = await live.campaign(3)
        await progress_until(handle, lambda seen: seen.queued == 3)
        report = await live.recall(record.campaign_id)
        assert report.complete
        assert report.recalled + report.cancelled == 3
        received = (await live.onlyfans.get("received"))["received"]
        assert all(copy["unsent"] for chats in received.values() for copies in chats.values() for copy in copies)


class TestAfterTheEnd:
    async def test_a_second_recall_finds_the_first_ones_work_and_does_nothing(self, live: Launcher) -> None:
        record, handle = await live.campaign(3)
        await handle.result()
        first = await live.recall(record.campaign_id)
        assert (first.recalled, first.complete) == (3, True)
        assert await live.recall(record.campaign_id) == first
        assert await unsent(live) == 3

    async def test_a_message_that_is_too_old_is_named(self, live: Launcher) -> None:
        old = datetime.now(UTC) - timedelta(seconds=200)
        record = await stored(
            live, CampaignStatus.COMPLETED, status=S.SENT, platform_message_id="1", sent_at=old, cancel_seconds=119
        )
        report = await live.recall(record.campaign_id)
        [late] = report.late
        assert (late.account_id, late.reason) == (record.lanes[0].account_id, WINDOW_OVER)
        assert (report.recalled, report.late_count, report.complete) == (0, 1, True)

    async def test_a_refusal_is_named_with_its_reason(self, live: Launcher) -> None:
        record, handle = await live.campaign(2)
        await handle.result()
        await live.onlyfans.fault("banned_words", endpoint="unsend", chat_id="1000")
        report = await live.recall(record.campaign_id)
        assert (report.recalled, [entry.reason for entry in report.failed]) == (1, ["banned_words"])
        assert await live.counts(record) == {S.RECALLED: 1, S.SENT: 1}

    async def test_trouble_on_the_way_is_overcome(self, live: Launcher) -> None:
        record, handle = await live.campaign(2)
        await handle.result()
        await live.onlyfans.fault("server_error", endpoint="unsend", count=1)
        assert (await live.recall(record.campaign_id)).recalled == 2

    async def test_a_429_holds_the_account_and_is_a_violation(self, live: Launcher) -> None:
        record, handle = await live.campaign(2)
        await handle.result()
        account = record.lanes[0].account_id
        await live.onlyfans.fault("rate_limited", endpoint="unsend", count=1, retry_after_s=2)
        assert (await live.recall(record.campaign_id)).recalled == 2
        since = datetime.now(UTC) - timedelta(hours=1)
        [alert] = await live.ports.alerts.since(since, account_id=account)
        assert alert.kind is AlertKind.RATE_LIMIT_VIOLATION
        held = [slot.hold for slot in await live.ports.slots.slots(account, 0) if slot.hold]
        assert held == ["throttled"]


class TestWithoutAWorkflow:
    @pytest.mark.parametrize("status", [S.DRAFTED, S.APPROVED, S.QUEUED])
    async def test_a_message_that_was_not_sent_is_cancelled(self, live: Launcher, status: MessageStatus) -> None:
        record = await stored(live, CampaignStatus.RUNNING, status=status)
        report = await live.recall(record.campaign_id)
        assert (report.cancelled, report.complete) == (1, True)
        assert await live.counts(record) == {S.CANCELLED: 1}
        found = await live.ports.campaigns.get(record.campaign_id)
        assert found is not None
        assert found.status is CampaignStatus.CANCELLED


class TestPasses:
    async def test_go_on_every_minute_until_the_last_outcome_is_known(self) -> None:
        """More of them than one run makes, so the report travels to the next run."""
        asked: list[tuple[datetime, set[UUID]]] = []
        refused, last = NotRecalled(message_id=uuid4(), account_id="acct_luna", reason="auth"), PASSES_PER_RUN + 20

        @activity.defn(name="recall.stop")
        async def stop(_request: RecallInput) -> Stopped:
            return Stopped(account_ids=())

        @activity.defn(name="recall.unsend")
        async def unsend(request: Unsend) -> RecallReport:
            asked.append((activity.info().started_time, set(request.refusals)))
            return RecallReport(campaign_id=request.campaign_id, failed=(refused,), complete=len(asked) == last)

        async with time_skipping() as env:
            recalling = Worker(env.client, task_queue=ORCHESTRATION, workflows=[RecallWorkflow])
            async with recalling, Worker(env.client, task_queue=DELIVERY, activities=[stop, unsend]):
                campaign = str(uuid4())
                report: RecallReport = await env.client.execute_workflow(
                    RecallWorkflow.run,
                    RecallInput(campaign_id=campaign),
                    id=recall_workflow_id(campaign),
                    task_queue=ORCHESTRATION,
                )
        assert (report.complete, report.failed, len(asked)) == (True, (refused,), last)
        assert [refusals for _, refusals in asked] == [set(), *[{refused.message_id}] * (last - 1)]
        pauses = [later - earlier for (earlier, _), (later, _) in pairwise(asked)]
        # A minute, and what the server needs to start an activity.
        assert max(pauses) < timedelta(seconds=90)
