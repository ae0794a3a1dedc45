"""What is wished for through the API, and signals from elsewhere: nothing stays held by a wish that is over."""

from datetime import timedelta

import pytest

from domain.campaign import CampaignRecord, CampaignStatus, ControlRequest
from domain.delivery import MessageStatus, send_queue_id
from tests.workflows.launcher import Handle, Launcher, progress_until
from workflows.campaign import CampaignWorkflow
from workflows.delivery import SendQueueWorkflow

ALL_SENT = {MessageStatus.SENT: 7}


async def held(launcher: Launcher) -> tuple[CampaignRecord, Handle]:
    """A campaign that was paused through an API whose signal did not arrive, and whose messages are parked for it."""
    record, handle = await launcher.campaign(7, compliance="strict")
    with launcher.env.auto_time_skipping_disabled():
        await progress_until(handle, lambda seen: seen.awaiting_review == 7)
        assert await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.PAUSED) == 1
        await handle.signal(CampaignWorkflow.approve)
        await progress_until(handle, lambda seen: seen.queued == 7)
        queue = launcher.env.client.get_workflow_handle(send_queue_id(record.lanes[0].account_id))
        while not (await queue.query(SendQueueWorkflow.state)).paused_campaigns:
            await launcher.env.sleep(timedelta(seconds=1))
    assert (await launcher.onlyfans.get("report"))["totals"]["accepted"] == 0
    return record, handle


async def in_force(launcher: Launcher, record: CampaignRecord) -> CampaignStatus:
    gate = await launcher.ports.gate.read(record.lanes[0].account_id, [record.campaign_id])
    return gate.campaigns[record.campaign_id].status


class TestAWishWhoseSignalWasLost:
    async def test_is_over_when_a_signal_from_elsewhere_resumes_what_the_workflow_never_paused(
        self, launcher: Launcher
    ) -> None:
        _, handle = await held(launcher)
        await handle.signal("resume")
        assert (await handle.result()).outcomes == ALL_SENT

    async def test_is_over_when_the_next_one_resumes(self, launcher: Launcher) -> None:
        record, handle = await held(launcher)
        resume = await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.RUNNING)
        await handle.signal(CampaignWorkflow.resume, ControlRequest(wish=resume))
        assert (await handle.result()).outcomes == ALL_SENT

    async def test_stays_over_when_its_signal_arrives_after_all(self, launcher: Launcher) -> None:
        _, handle = await held(launcher)
        await handle.signal("pause")
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
            await handle.signal("resume")
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.RUNNING)
        await handle.signal(CampaignWorkflow.pause, ControlRequest(wish=1))
        assert (await handle.result()).outcomes == ALL_SENT

    async def test_of_a_cancellation_is_no_reason_to_ignore_the_signal(self, launcher: Launcher) -> None:
        record, handle = await held(launcher)
        cancel = await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.CANCELLING)
        await handle.signal("resume")
        await handle.signal(CampaignWorkflow.cancel, ControlRequest(wish=cancel))
        result = await handle.result()
        assert (result.status, result.outcomes) == (CampaignStatus.CANCELLED, {MessageStatus.CANCELLED: 7})


class TestOrder:
    @pytest.mark.parametrize("first", [1, 2])
    async def test_the_last_wish_counts_in_whatever_order_the_signals_arrive(
        self, launcher: Launcher, first: int
    ) -> None:
        record, handle = await held(launcher)
        assert await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.RUNNING) == 2
        signals = {1: CampaignWorkflow.pause, 2: CampaignWorkflow.resume}
        for wish in (first, 3 - first):
            await handle.signal(signals[wish], ControlRequest(wish=wish))
        assert (await handle.result()).outcomes == ALL_SENT

    async def test_a_pause_holds_although_an_older_answer_is_stored_after_it(self, launcher: Launcher) -> None:
        record, handle = await held(launcher)
        campaigns = launcher.ports.campaigns
        resume = await campaigns.want(record.campaign_id, CampaignStatus.RUNNING)
        pause = await campaigns.want(record.campaign_id, CampaignStatus.PAUSED)
        with launcher.env.auto_time_skipping_disabled():
            await handle.signal(CampaignWorkflow.resume, ControlRequest(wish=resume))
            while (found := await campaigns.get(record.campaign_id)) is not None and found.settled != resume:
                await launcher.env.sleep(timedelta(seconds=1))
            assert await in_force(launcher, record) is CampaignStatus.PAUSED
            await handle.signal(CampaignWorkflow.pause, ControlRequest(wish=pause))
            await progress_until(handle, lambda seen: seen.status is CampaignStatus.PAUSED)
        assert (await launcher.onlyfans.get("report"))["totals"]["accepted"] == 0
        await handle.signal("resume")
        assert (await handle.result()).outcomes == ALL_SENT

    async def test_a_pause_before_the_start_holds_until_somebody_resumes(self, launcher: Launcher) -> None:
        record, handle = await launcher.campaign(7, compliance="strict")
        pause = await launcher.ports.campaigns.want(record.campaign_id, CampaignStatus.PAUSED)
        with launcher.env.auto_time_skipping_disabled():
            await progress_until(handle, lambda seen: seen.awaiting_review == 7)
        assert await in_force(launcher, record) is CampaignStatus.PAUSED
        await handle.signal(CampaignWorkflow.approve)
        await handle.signal(CampaignWorkflow.pause, ControlRequest(wish=pause))
        await handle.signal(CampaignWorkflow.resume)
        assert (await handle.result()).outcomes == ALL_SENT
