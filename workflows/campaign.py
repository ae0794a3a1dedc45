"""One campaign from plan to closing identity: a lane for each account, steered by signals."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.alternative import AlternativeActivities, TakeAlternative
    from activities.campaign import CampaignActivities, CloseLane, Imbalance, StatusChange
    from activities.provider import DraftPage, PlanCampaign, ProviderActivities
    from activities.review import DecidePage, ReviewActivities
    from activities.send_queue import LookAhead, Resubmit, SubmissionActivities, SubmitPage
    from domain import lane as lanes
    from domain.alternative import too_late
    from domain.campaign import CampaignStatus, ControlRequest
    from domain.delivery import MessageStatus, send_queue_id
    from domain.errors import ErrorType
    from domain.lane import Action, ActionKind, Decision, LaneState, Steering, Verdict
    from domain.progress import (
        CampaignOutcome,
        CampaignProgress,
        CampaignRun,
        CampaignState,
        ClosingCheck,
        WorkflowResult,
        initial_lanes,
        progress,
    )
    from domain.review import ReviewDecision
    from domain.send_queue import Receipts
    from workflows import policies

STATUS = SearchAttributeKey.for_keyword("HuntazeStatus")
COST_LIMIT = str(ErrorType.COST_LIMIT_EXCEEDED)
CLOSING_ATTEMPTS = 5
CLOSING_PAUSE = timedelta(seconds=10)


@workflow.defn
class CampaignWorkflow:
    """Ends only when every recipient is in one terminal state, by the message store's own count."""

    @workflow.init
    def __init__(self, run: CampaignRun) -> None:
        self._input = run.input
        self._state = run.state or CampaignState(started_at=workflow.now(), lanes=initial_lanes(run.input))
        self._pages_left = run.input.pages_per_run
        self._rolling = False
        self._lanes_done = False

    @workflow.run
    async def run(self, run: CampaignRun) -> WorkflowResult:
        """A cancellation by Temporal's own button is the signal ``cancel``: every recipient still gets an end."""
        work = asyncio.create_task(self._campaign(run))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if workflow.cancellation_reason() is None:
                # The worker only lets go of the workflow; another one takes it up again.
                raise
            self._want(CampaignStatus.CANCELLING, ControlRequest(reason="cancelled in Temporal"))
        return await work

    async def _campaign(self, run: CampaignRun) -> WorkflowResult:
        """Plan once, then run all lanes and the steering side by side."""
        steering = asyncio.create_task(self._steer())
        await workflow.wait_condition(lambda: self._state.status is not CampaignStatus.PLANNING)
        await self._plan()
        await asyncio.gather(*(self._run_lane(account_id) for account_id in list(self._state.lanes)))
        self._lanes_done = True
        await steering
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
        """Release drafted pages for sending."""
        self._decide(decision or ReviewDecision(), Verdict.APPROVE)

    @workflow.signal
    def reject(self, decision: ReviewDecision | None = None) -> None:
        """Drafted pages are not sent."""
        self._decide(decision or ReviewDecision(), Verdict.REJECT)

    @workflow.signal
    def receipts(self, receipts: Receipts) -> None:
        """A send queue reports what became of this campaign's messages."""
        lane = self._state.lanes.get(receipts.account_id)
        if lane is not None:
            self._set_lane(lanes.after_receipts(lane, receipts))

    @workflow.query
    def progress(self) -> CampaignProgress:
        """Where every recipient stands."""
        return progress(self._input, self._state)

    # Steering: the store learns of a pause or cancellation before anything else relies on it.

    def _want(self, status: CampaignStatus, request: ControlRequest | None) -> None:
        if self._state.wanted is CampaignStatus.CANCELLING:
            return
        reason = (request or ControlRequest()).reason
        self._update(wanted=status, reason=reason if status is not CampaignStatus.RUNNING else "")

    def _decide(self, review: ReviewDecision, verdict: Verdict) -> None:
        decided = lanes.decide(self._state.lanes, review, verdict)
        update: dict[str, Any] = {"lanes": decided}
        if review.scope == "campaign":
            update["standing_decision"] = Decision(
                verdict=verdict, decided_by=review.decided_by, comment=review.comment
            )
        self._update(**update)

    async def _steer(self) -> None:
        while True:
            await workflow.wait_condition(
                lambda: self._state.status is not self._state.wanted or self._lanes_done or self._rolling
            )
            wanted = self._state.wanted
            if self._state.status is wanted:
                return
            await self._record(wanted, self._state.reason)
            started = self._state.status is CampaignStatus.PLANNING
            self._update(status=wanted)
            workflow.upsert_search_attributes([STATUS.value_set(str(wanted))])
            if wanted is not CampaignStatus.PAUSED and not started:
                await self._tell_queues()

    async def _tell_queues(self) -> None:
        # A lane whose first batch is just being handed in may be parked already, so drafts count, not batches.
        busy = [account_id for account_id, lane in self._state.lanes.items() if lane.drafted]
        await asyncio.gather(*(self._tell_queue(account_id) for account_id in busy))

    async def _tell_queue(self, account_id: str) -> None:
        queue = workflow.get_external_workflow_handle(send_queue_id(account_id))
        signal = "drop" if self._state.status is CampaignStatus.CANCELLING else "recheck"
        try:
            await queue.signal(signal, self._input.campaign_id)
        except ApplicationError:
            # The queue is gone; the resynchronisation of the lane brings its messages back.
            workflow.logger.warning("a send queue could not be woken")

    async def _plan(self) -> None:
        if self._state.planned or self._state.status is CampaignStatus.CANCELLING:
            return
        try:
            planned = await self._unless_cancelled(
                workflow.start_activity_method(
                    ProviderActivities.plan,
                    PlanCampaign(campaign_id=self._input.campaign_id),
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    **policies.generating(self._input.owner, self._input.priority),
                )
            )
        except ActivityError as error:
            self._update(stopped=_reason_of(error))
            return
        if planned is not None:
            self._update(
                planned=True,
                tally=self._state.tally + planned.tally,
                cost_micros=max(self._state.cost_micros, planned.cost_micros),
            )

    # Lanes.

    async def _run_lane(self, account_id: str) -> None:
        while not self._rolling:
            action = self._next(account_id)
            if action.kind is ActionKind.DONE:
                return
            if action.kind is ActionKind.WAIT:
                await self._wait(account_id)
            else:
                await self._act(account_id, action)
                self._roll_if_long()

    async def _wait(self, account_id: str) -> None:
        lane = self._lane(account_id)
        resync_at = workflow.now() + policies.RESYNC_AFTER if lane.batches else None
        deadline = self._input.delivery.deadline if lanes.may_be_late(lane) else None
        moments = [moment for moment in (resync_at, deadline) if moment is not None]
        timeout = max(min(moments) - workflow.now(), timedelta(0)) if moments else None
        try:
            await workflow.wait_condition(
                lambda: self._rolling or self._next(account_id).kind is not ActionKind.WAIT, timeout=timeout
            )
        except TimeoutError:
            if deadline is not None and deadline <= workflow.now():
                # Whoever has no message by now would get it later still.
                self._choose_alternative(account_id, too_late(self._input.delivery, workflow.now()))
            else:
                await self._resynchronise(account_id)

    async def _act(self, account_id: str, action: Action) -> None:
        match action.kind:
            case ActionKind.DRAFT:
                await self._draft(account_id, action)
            case ActionKind.DECIDE:
                await self._carry_out_decision(account_id, action)
            case ActionKind.SUBMIT:
                await self._submit(account_id, action.page, action.batch)
            case ActionKind.ALTERNATIVE:
                await self._take_alternative(account_id, action.page)
            case _:
                await self._close(account_id)

    async def _draft(self, account_id: str, action: Action) -> None:
        if self._is_past(self._input.delivery.expires_at):
            await self._close_lane(account_id, MessageStatus.SKIPPED, "expired")
            return
        late = await self._why_late(account_id)
        if late:
            self._choose_alternative(account_id, late)
            return
        request = DraftPage(campaign_id=self._input.campaign_id, account_id=account_id, page=action.page)
        try:
            drafted = await self._unless_cancelled(
                workflow.start_activity_method(
                    ProviderActivities.draft_page,
                    request,
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    **policies.generating(self._input.owner, self._input.priority),
                )
            )
        except ActivityError as error:
            self._update(stopped=_reason_of(error))
            return
        if drafted is None:
            return
        self._set_lane(lanes.after_draft(self._lane(account_id), action.page, drafted.page))
        cost = max(self._state.cost_micros, drafted.cost_micros)
        limit = self._input.max_cost_micros
        self._update(
            tally=self._state.tally + drafted.tally,
            cost_micros=cost,
            stopped=COST_LIMIT if limit is not None and cost >= limit else self._state.stopped,
        )

    async def _carry_out_decision(self, account_id: str, action: Action) -> None:
        assert action.decision is not None  # noqa: S101 - next_action always attaches it
        request = DecidePage(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            page=action.page,
            decision=action.decision,
        )
        page = await workflow.execute_activity_method(ReviewActivities.decide_page, request, **policies.STORE)
        self._set_lane(lanes.after_decision(self._lane(account_id), action.page, page))

    async def _submit(self, account_id: str, page: int, batch: int) -> None:
        request = SubmitPage(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            page=page,
            batch=batch,
        )
        status = self._state.status
        submitted = await workflow.execute_activity_method(SubmissionActivities.submit_page, request, **policies.STORE)
        if submitted.wait_ms:
            self._set_lane(lanes.after_delay(self._lane(account_id), submitted.reason))
            await self._wait_to_repeat(account_id, ActionKind.SUBMIT, status, submitted.wait_ms)
            self._set_lane(lanes.after_delay(self._lane(account_id), ""))
            return
        self._set_lane(lanes.after_submit(self._lane(account_id), page, batch, submitted.count))
        if self._state.status is CampaignStatus.CANCELLING:
            # The batch arrived behind the call that came with the cancellation.
            await self._tell_queue(account_id)

    async def _why_late(self, account_id: str) -> str:
        """Why the next page would come after the deadline; empty: it would not, or there is none."""
        if self._input.delivery.deadline is None:
            return ""
        request = LookAhead(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            messages=lanes.next_page_reach(self._lane(account_id), self._input.page_size),
        )
        ahead = await self._unless_cancelled(
            workflow.start_activity_method(SubmissionActivities.outlook, request, **policies.STORE)
        )
        return "" if ahead is None else ahead.late

    def _choose_alternative(self, account_id: str, reason: str) -> None:
        action = self._input.delivery.on_deadline
        assert action is not None  # noqa: S101 - a deadline always comes with its action
        self._set_lane(lanes.choose_alternative(self._lane(account_id), action, reason, self._input.page_size))

    async def _take_alternative(self, account_id: str, from_page: int) -> None:
        lane = self._lane(account_id)
        assert lane.alternative is not None  # noqa: S101 - next_action asks for nothing that was not chosen
        request = TakeAlternative(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            from_page=from_page,
            pages=lane.lane.pages,
            action=lane.alternative.action,
        )
        status = self._state.status
        taken = await workflow.execute_activity_method(AlternativeActivities.take, request, **policies.ALTERNATIVE)
        if taken.done:
            self._set_lane(lanes.after_close(self._lane(account_id), taken.counts))
            return
        self._set_lane(lanes.after_delay(self._lane(account_id), taken.reason))
        await self._wait_to_repeat(account_id, ActionKind.ALTERNATIVE, status, taken.wait_ms)

    async def _wait_to_repeat(self, account_id: str, kind: ActionKind, status: CampaignStatus, wait_ms: int) -> None:
        """Until ``wait_ms`` are over, or the campaign is no longer in ``status``, or the lane has something else."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._rolling or self._state.status is not status or self._next(account_id).kind is not kind,
                timeout=timedelta(milliseconds=wait_ms),
            )

    async def _close(self, account_id: str) -> None:
        if self._state.status is CampaignStatus.CANCELLING:
            await self._close_lane(account_id, MessageStatus.CANCELLED, "campaign_cancelled", everything=True)
        else:
            await self._close_lane(account_id, MessageStatus.SKIPPED, self._state.stopped)

    async def _close_lane(
        self, account_id: str, outcome: MessageStatus, reason: str, *, everything: bool = False
    ) -> None:
        lane = self._lane(account_id)
        request = CloseLane(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            from_page=lane.next_page,
            pages=lane.lane.pages,
            outcome=outcome,
            reason=reason,
            everything=everything,
        )
        closed = await workflow.execute_activity_method(CampaignActivities.close_lane, request, **policies.BULK_STORE)
        self._set_lane(lanes.after_close(self._lane(account_id), closed.counts, everything=everything))

    async def _resynchronise(self, account_id: str) -> None:
        """Nothing was heard for long: the store knows what became of the batches, the queue gets them again."""
        batches = tuple(sorted(self._lane(account_id).batches))
        request = Resubmit(
            campaign_id=self._input.campaign_id,
            account_id=account_id,
            batches=batches,
        )
        found = await workflow.execute_activity_method(SubmissionActivities.resubmit, request, **policies.STORE)
        self._set_lane(lanes.after_resync(self._lane(account_id), found.counts, found.waiting))

    async def _unless_cancelled(self, handle: workflow.ActivityHandle[Any]) -> Any:
        """The activity's result, or ``None`` after it was cancelled because the campaign was."""
        await workflow.wait_condition(lambda: handle.done() or self._state.status is CampaignStatus.CANCELLING)
        if handle.done():
            return await handle
        handle.cancel()
        try:
            return await handle
        except ActivityError:
            return None

    # The end.

    async def _finish(self) -> WorkflowResult:
        outcome = CampaignOutcome(
            campaign_id=self._input.campaign_id,
            status=self._final_status(),
            reason=self._state.reason or self._state.stopped,
            tally=self._state.tally,
            started_at=self._state.started_at,
            finished_at=workflow.now(),
            audience=self._input.audience_size,
            alternatives=tuple(lane.alternative for lane in self._state.lanes.values() if lane.alternative is not None),
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

    async def _reconcile(self, outcome: CampaignOutcome) -> WorkflowResult:
        return await workflow.execute_activity_method(CampaignActivities.finish, outcome, **policies.STORE)

    async def _record(self, status: CampaignStatus, reason: str) -> None:
        # Also newer than whatever this workflow has said before it was reset to an earlier event.
        revision = max(self._state.revision + 1, int(workflow.now().timestamp() * 1000))
        self._update(revision=revision)
        change = StatusChange(campaign_id=self._input.campaign_id, status=status, reason=reason, revision=revision)
        await workflow.execute_activity_method(CampaignActivities.set_status, change, **policies.STORE)

    def _final_status(self) -> CampaignStatus:
        if self._state.status is CampaignStatus.CANCELLING:
            return CampaignStatus.CANCELLED
        if self._state.stopped and self._state.stopped != COST_LIMIT:
            return CampaignStatus.FAILED
        return CampaignStatus.COMPLETED

    def _next(self, account_id: str) -> Action:
        state = self._state
        steering = Steering(
            paused=state.wanted is CampaignStatus.PAUSED or state.status is CampaignStatus.PAUSED,
            cancelled=state.status is CampaignStatus.CANCELLING,
            stopped=state.stopped,
            standing_decision=state.standing_decision,
        )
        return lanes.next_action(self._lane(account_id), steering, self._input.page_size)

    def _is_past(self, moment: datetime | None) -> bool:
        return moment is not None and moment <= workflow.now()

    def _roll_if_long(self) -> None:
        self._pages_left -= 1
        if self._pages_left <= 0 or workflow.info().is_continue_as_new_suggested():
            self._rolling = True

    def _all_done(self) -> bool:
        return all(self._next(account_id).kind is ActionKind.DONE for account_id in self._state.lanes)

    def _lane(self, account_id: str) -> LaneState:
        return self._state.lanes[account_id]

    def _set_lane(self, lane: LaneState) -> None:
        self._update(lanes={**self._state.lanes, lane.lane.account_id: lane})

    def _update(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)


def _balanced(outcome: CampaignOutcome, result: WorkflowResult) -> bool:
    return ClosingCheck(audience=outcome.audience, outcomes=result.outcomes).balanced


def _reason_of(error: ActivityError) -> str:
    cause = error.cause
    return cause.type or "activity_failed" if isinstance(cause, ApplicationError) else "activity_failed"
