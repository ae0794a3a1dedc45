"""One account's part of a campaign: drafting, deciding, submitting and closing, as its lane says."""

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.alternative import AlternativeActivities, TakeAlternative
    from activities.campaign import CampaignActivities, CloseLane
    from activities.page import DraftPage
    from activities.provider import ProviderActivities
    from activities.review import ReviewActivities, ReviewedPage
    from activities.send_queue import LookAhead, Resubmit, SubmissionActivities, SubmitPage
    from activities.withdrawal import Withdraw, WithdrawalActivities
    from domain import lane_event
    from domain.alternative import unsent_by
    from domain.campaign import CampaignStatus
    from domain.delivery import MessageStatus
    from domain.lane import Action, ActionKind, LaneState, may_be_late, next_page_reach
    from workflows import policies
    from workflows.campaign_run import RunningCampaign, reason_of


WITHDRAWS = "deadline-withdraws-unsent"
"""Patch: an alternative waits for what was drafted before it until the deadline, and is for what is unsent by then."""


class LaneLoop:
    """Carries out what the lane of one account wants, one action after the other."""

    def __init__(self, campaign: RunningCampaign, account_id: str) -> None:
        self._campaign = campaign
        self._input = campaign.input
        self._account_id = account_id
        self._withdraws = self._input.delivery.deadline is not None and workflow.patched(WITHDRAWS)

    @property
    def _lane(self) -> LaneState:
        return self._campaign.lane(self._account_id)

    @property
    def _next(self) -> Action:
        return self._campaign.next_action(self._account_id)

    async def run(self) -> None:
        """Act until nothing is left to do, or the campaign rolls."""
        while not self._campaign.rolling:
            deadline = self._input.delivery.deadline
            if deadline is not None and self._is_too_late():
                # Also for a lane that had something to do all the time, such as a page that its queue does not take.
                self._choose_alternative(unsent_by(deadline))
            action = self._next
            if action.kind is ActionKind.DONE:
                return
            if action.kind is ActionKind.WAIT:
                await self._wait()
            else:
                await self._act(action)
                self._campaign.roll_if_long()

    async def _wait(self) -> None:
        lane = self._lane
        resync_at = workflow.now() + policies.RESYNC_AFTER if lane.batches or lane.waiting else None
        deadline = self._awaited_deadline()
        moments = [moment for moment in (resync_at, deadline) if moment is not None]
        timeout = max(min(moments) - workflow.now(), timedelta(0)) if moments else None
        try:
            await workflow.wait_condition(
                lambda: self._campaign.rolling or self._next.kind is not ActionKind.WAIT, timeout=timeout
            )
        except TimeoutError:
            if deadline is None or deadline > workflow.now():
                await self._resynchronise()
            elif lane.alternative is None:
                # Whoever has no message by now would get it later still.
                self._choose_alternative(unsent_by(deadline))

    def _is_too_late(self) -> bool:
        """Whether the deadline has passed, nothing was done about it, and something is left to be done."""
        going_on = self._campaign.state.status is not CampaignStatus.CANCELLING
        return self._withdraws and self._campaign.overdue and going_on and may_be_late(self._lane)

    def _awaited_deadline(self) -> datetime | None:
        """The deadline, as long as something is to be done when it passes."""
        deadline, lane = self._input.delivery.deadline, self._lane
        if deadline is None:
            return None
        if lane.alternative is not None:
            return deadline if lane.withdraws and deadline > workflow.now() else None
        affected = may_be_late(lane) if self._withdraws else lane.next_page < lane.lane.pages
        return deadline if affected else None

    async def _act(self, action: Action) -> None:
        match action.kind:
            case ActionKind.DRAFT:
                await self._draft(action)
            case ActionKind.DECIDE | ActionKind.READ:
                await self._read_page(action)
            case ActionKind.SUBMIT:
                await self._submit(action.page, action.batch)
            case ActionKind.WITHDRAW:
                await self._withdraw()
            case ActionKind.ALTERNATIVE:
                await self._take_alternative(action.page)
            case _:
                await self._close()

    async def _draft(self, action: Action) -> None:
        expires_at = self._input.delivery.expires_at
        if expires_at is not None and expires_at <= workflow.now():
            await self._close_lane(MessageStatus.SKIPPED, "expired")
            return
        late = await self._why_late()
        if late:
            self._choose_alternative(late)
            return
        request = DraftPage(campaign_id=self._input.campaign_id, account_id=self._account_id, page=action.page)
        try:
            drafted = await self._campaign.unless_cancelled(
                workflow.start_activity_method(
                    ProviderActivities.draft_page,
                    request,
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    **policies.generating(self._input.owner, self._input.priority),
                )
            )
        except ActivityError as error:
            self._campaign.update(stopped=reason_of(error))
            return
        if drafted is None:
            return
        waits_until = workflow.now() + timedelta(hours=self._input.review_expires_after_hours)
        self._campaign.set_lane(lane_event.after_draft(self._lane, action.page, drafted.page, waits_until))
        state = self._campaign.state
        self._campaign.update(
            tally=state.tally + drafted.tally,
            cost_micros=max(state.cost_micros, drafted.cost_micros),
            stopped=drafted.stopped or state.stopped,
        )

    async def _read_page(self, action: Action) -> None:
        """As the store has it, after a decision about it, if there is one."""
        request = ReviewedPage(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            page=action.page,
            decision=action.decision,
        )
        self._campaign.set_lane(lane_event.before_reading(self._lane, action.page))
        found = await workflow.execute_activity_method(ReviewActivities.decide_page, request, **policies.STORE)
        self._campaign.set_lane(lane_event.after_reading(self._lane, action.page, found, action.decision))

    async def _submit(self, page: int, batch: int) -> None:
        request = SubmitPage(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            page=page,
            batch=batch,
        )
        status = self._campaign.state.status
        submitted = await workflow.execute_activity_method(SubmissionActivities.submit_page, request, **policies.STORE)
        if submitted.wait_ms:
            self._campaign.set_lane(lane_event.after_delay(self._lane, submitted.reason))
            await self._wait_to_repeat(ActionKind.SUBMIT, status, submitted.wait_ms)
            self._campaign.set_lane(lane_event.after_delay(self._lane, ""))
            return
        self._campaign.set_lane(lane_event.after_submit(self._lane, page, batch, submitted.count))
        if self._campaign.state.status is CampaignStatus.CANCELLING:
            # The batch arrived behind the call that came with the cancellation.
            await self._campaign.tell_queue(self._account_id)

    async def _why_late(self) -> str:
        """Why the next page would come after the deadline; empty: it would not, or there is none."""
        if self._input.delivery.deadline is None:
            return ""
        request = LookAhead(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            messages=next_page_reach(self._lane, self._input.page_size),
        )
        ahead = await self._campaign.unless_cancelled(
            workflow.start_activity_method(SubmissionActivities.outlook, request, **policies.STORE)
        )
        return "" if ahead is None else ahead.late

    def _choose_alternative(self, reason: str) -> None:
        action = self._input.delivery.on_deadline
        assert action is not None  # noqa: S101 - a deadline always comes with its action
        chosen = lane_event.choose_alternative(
            self._lane, action, reason, self._input.page_size, withdraws=self._withdraws
        )
        self._campaign.set_lane(chosen)

    async def _withdraw(self) -> None:
        alternative = self._lane.alternative
        assert alternative is not None  # noqa: S101 - next_action asks for nothing that was not chosen
        request = Withdraw(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            action=alternative.action,
            why=alternative.reason,
        )
        found = await workflow.execute_activity_method(WithdrawalActivities.withdraw, request, **policies.BULK_STORE)
        after = lane_event.after_withdrawal(self._lane, found.taken, found.drafts, found.counts)
        self._campaign.set_lane(after)

    async def _take_alternative(self, from_page: int) -> None:
        lane = self._lane
        assert lane.alternative is not None  # noqa: S101 - next_action asks for nothing that was not chosen
        request = TakeAlternative(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            from_page=from_page,
            pages=lane.lane.pages,
            action=lane.alternative.action,
            withdrawn=lane.withdrawn is not None,
            batches=tuple(sorted(lane.batches)) if lane.withdrawn is not None else (),
        )
        status = self._campaign.state.status
        taken = await workflow.execute_activity_method(AlternativeActivities.take, request, **policies.ALTERNATIVE)
        if taken.done:
            self._campaign.set_lane(lane_event.after_alternative(self._lane, taken.counts))
            return
        self._campaign.set_lane(lane_event.after_delay(self._lane, taken.reason))
        await self._wait_to_repeat(ActionKind.ALTERNATIVE, status, taken.wait_ms)

    async def _wait_to_repeat(self, kind: ActionKind, status: CampaignStatus, wait_ms: int) -> None:
        """Until ``wait_ms`` are over, or the campaign is no longer in ``status``, or the lane has something else."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    self._campaign.rolling or self._campaign.state.status is not status or self._next.kind is not kind
                ),
                timeout=timedelta(milliseconds=wait_ms),
            )

    async def _close(self) -> None:
        if self._campaign.state.status is CampaignStatus.CANCELLING:
            await self._close_lane(MessageStatus.CANCELLED, "campaign_cancelled", everything=True)
        else:
            await self._close_lane(MessageStatus.SKIPPED, self._campaign.state.stopped)

    async def _close_lane(self, outcome: MessageStatus, reason: str, *, everything: bool = False) -> None:
        lane = self._lane
        request = CloseLane(
            campaign_id=self._input.campaign_id,
            account_id=self._account_id,
            from_page=lane.next_page,
            pages=lane.lane.pages,
            outcome=outcome,
            reason=reason,
            everything=everything,
        )
        closed = await workflow.execute_activity_method(CampaignActivities.close_lane, request, **policies.BULK_STORE)
        self._campaign.set_lane(lane_event.after_close(self._lane, closed.counts, everything=everything))

    async def _resynchronise(self) -> None:
        """Nothing was heard for long: the store knows what became of drafts and batches, the queue gets these again."""
        if self._lane.batches:
            request = Resubmit(
                campaign_id=self._input.campaign_id,
                account_id=self._account_id,
                batches=tuple(sorted(self._lane.batches)),
            )
            found = await workflow.execute_activity_method(SubmissionActivities.resubmit, request, **policies.STORE)
            self._campaign.set_lane(lane_event.after_resync(self._lane, found.counts, found.waiting))
        self._campaign.set_lane(lane_event.after_change(self._lane))
