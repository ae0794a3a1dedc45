"""A campaign's plan: a model's, or else a person's, as long as one is of any use."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

with workflow.unsafe.imports_passed_through():
    from activities.plan import PlanCampaign, Planned, Unplanned
    from activities.provider import ProviderActivities
    from domain.campaign import CampaignStatus
    from domain.plan import PlanAwaited
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

    def changed(self) -> None:
        """Somebody has written a plan, or has made one possible."""
        self._changed = True

    async def run(self) -> None:
        """Ask the models, and again whenever a person has done something about their failure."""
        waits_until = workflow.now() + timedelta(hours=self._input.review_expires_after_hours)
        while not (self._campaign.state.planned or self._campaign.state.stopped or self._is_cancelled):
            self._changed = False
            try:
                planned = await self._ask()
            except ActivityError as error:
                if not await self._is_mended(error, waits_until):
                    return
            else:
                if planned is not None:
                    self._campaign.update(planned=True)
                    self._add(planned)

    async def _ask(self) -> Planned | None:
        """``None`` when the campaign was cancelled meanwhile."""
        policy = policies.generating(self._input.owner, self._input.priority)
        times = self._input.delivery
        ends = [moment for moment in (times.expires_at, times.deadline) if moment is not None]
        if ends:
            policy = {**policy, "schedule_to_close_timeout": max(min(ends) - workflow.now(), _SOON)}
        planned: Planned | None = await self._campaign.unless_cancelled(
            workflow.start_activity_method(
                ProviderActivities.plan,
                PlanCampaign(campaign_id=self._input.campaign_id),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                **policy,
            )
        )
        return planned

    async def _is_mended(self, error: ActivityError, waits_until: datetime) -> bool:
        """Whether a person has done something about a failure; if not, nothing more is to be written.

        At the deadline nobody is waited for any more, and the lanes turn to the alternative, which needs no plan.
        """
        failure, reason = _told(error), reason_of(error)
        self._add(failure)
        if not workflow.patched(BY_A_PERSON):
            self._stop(reason)
            return False
        # An activity that has no time for another attempt ends early: what is left of its time is a person's.
        awaited = failure.awaits_person or error.retry_state is RetryState.TIMEOUT
        if awaited and await self._person_acts(reason, waits_until):
            return True
        if self._is_expired or not (self._is_cancelled or self._campaign.overdue):
            self._stop(reason)
        return False

    async def _person_acts(self, reason: str, waits_until: datetime) -> bool:
        """Wait for it, until the time of a review is over or the messages would be too late."""
        times = self._input.delivery
        ends = min(moment for moment in (waits_until, times.expires_at, times.deadline) if moment is not None)
        awaited = PlanAwaited(reason=reason, since=workflow.now(), expires_at=ends)
        self._campaign.update(plan_awaited=awaited)
        try:
            await workflow.wait_condition(
                lambda: self._changed or self._is_cancelled, timeout=max(ends - workflow.now(), timedelta(0))
            )
        except TimeoutError:
            return False
        finally:
            self._campaign.update(plan_awaited=None)
        return not self._is_cancelled

    def _stop(self, reason: str) -> None:
        self._campaign.update(stopped=EXPIRED if self._is_expired else reason)

    def _add(self, took: Planned | Unplanned) -> None:
        state = self._campaign.state
        self._campaign.update(tally=state.tally + took.tally, cost_micros=max(state.cost_micros, took.cost_micros))

    @property
    def _is_expired(self) -> bool:
        expires_at = self._input.delivery.expires_at
        return expires_at is not None and expires_at <= workflow.now() + _SOON

    @property
    def _is_cancelled(self) -> bool:
        return self._campaign.state.status is CampaignStatus.CANCELLING


def _told(error: ActivityError) -> Unplanned:
    """What the failure says of itself; a worker that was lost, or of an earlier version, says nothing."""
    match error.cause:
        case ApplicationError(details=[told, *_]):
            return Unplanned.model_validate(told)
        case _:
            return Unplanned()
