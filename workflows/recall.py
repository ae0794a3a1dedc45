"""Undoing a campaign: cancel it, take back what can be, and say what could not be."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.recall import RecallActivities, Unsend
    from domain.campaign import ControlRequest, campaign_workflow_id
    from domain.delivery import send_queue_id
    from domain.recall import RecallInput, RecallReport
    from workflows import policies

FIRST_LOOK = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
"""Half of the platform's usual window: whatever is sent meanwhile is still found in time."""

PASSES_PER_RUN = 100
GIVE_UP_AFTER = timedelta(hours=24)
"""A message whose outcome is still open by then has long been too old to be taken back."""


@workflow.defn
class RecallWorkflow:
    """Pass after pass, until nothing of the campaign is on its way any more: what was in flight is recalled too."""

    @workflow.init
    def __init__(self, request: RecallInput) -> None:
        self._report = request.report or RecallReport(campaign_id=request.campaign_id)

    @workflow.run
    async def run(self, request: RecallInput) -> RecallReport:
        """What was recalled, what was cancelled, and who keeps the message."""
        goes_on = request.started_at is not None
        if not goes_on and not await self._cancelled_by_its_workflow(request.campaign_id):
            await self._stop(request)
        started_at = request.started_at or workflow.now()
        pause = LONGEST_PAUSE if goes_on else FIRST_LOOK
        passes = 1
        await self._unsend()
        while not self._report.complete and workflow.now() < started_at + GIVE_UP_AFTER:
            await workflow.sleep(pause)
            if passes >= PASSES_PER_RUN or workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request.model_copy(update={"started_at": started_at, "report": self._report}))
            pause = min(2 * pause, LONGEST_PAUSE)
            passes += 1
            await self._unsend()
        return self._report

    @workflow.query
    def report(self) -> RecallReport:
        """What has been reached so far."""
        return self._report

    async def _cancelled_by_its_workflow(self, campaign_id: str) -> bool:
        campaign = workflow.get_external_workflow_handle(campaign_workflow_id(campaign_id))
        try:
            await campaign.signal("cancel", ControlRequest(requested_by="recall", reason="recalled"))
        except ApplicationError:
            # It has ended, or there never was one.
            return False
        return True

    async def _stop(self, request: RecallInput) -> None:
        stopped = await workflow.execute_activity_method(RecallActivities.stop, request, **policies.RECALL)
        await asyncio.gather(*(self._drop(account_id, request.campaign_id) for account_id in stopped.account_ids))

    async def _drop(self, account_id: str, campaign_id: str) -> None:
        try:
            await workflow.get_external_workflow_handle(send_queue_id(account_id)).signal("drop", campaign_id)
        except ApplicationError:
            workflow.logger.info("no send queue to tell of a recall")

    async def _unsend(self) -> None:
        request = Unsend(
            campaign_id=self._report.campaign_id,
            refusals={refused.message_id: refused.reason for refused in self._report.failed},
        )
        self._report = await workflow.execute_activity_method(RecallActivities.unsend, request, **policies.RECALL)
