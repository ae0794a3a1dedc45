"""A campaign's plan: a model's, or else a person's, as long as one is of any use."""

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities
    from activities.plan import PlanCampaign, Planned, Unplanned
    from activities.provider import ProviderActivities
    from domain.campaign import CampaignStatus
    from domain.plan import PlanAwaited
    from domain.progress import Tally
    from workflows import policies
    from workflows.campaign_run import RunningCampaign, reason_of

EXPIRED = "expired"
"""Why a campaign stopped that nobody had planned when its messages expired."""

BY_A_PERSON = "a-person-may-plan"
"""Patch: a campaign that no model plans waits for a person who does, until its deadline at most."""

_SOON = timedelta(seconds=1)


class Planning:
    """Ends with a plan, with a campaign that is stopped, cancelled or over its deadline, or with its worker."""

    def __init__(self, campaign: RunningCampaign) -> None:
        self._campaign = campaign
        self._input = campaign.input
        self._changed = False
        self._review_ends: datetime | None = None

    def changed(self) -> None:
        """Somebody has written a plan, or has made one possible."""
        self._changed = True

    async def run(self) -> None:
        """Ask the models, and again whenever a person has done something about their failure."""
        again = False
        while not self._is_over():
            self._changed = False
            try:
                planned = await self._ask(again=again)
            except ActivityError as error:
                if not await self._is_mended(error):
                    return
                again = True
            else:
                if planned is not None:
                    self._campaign.update(planned=True)
                    self._add(planned)

    def _is_over(self) -> bool:
        """Also where lanes have turned to the alternative: a plan is of no use any more."""
        state = self._campaign.state
        late = any(lane.alternative is not None for lane in state.lanes.values())
        return state.planned or bool(state.stopped) or late or self._is_cancelled

    async def _ask(self, *, again: bool) -> Planned | None:
        """``None`` when the campaign was cancelled meanwhile."""
        policy = policies.generating(self._input.owner, self._input.priority)
        if self._useful_until is not None:
            policy = {**policy, "schedule_to_close_timeout": max(self._useful_until - workflow.now(), _SOON)}
        planned: Planned | None = await self._campaign.unless_cancelled(
            workflow.start_activity_method(
                ProviderActivities.plan,
                PlanCampaign(campaign_id=self._input.campaign_id, again=again),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                **policy,
            )
        )
        return planned

    async def _is_mended(self, error: ActivityError) -> bool:
        """Whether a person has done something about a failure; if not, nothing more is to be written.

        At the deadline nobody is waited for any more, and the lanes turn to the alternative, which needs no plan.
        """
        failure, reason = _told(error), reason_of(error)
        self._add(failure)
        if not workflow.patched(BY_A_PERSON):
            self._stop(reason)
            return False
        ends = self._ends_waiting(error, failure)
        # Not once more after it: what was found at the last moment is asked for in vain while no worker is there.
        if ends is not None and ends > workflow.now() and await self._person_acts(reason, ends):
            return True
        if self._is_expired or not (self._is_cancelled or self._campaign.overdue):
            self._stop(reason)
        return False

    def _ends_waiting(self, error: ActivityError, failure: Unplanned) -> datetime | None:
        """Until when a person is waited for: as long as for a review, if a plan is of use for so long; if at all."""
        if error.retry_state is RetryState.TIMEOUT:
            # It had no time for another attempt. What is left of its time is a person's.
            return self._useful_until
        if not failure.awaits_person:
            return None
        if self._review_ends is None:
            self._review_ends = workflow.now() + timedelta(hours=self._input.review_expires_after_hours)
        return min(self._review_ends, self._useful_until or self._review_ends)

    async def _person_acts(self, reason: str, ends: datetime) -> bool:
        """Wait for it. News of a plan may get lost, so the store is looked at from time to time, and at the end."""
        awaited = PlanAwaited(reason=reason, since=workflow.now(), expires_at=ends)
        self._campaign.update(plan_awaited=awaited)
        try:
            while not self._is_cancelled:
                left = max(ends - workflow.now(), timedelta(0))
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._changed or self._is_cancelled, timeout=min(left, policies.RESYNC_AFTER)
                    )
                if self._changed or await self._is_stored():
                    return True
                if ends <= workflow.now():
                    return False
            return False
        finally:
            self._campaign.update(plan_awaited=None)

    async def _is_stored(self) -> bool:
        request = PlanCampaign(campaign_id=self._input.campaign_id)
        return await workflow.execute_activity_method(CampaignActivities.has_plan, request, **policies.STORE)

    def _stop(self, reason: str) -> None:
        self._campaign.update(stopped=EXPIRED if self._is_expired else reason)

    def _add(self, took: Planned | Unplanned) -> None:
        state = self._campaign.state
        self._campaign.update(tally=state.tally + took.tally, cost_micros=max(state.cost_micros, took.cost_micros))

    @property
    def _useful_until(self) -> datetime | None:
        """When it is too late for a plan."""
        times = self._input.delivery
        return min((moment for moment in (times.expires_at, times.deadline) if moment is not None), default=None)

    @property
    def _is_expired(self) -> bool:
        expires_at = self._input.delivery.expires_at
        return expires_at is not None and expires_at <= workflow.now() + _SOON

    @property
    def _is_cancelled(self) -> bool:
        return self._campaign.state.status is CampaignStatus.CANCELLING


def _told(error: ActivityError) -> Unplanned:
    """What the failure says of itself. A worker of an earlier version says nothing, and one that was lost may have been
    in the middle of a call.
    """
    match error.cause:
        case ApplicationError(details=[told, *_]):
            return Unplanned.model_validate(told)
        case ApplicationError():
            return Unplanned()
        case _:
            return Unplanned(tally=Tally(unresolved=1))
