"""One rollout of one flag: it keeps time, and does what ``domain.rollout`` says follows from what was observed."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import Field
from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.rollout import (
        Announcement,
        BeginRequest,
        FlagLook,
        LookRequest,
        RolloutActivities,
        RolloutLook,
        RoutedSince,
        SteerRequest,
    )
    from domain.errors import Conflict
    from domain.model import Model
    from domain.observation import Observed
    from domain.recall import RecallInput, recall_workflow_id
    from domain.rollout import (
        AUTOMATIC,
        Action,
        ActionKind,
        RolloutPhase,
        RolloutState,
        advanced,
        asked,
        begin,
        found_off,
        next_action,
        percentage,
        refusal,
    )
    from domain.rollout_report import (
        PAST_TENSE,
        RolloutReport,
        decision_alert,
        decision_entry,
        evidence,
        report,
        started_entry,
        summary,
    )
    from domain.rollout_request import Control, RollbackRequest, RolloutControl, RolloutRequest
    from domain.rollout_verdict import look
    from workflows import policies
    from workflows.recall import RecallWorkflow

STATUS = SearchAttributeKey.for_keyword("HuntazeStatus")
LOOKS_PER_RUN = 400
"""Then the rollout continues as new: a history stays small enough to be replayed in a moment."""

REFUSED = "conflict"
"""The type of the error that a refused update ends with."""


class RolloutRun(Model):
    """What ``RolloutWorkflow`` is started with: a request. The rest is what one run of it leaves to the next.

    ``before``: what had been observed when the rollout began in the minute in which it did; ``decided``: so many
    decisions are on record.
    """

    request: RolloutRequest
    started_by: str = "temporal"
    looks_per_run: int = Field(default=LOOKS_PER_RUN, ge=1)
    state: RolloutState | None = None
    before: Observed = Observed()
    decided: int = 0


@workflow.defn
class RolloutWorkflow:
    """Looks, decides, writes the flag, and tells. Its id is the flag's, so that a flag has one rollout at a time."""

    @workflow.init
    def __init__(self, run: RolloutRun) -> None:
        self._run = run
        self._state = run.state
        self._before = run.before
        self._decided = run.decided
        self._refused = ""
        self._revoked: RollbackRequest | None = None
        self._recalls: list[asyncio.Task[None]] = []
        # Decisions are taken one after the other, each on the state that the one before it has left.
        self._deciding = asyncio.Lock()

    @workflow.run
    async def run(self, run: RolloutRun) -> RolloutReport:
        """To the last step, or back to nothing."""
        if self._state is None:
            await self._begin_or_fail()
        for _ in range(run.looks_per_run):
            await self._rest()
            if self._over:
                break
            await self._look()
            if self._over or workflow.info().is_continue_as_new_suggested():
                break
        await workflow.wait_condition(
            lambda: workflow.all_handlers_finished() and all(recall.done() for recall in self._recalls)
        )
        for recall in self._recalls:
            recall.result()
        if not self._over:
            workflow.continue_as_new(self._carried())
        return report(self._known, run.started_by)

    # What people ask for, as signals and, where the outcome is to be known, as updates of the same names.

    @workflow.signal
    async def pause(self, control: RolloutControl | None = None) -> None:
        """Stay on this step until ``resume``; guardrails go on."""
        await self._signalled(Control.PAUSE, control or RolloutControl())

    @workflow.signal
    async def resume(self, control: RolloutControl | None = None) -> None:
        """Go on after ``pause``."""
        await self._signalled(Control.RESUME, control or RolloutControl())

    @workflow.signal
    async def promote(self, control: RolloutControl | None = None) -> None:
        """To the next step now."""
        await self._signalled(Control.PROMOTE, control or RolloutControl())

    @workflow.signal
    async def rollback(self, control: RollbackRequest | None = None) -> None:
        """To 0 % now, or step by step. A rollout that has not begun yet never does."""
        self._revoke(control)
        await self._signalled(Control.ROLLBACK, control or RollbackRequest())

    @workflow.update(name="pause")
    async def pause_now(self, control: RolloutControl | None = None) -> RolloutReport:
        """As the signal; answers when it took effect."""
        return await self._updated(Control.PAUSE, control or RolloutControl())

    @workflow.update(name="resume")
    async def resume_now(self, control: RolloutControl | None = None) -> RolloutReport:
        """As the signal; answers when it took effect."""
        return await self._updated(Control.RESUME, control or RolloutControl())

    @workflow.update(name="promote")
    async def promote_now(self, control: RolloutControl | None = None) -> RolloutReport:
        """As the signal; answers when the flag is written."""
        return await self._updated(Control.PROMOTE, control or RolloutControl())

    @workflow.update(name="rollback")
    async def rollback_now(self, control: RollbackRequest | None = None) -> RolloutReport:
        """As the signal; answers when the flag is written."""
        self._revoke(control)
        return await self._updated(Control.ROLLBACK, control or RollbackRequest())

    @workflow.update
    async def begun(self) -> RolloutReport:
        """The state as soon as the flag is on the first step."""
        try:
            await self._until_begun()
        except Conflict as refused:
            raise ApplicationError(refused.message, type=REFUSED, non_retryable=True) from None
        return report(self._known, self._run.started_by)

    @pause_now.validator
    def _pause_allowed(self, control: RolloutControl | None = None) -> None:
        self._require(Control.PAUSE, control)

    @resume_now.validator
    def _resume_allowed(self, control: RolloutControl | None = None) -> None:
        self._require(Control.RESUME, control)

    @promote_now.validator
    def _promote_allowed(self, control: RolloutControl | None = None) -> None:
        self._require(Control.PROMOTE, control)

    @rollback_now.validator
    def _rollback_allowed(self, control: RollbackRequest | None = None) -> None:
        self._require(Control.ROLLBACK, control)

    @workflow.query
    def state(self) -> RolloutReport | None:
        """Where the rollout stands; null while it is only beginning."""
        return None if self._state is None else report(self._state, self._run.started_by)

    @property
    def _known(self) -> RolloutState:
        if self._state is None:
            raise RuntimeError("the rollout has not begun")
        return self._state

    @property
    def _over(self) -> bool:
        return self._known.phase.is_final

    @property
    def _rolled_back(self) -> bool:
        return self._known.phase is RolloutPhase.ROLLED_BACK

    async def _begin_or_fail(self) -> None:
        try:
            await self._begin()
        except (ActivityError, Conflict) as error:
            cause = error.cause if isinstance(error, ActivityError) else error
            self._refused = cause.message if isinstance(cause, ApplicationError | Conflict) else "it could not begin"
            await workflow.wait_condition(workflow.all_handlers_finished)
            raise ApplicationError(self._refused, type=REFUSED, non_retryable=True) from None

    async def _begin(self) -> None:
        request, rollout_id = self._run.request, workflow.info().first_execution_run_id
        started_at = workflow.now()
        workflow.upsert_search_attributes([STATUS.value_set(str(RolloutPhase.BAKING))])
        before = await self._seen(started_at)
        self._before = before.observed if before is not None else Observed()
        if self._revoked is not None:
            why = f": {self._revoked.reason}" if self._revoked.reason else ""
            raise Conflict(f"rolled back before it began, by {self._revoked.requested_by}{why}")
        flag = await workflow.execute_activity_method(
            RolloutActivities.begin,
            BeginRequest(request=request, rollout_id=rollout_id, actor=self._run.started_by),
            **policies.STEER,
        )
        state = begin(request, flag.triggers, rollout_id, workflow.now())
        # Requests are observed from the minute of the first look on, and what came before it is subtracted.
        self._state = state.model_copy(update={"started_at": started_at})
        await self._announce(Announcement(entry=started_entry(self._state, self._run.started_by)))
        self._show()

    async def _rest(self) -> None:
        """Until the next look, or until there is none."""
        pause = timedelta(seconds=self._run.request.look_seconds)
        try:
            await workflow.wait_condition(lambda: self._over, timeout=pause)
        except TimeoutError:
            return

    async def _look(self) -> None:
        seen = await self._seen(self._known.started_at)
        async with self._deciding:
            if self._over:
                return
            observed = None if seen is None else seen.observed - self._before
            state, judgement = look(self._known, observed, workflow.now())
            self._state = state if seen is None or seen.flag.enabled else found_off(state)
            if seen is not None and not seen.flag.steered:
                await self._released(seen.flag)
                return
            action = next_action(state, judgement, workflow.now())
            if action.kind is not ActionKind.ROLL_BACK and seen is not None and self._switched_off(seen.flag):
                told = f"the flag was disabled by {seen.flag.changed_by}: {seen.flag.reason}"
                action = Action(kind=ActionKind.PAUSE, percentage=percentage(state), reason=told)
            await self._take(action)
            self._show()

    async def _seen(self, since: datetime) -> RolloutLook | None:
        """``None``: the stores do not answer now."""
        request = LookRequest(
            flag=self._run.request.flag, rollout_id=workflow.info().first_execution_run_id, since=since
        )
        try:
            return await workflow.execute_activity_method(RolloutActivities.look, request, **policies.LOOK)
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.non_retryable:
                raise
            return None

    def _switched_off(self, flag: FlagLook) -> bool:
        return not flag.enabled and self._known.phase in {RolloutPhase.BAKING, RolloutPhase.GATE}

    async def _signalled(self, control: Control, given: RolloutControl) -> None:
        try:
            await self._obey(control, given)
        except Conflict as refused:
            workflow.logger.warning("a signal was refused", extra={"control": str(control), "refusal": refused.message})

    async def _updated(self, control: Control, given: RolloutControl) -> RolloutReport:
        try:
            await self._obey(control, given)
        except Conflict as refused:
            raise ApplicationError(refused.message, type=REFUSED, non_retryable=True) from None
        return report(self._known, self._run.started_by)

    def _require(self, control: Control, given: RolloutControl | None) -> None:
        """What is refused here leaves nothing in the history."""
        if self._state is not None and (refused := refusal(self._state, control, given)):
            raise ApplicationError(refused, type=REFUSED, non_retryable=True)

    def _revoke(self, control: RollbackRequest | None) -> None:
        if self._state is None:
            self._revoked = control or RollbackRequest()

    async def _obey(self, control: Control, given: RolloutControl) -> None:
        await self._until_begun()
        async with self._deciding:
            if self._rolled_back and isinstance(given, RollbackRequest) and given.recall:
                self._start_recall()
                return
            action = asked(self._known, control, given)
            if control in {Control.RESUME, Control.PROMOTE}:
                await self._require_enabled()
            await self._take(action)
            self._show()

    async def _until_begun(self) -> None:
        await workflow.wait_condition(lambda: self._state is not None or bool(self._refused))
        if self._refused:
            raise Conflict(self._refused)

    async def _require_enabled(self) -> None:
        seen = await self._seen(self._known.started_at)
        if seen is not None and not seen.flag.enabled:
            raise Conflict(f"the flag is disabled (by {seen.flag.changed_by}): enable it first")

    async def _take(self, action: Action) -> None:
        """The flag first: what follows may wait for a store, and the flag must not."""
        before = self._known
        if action.kind is ActionKind.HOLD:
            return
        final = action.kind in {ActionKind.ROLL_BACK, ActionKind.COMPLETE}
        if final or action.percentage != percentage(before):
            flag = await self._steer(action, releases=final)
            # A last write leaves the flag unsteered: what it stands at then tells whose write it was.
            if not flag.steered and not (final and flag.percentage == action.percentage):
                await self._released(flag, recall=action.recall)
                return
        await self._taken(action)

    async def _released(self, flag: FlagLook, *, recall: bool = False) -> None:
        """Somebody took the flag from the rollout: an emergency rollback while Temporal was away."""
        told = f"the flag was taken from the rollout by {flag.changed_by}: {flag.reason}"
        await self._taken(
            Action(kind=ActionKind.ROLL_BACK, percentage=Decimal(0), reason=told, by=flag.changed_by, recall=recall)
        )

    async def _taken(self, action: Action) -> None:
        before, now = self._known, workflow.now()
        after = self._state = advanced(before, action, now)
        self._decided += 1
        await self._announce(
            Announcement(
                entry=decision_entry(before, action, after, self._decided, now),
                alert=decision_alert(action, after, self._decided, now),
            )
        )
        if after.recall and action.kind in {ActionKind.LOWER, ActionKind.ROLL_BACK}:
            self._start_recall()
        if after.phase is not before.phase:
            workflow.upsert_search_attributes([STATUS.value_set(str(after.phase))])

    async def _steer(self, action: Action, *, releases: bool) -> FlagLook:
        state = self._known
        return await workflow.execute_activity_method(
            RolloutActivities.steer,
            SteerRequest(
                flag=state.request.flag,
                rollout_id=state.rollout_id,
                percentage=action.percentage,
                actor=action.by,
                action=PAST_TENSE[action.kind],
                reason=action.reason or AUTOMATIC,
                evidence=evidence(state),
                releases=releases,
            ),
            **policies.STEER,
        )

    async def _announce(self, made: Announcement) -> None:
        await workflow.execute_activity_method(RolloutActivities.announce, made, **policies.STORE)

    def _start_recall(self) -> None:
        """Beside the decisions: the next one must not wait for a long list."""
        self._recalls.append(asyncio.create_task(self._recall(self._known)))

    async def _recall(self, state: RolloutState) -> None:
        """Recalls go on by themselves; one that runs already is left alone."""
        cursor: str | None = None
        while True:
            wanted = RoutedSince(flag=state.request.flag, since=state.started_at, cursor=cursor)
            found = await workflow.execute_activity_method(RolloutActivities.routed_campaigns, wanted, **policies.STORE)
            await asyncio.gather(*(_recall_one(campaign_id) for campaign_id in found.campaign_ids))
            cursor = found.cursor
            if cursor is None:
                return

    def _show(self) -> None:
        workflow.set_current_details(summary(self._known))

    def _carried(self) -> RolloutRun:
        return self._run.model_copy(update={"state": self._state, "before": self._before, "decided": self._decided})


async def _recall_one(campaign_id: str) -> None:
    try:
        await workflow.start_child_workflow(
            RecallWorkflow.run,
            RecallInput(campaign_id=campaign_id),
            id=recall_workflow_id(campaign_id),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary="takes messages back",
        )
    except WorkflowAlreadyStartedError:
        return
