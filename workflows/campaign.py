"""One campaign from plan to closing identity: a lane for each account, steered by signals."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities, Imbalance, StatusChange
    from activities.provider import ProviderActivities, ReconcileCosts
    from domain import lane_event
    from domain.campaign import CampaignStatus, ControlRequest
    from domain.errors import ErrorType
    from domain.lane import ActionKind
    from domain.progress import (
        CampaignOutcome,
        CampaignProgress,
        CampaignRun,
        CampaignState,
        ClosingCheck,
        WorkflowResult,
        next_review_expiry,
        progress,
    )
    from domain.review import PageKey, ReviewDecision, Verdict
    from domain.send_queue import Receipts
    from workflows import policies
    from workflows.campaign_lane import LaneLoop
    from workflows.campaign_plan import EXPIRED, Planning
    from workflows.campaign_run import RunningCampaign
    from workflows.cost import reconcile_later

COST_LIMIT = str(ErrorType.COST_LIMIT_EXCEEDED)
STATUS = SearchAttributeKey.for_keyword("HuntazeStatus")
OVERRULES = "signals-overrule-wishes"
"""Patch: a signal that does not come from the API answers what was wished for there, even if it changes no status."""

CLOSING_ATTEMPTS = 5
CLOSING_PAUSE = timedelta(seconds=10)


@workflow.defn
class CampaignWorkflow:
    """Ends only when every recipient is in one terminal state, by the message store's own count."""

    @workflow.init
    def __init__(self, run: CampaignRun) -> None:
        self._input = run.input
        self._campaign = RunningCampaign(run)
        self._planning = Planning(self._campaign)
        self._lanes_done = False

    @workflow.run
    async def run(self, run: CampaignRun) -> WorkflowResult:
        """A cancellation by Temporal's own button is the signal ``cancel``: every recipient still gets an end."""
        work = asyncio.create_task(self._conduct(run))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is None:
                # The worker only lets go of the workflow; another one takes it up again.
                raise
            self._want(CampaignStatus.CANCELLING, ControlRequest(reason="cancelled in Temporal"))
        return await work

    async def _conduct(self, run: CampaignRun) -> WorkflowResult:
        """Plan once, then run all lanes and the steering side by side."""
        steering = asyncio.create_task(self._steer())
        clock = asyncio.create_task(self._expire_reviews())
        await workflow.wait_condition(lambda: self._state.status is not CampaignStatus.PLANNING)
        await self._planning.run()
        await asyncio.gather(*(LaneLoop(self._campaign, account_id).run() for account_id in list(self._state.lanes)))
        self._lanes_done = True
        await steering
        await clock
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._all_done():
            workflow.continue_as_new(CampaignRun(input=run.input, state=self._state))
        return await self._finish()

    # Signals. Arguments are optional, so that they also work from the Temporal UI and command line.

    @workflow.signal
    def pause(self, request: ControlRequest | None = None) -> None:
        """Nothing further is drafted or sent until ``resume``."""
        self._want(CampaignStatus.PAUSED, request)

    @workflow.signal
    def resume(self, request: ControlRequest | None = None) -> None:
        """Go on after ``pause``."""
        self._want(CampaignStatus.RUNNING, request)

    @workflow.signal
    def cancel(self, request: ControlRequest | None = None) -> None:
        """Nothing further is sent; what was not sent ends as cancelled. Final."""
        self._want(CampaignStatus.CANCELLING, request)

    @workflow.signal
    def approve(self, decision: ReviewDecision | None = None) -> None:
        """Release drafts for sending."""
        self._decide(decision or ReviewDecision(), Verdict.APPROVE)

    @workflow.signal
    def reject(self, decision: ReviewDecision | None = None) -> None:
        """Drafts are not sent."""
        self._decide(decision or ReviewDecision(), Verdict.REJECT)

    @workflow.signal
    def page_changed(self, page: PageKey | None = None) -> None:
        """Drafts of the page were edited or ended outside of the workflow; without a page: of any."""
        if page is None:
            for lane in self._state.lanes.values():
                self._campaign.set_lane(lane_event.after_change(lane))
        elif page.account_id in self._state.lanes:
            self._campaign.set_lane(lane_event.after_change(self._state.lanes[page.account_id], page.page))

    @workflow.signal
    def plan_changed(self, changed_by: str = "temporal-signal") -> None:  # noqa: ARG002 - for the history
        """Somebody has written the plan that no model gave, or has made one possible by a larger budget."""
        self._planning.changed()

    @workflow.signal
    def receipts(self, receipts: Receipts) -> None:
        """A send queue reports what became of this campaign's messages."""
        lane = self._state.lanes.get(receipts.account_id)
        if lane is not None:
            self._campaign.set_lane(lane_event.after_receipts(lane, receipts))

    @workflow.query
    def progress(self) -> CampaignProgress:
        """Where every recipient stands."""
        return progress(self._input, self._state)

    # Steering: the store learns of a pause or cancellation before anything else relies on it.

    def _want(self, status: CampaignStatus, request: ControlRequest | None) -> None:
        said = request or ControlRequest()
        if self._state.wanted is CampaignStatus.CANCELLING or self._is_overtaken(status, said):
            return
        self._update(
            wanted=status,
            heard=said.wish,
            # A wish holds until it is answered, and send queues may have parked the campaign for it.
            untold=said.wish is not None or workflow.patched(OVERRULES),
            reason=said.reason if status is not CampaignStatus.RUNNING else "",
        )

    def _is_overtaken(self, status: CampaignStatus, said: ControlRequest) -> bool:
        """Whether the wish was answered before its signal came; nothing overtakes a cancellation."""
        if status is CampaignStatus.CANCELLING or said.wish is None or self._state.heard is None:
            return False
        return said.wish <= self._state.heard

    def _decide(self, said: ReviewDecision, verdict: Verdict) -> None:
        review = said.heard_at(workflow.now())
        self._update(lanes=lane_event.decide(self._state.lanes, review, verdict))
        if review.stands:
            self._update(standing_decision=review.decision(verdict))

    async def _expire_reviews(self) -> None:
        """The durable timer of the drafts that have waited longest; it runs on while the campaign is paused."""
        while not self._lanes_done:
            due = next_review_expiry(self._state.lanes.values())
            timeout = None if due is None else max(due - workflow.now(), timedelta(0))
            try:
                await workflow.wait_condition(
                    lambda due=due: self._lanes_done or next_review_expiry(self._state.lanes.values()) != due,  # type: ignore[misc]
                    timeout=timeout,
                )
            except TimeoutError:
                self._update(lanes=lane_event.expire(self._state.lanes, workflow.now()))

    async def _steer(self) -> None:
        while True:
            await workflow.wait_condition(lambda: self._is_to_tell() or self._lanes_done or self._campaign.rolling)
            if not self._is_to_tell():
                return
            wanted = self._state.wanted
            self._update(untold=False)
            await self._record(wanted, self._state.reason)
            started = self._state.status is CampaignStatus.PLANNING
            self._update(status=wanted)
            workflow.upsert_search_attributes([STATUS.value_set(str(wanted))])
            if wanted is not CampaignStatus.PAUSED and not started:
                await self._tell_queues()

    def _is_to_tell(self) -> bool:
        return self._state.untold or self._state.status is not self._state.wanted

    async def _tell_queues(self) -> None:
        # A lane whose first batch is just being handed in may be parked already, so drafts count, not batches.
        busy = [account_id for account_id, lane in self._state.lanes.items() if lane.drafted]
        await asyncio.gather(*(self._campaign.tell_queue(account_id) for account_id in busy))

    # The end.

    async def _finish(self) -> WorkflowResult:
        await self._find_lost_costs()
        outcome = CampaignOutcome(
            campaign_id=self._input.campaign_id,
            status=self._final_status(),
            reason=self._state.reason or self._state.stopped,
            tally=self._state.tally,
            started_at=self._state.started_at,
            finished_at=workflow.now(),
            audience=self._input.audience_size,
            # One whose every recipient got a message of their own after all is none.
            alternatives=tuple(
                lane.alternative
                for lane in self._state.lanes.values()
                if lane.alternative is not None and lane.alternative.recipients
            ),
        )
        result = await self._reconcile(outcome)
        for _ in range(CLOSING_ATTEMPTS):
            if _balanced(outcome, result):
                break
            await workflow.sleep(CLOSING_PAUSE)
            result = await self._reconcile(outcome)
        if _balanced(outcome, result):
            self._update(status=result.status, wanted=result.status)
            workflow.upsert_search_attributes([STATUS.value_set(str(result.status))])
            return result
        found = {str(status): number for status, number in result.outcomes.items()}
        workflow.logger.error("the closing identity does not hold", extra={"outcomes": found})
        await self._record(CampaignStatus.FAILED, "closing_identity_violated")
        imbalance = Imbalance(
            campaign_id=outcome.campaign_id,
            check=ClosingCheck(audience=outcome.audience, outcomes=result.outcomes),
        )
        await workflow.execute_activity_method(CampaignActivities.report_imbalance, imbalance, **policies.STORE)
        workflow.upsert_search_attributes([STATUS.value_set(str(CampaignStatus.FAILED))])
        raise ApplicationError(
            f"{outcome.audience} recipients, but the message store has {found}",
            type="closing_identity_violated",
            non_retryable=True,
        )

    async def _find_lost_costs(self) -> None:
        """Answers that were paid for and never arrived are looked for at the providers, while that may help."""
        cancelled = self._state.status is CampaignStatus.CANCELLING
        if self._state.planned and not (self._state.tally.unresolved or cancelled or self._state.stopped):
            return
        request = ReconcileCosts(campaign_id=self._input.campaign_id)
        try:
            await workflow.execute_activity_method(ProviderActivities.reconcile, request, **policies.RECONCILE)
        except ActivityError:
            workflow.logger.info("the costs can't be compared with the providers yet")
        # Also when it went well: a provider may still be writing an answer that nobody waits for any more.
        await reconcile_later(request)

    async def _reconcile(self, outcome: CampaignOutcome) -> WorkflowResult:
        return await workflow.execute_activity_method(CampaignActivities.finish, outcome, **policies.STORE)

    async def _record(self, status: CampaignStatus, reason: str) -> None:
        # Also newer than whatever this workflow has said before it was reset to an earlier event.
        revision = max(self._state.revision + 1, int(workflow.now().timestamp() * 1000))
        self._update(revision=revision)
        change = StatusChange(
            campaign_id=self._input.campaign_id,
            status=status,
            reason=reason,
            revision=revision,
            heard=self._state.heard,
        )
        answered = await workflow.execute_activity_method(CampaignActivities.set_status, change, **policies.STORE)
        if change.heard is None and not self._state.untold:
            self._update(heard=answered)

    def _final_status(self) -> CampaignStatus:
        if self._state.status is CampaignStatus.CANCELLING:
            return CampaignStatus.CANCELLED
        if self._state.stopped and self._state.stopped not in {COST_LIMIT, EXPIRED}:
            return CampaignStatus.FAILED
        return CampaignStatus.COMPLETED

    @property
    def _state(self) -> CampaignState:
        return self._campaign.state

    def _update(self, **changes: Any) -> None:
        self._campaign.update(**changes)

    def _all_done(self) -> bool:
        return all(self._campaign.next_action(account_id).kind is ActionKind.DONE for account_id in self._state.lanes)


def _balanced(outcome: CampaignOutcome, result: WorkflowResult) -> bool:
    return ClosingCheck(audience=outcome.audience, outcomes=result.outcomes).balanced
