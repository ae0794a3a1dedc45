"""What one run of a campaign knows and shares between its steering and its lanes."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.campaign import CampaignStatus
    from domain.delivery import send_queue_id
    from domain.lane import Action, LaneState, Steering, next_action
    from domain.progress import CampaignRun, CampaignState, initial_lanes


class RunningCampaign:
    """The campaign's input and state. ``rolling``: the next run goes on as soon as every lane is at rest."""

    def __init__(self, run: CampaignRun) -> None:
        self.input = run.input
        self.state = run.state or CampaignState(started_at=workflow.now(), lanes=initial_lanes(run.input))
        self.rolling = False
        self._actions_left = run.input.pages_per_run

    @property
    def overdue(self) -> bool:
        """Whether the campaign's deadline has passed."""
        deadline = self.input.delivery.deadline
        return deadline is not None and deadline <= workflow.now()

    def update(self, **changes: Any) -> None:
        """The only way in which the state changes."""
        self.state = self.state.model_copy(update=changes)

    def lane(self, account_id: str) -> LaneState:
        """Where an account's part stands."""
        return self.state.lanes[account_id]

    def set_lane(self, lane: LaneState) -> None:
        """Replace the state of a lane."""
        self.update(lanes={**self.state.lanes, lane.lane.account_id: lane})

    def next_action(self, account_id: str) -> Action:
        """What the lane of an account does next."""
        state = self.state
        steering = Steering(
            paused=state.wanted is CampaignStatus.PAUSED or state.status is CampaignStatus.PAUSED,
            cancelled=state.status is CampaignStatus.CANCELLING,
            stopped=state.stopped,
            overdue=self.overdue,
            standing_decision=state.standing_decision,
        )
        return next_action(self.lane(account_id), steering, self.input.page_size)

    def roll_if_long(self) -> None:
        """To be called after every action of a lane: a history must not grow without end."""
        self._actions_left -= 1
        if self._actions_left <= 0 or workflow.info().is_continue_as_new_suggested():
            self.rolling = True

    async def unless_cancelled(self, handle: workflow.ActivityHandle[Any]) -> Any:
        """The activity's result, or ``None`` after it was cancelled because the campaign was."""
        await workflow.wait_condition(lambda: handle.done() or self.state.status is CampaignStatus.CANCELLING)
        if handle.done():
            return await handle
        handle.cancel()
        try:
            return await handle
        except ActivityError:
            return None

    async def tell_queue(self, account_id: str) -> None:
        """Let an account's send queue know that the campaign's status has changed."""
        queue = workflow.get_external_workflow_handle(send_queue_id(account_id))
        signal = "drop" if self.state.status is CampaignStatus.CANCELLING else "recheck"
        try:
            await queue.signal(signal, self.input.campaign_id)
        except ApplicationError:
            # The queue is gone; the resynchronisation of the lane brings its messages back.
            workflow.logger.warning("a send queue could not be woken")


def reason_of(error: ActivityError) -> str:
    """The type of what an activity failed with."""
    cause = error.cause
    return cause.type or "activity_failed" if isinstance(cause, ApplicationError) else "activity_failed"
