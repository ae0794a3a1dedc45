"""Canary rollouts: how far one has come, and what to do next. Pure.

One rollout is a value that three functions carry on, so that a workflow only keeps time and writes what it is told::

    state = begin(request, flag.rollback_triggers, rollout_id, now)
    state, judgement = look(state, observed, now)         # domain.rollout_verdict, every look_seconds
    action = next_action(state, judgement, now)           # or asked(state, control, given), by a person
    ... write action.percentage into the flag if it differs from percentage(state) ...
    state = advanced(state, action, now)
"""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field

from domain.errors import Conflict
from domain.flag import Percentage, RollbackTriggers
from domain.model import Model
from domain.observation import ArmCounts, Observed
from domain.rollout_request import Control, Guardrails, RollbackRequest, RolloutControl, RolloutRequest
from domain.rollout_statistics import Process

AUTOMATIC = "rollout"
"""Who acts when no person does."""

KEPT_DECISIONS = 100
"""Decisions that the state carries along, the newest; the audit log has them all."""


class RolloutPhase(StrEnum):
    """Where a rollout stands."""

    BAKING = "baking"
    GATE = "gate"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self in {RolloutPhase.COMPLETED, RolloutPhase.ROLLED_BACK}


class Verdict(StrEnum):
    """What the observations of a step mean; only ``pass`` promotes."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    BROKEN = "broken"


class Judgement(Model):
    """A verdict with its evidence: sentences for people and the figures that they rest on."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    figures: dict[str, Any] = Field(default_factory=dict)


class ActionKind(StrEnum):
    """What is done with a rollout. ``gate``: wait for a person. ``lower``: one step down a gradual rollback."""

    HOLD = "hold"
    PROMOTE = "promote"
    GATE = "gate"
    PAUSE = "pause"
    RESUME = "resume"
    LOWER = "lower"
    ROLL_BACK = "roll_back"
    COMPLETE = "complete"


class Action(Model):
    """What to do now. ``percentage``: the flag's after it; a change of it is written before ``advanced`` is called.

    ``recall``: also take back messages that may still be unsent.
    """

    kind: ActionKind
    percentage: Percentage
    reason: str = ""
    by: str = AUTOMATIC
    recall: bool = False


class Decision(Model):
    """An action that was taken, and the judgement that it was taken on."""

    kind: ActionKind
    at: datetime
    by: str
    reason: str
    before: Percentage = Field(description="of the flag")
    after: Percentage
    verdict: Verdict | None = Field(default=None, description="null: nothing had been judged yet")


class Mark(Model):
    """What had been seen of the canary by a moment."""

    at: datetime
    canary: ArmCounts


class Evidence(Model):
    """What the rollout has seen. ``seen``: everything since it began, each number at its highest, so that a memory that
    lost counts neither lowers it nor counts twice. ``step_from``: ``seen`` when the step began. ``marks``: ``seen`` at
    some moments of the flag's time window, oldest first; never from before the step."""

    seen: Observed = Observed()
    step_from: Observed = Observed()
    marks: tuple[Mark, ...] = ()
    processes: dict[str, Process] = Field(default_factory=dict, description="by guardrail")
    looks: int = 0
    step_looks: int = 0

    @property
    def step(self) -> Observed:
        """What was observed on the present step."""
        return self.seen - self.step_from

    @property
    def recent(self) -> ArmCounts:
        """What was observed of the canary in the time window, or on the step while that is younger."""
        return self.seen.canary - self.marks[0].canary if self.marks else self.step.canary


class RolloutState(Model):
    """Everything that a rollout is, from its start to its end.

    ``position``: which of the request's steps it is on. ``step_since``: since when; a pause moves it on by its length,
    so that bake time is time that baked. ``waiting_since``: from when ``max_wait_seconds`` counts. ``resume_to``: the
    phase before a pause. ``was_off``: the flag was found disabled on this step. ``reason``: of the pause, or of the
    rollback. ``window_minutes``: over which the absolute guardrails' plain figures must hold, for a promotion.
    """

    rollout_id: str
    request: RolloutRequest
    guardrails: Guardrails
    phase: RolloutPhase = RolloutPhase.BAKING
    position: int = 0
    started_at: datetime
    step_since: datetime
    waiting_since: datetime
    resume_to: RolloutPhase | None = None
    paused_at: datetime | None = None
    was_off: bool = False
    reason: str = ""
    recall: bool = False
    window_minutes: int = 5
    evidence: Evidence = Evidence()
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    decisions: tuple[Decision, ...] = Field(default=(), description=f"the last {KEPT_DECISIONS}, oldest first")


def rollout_workflow_id(flag: str) -> str:
    """One rollout a flag."""
    return f"rollout-{flag}"


def begin(request: RolloutRequest, triggers: RollbackTriggers, rollout_id: str, now: datetime) -> RolloutState:
    """On the first step, which is to be written to the flag."""
    return RolloutState(
        rollout_id=rollout_id,
        request=request,
        guardrails=request.guardrails.over(triggers),
        started_at=now,
        step_since=now,
        waiting_since=now,
        window_minutes=triggers.time_window_minutes,
        evidence=Evidence(marks=(Mark(at=now, canary=ArmCounts()),)),
    )


def percentage(state: RolloutState) -> Decimal:
    """What the flag is to stand at."""
    return Decimal(0) if state.phase is RolloutPhase.ROLLED_BACK else state.request.steps[state.position]


def next_action(state: RolloutState, judgement: Judgement, now: datetime) -> Action:
    """What follows from a judgement. A failure ends the rollout from wherever it is; only a pass promotes."""
    if state.phase.is_final:
        return _hold(state)
    if judgement.verdict is Verdict.FAIL:
        return _to_nothing("; ".join(judgement.reasons), recall=state.request.recall_on_rollback)
    if state.phase is RolloutPhase.ROLLING_BACK:
        return _one_down(state) if now - state.step_since >= _bake(state) else _hold(state)
    if state.phase is not RolloutPhase.BAKING:
        return _hold(state)
    said = "; ".join(judgement.reasons)
    if judgement.verdict is Verdict.PASS:
        if percentage(state) in state.request.manual_gates:
            return Action(kind=ActionKind.GATE, percentage=percentage(state), reason=said)
        return _one_up(state, said)
    wait = max(timedelta(seconds=state.request.max_wait_seconds), _bake(state))
    if now - state.waiting_since >= wait:
        told = f"no pass after {wait.total_seconds():,.0f} s at {percentage(state)} %: {said}"
        return Action(kind=ActionKind.PAUSE, percentage=percentage(state), reason=told)
    return _hold(state)


def refusal(state: RolloutState, control: Control, given: RolloutControl | None = None) -> str | None:
    """Why a person's wish can't be followed now; ``None``: it can."""
    if state.phase.is_final:
        return f"the rollout is over: {state.phase.replace('_', ' ')}"
    if control is Control.ROLLBACK:
        again = isinstance(given, RollbackRequest) and given.gradual and state.phase is RolloutPhase.ROLLING_BACK
        return "the rollout is being rolled back already" if again else None
    if state.phase is RolloutPhase.ROLLING_BACK:
        return "the rollout is being rolled back; only an immediate rollback is possible"
    if control is Control.PAUSE and state.phase is RolloutPhase.PAUSED:
        return "the rollout is paused already"
    if control is Control.RESUME and state.phase is not RolloutPhase.PAUSED:
        return "the rollout is not paused"
    if control is Control.PROMOTE and given and given.from_percentage not in {None, percentage(state)}:
        return f"the rollout stands at {percentage(state)} %, not at {given.from_percentage} %"
    if control is Control.PROMOTE and state.judgement and state.judgement.verdict is Verdict.FAIL:
        return f"the canary fails: {'; '.join(state.judgement.reasons)}"
    return None


def asked(state: RolloutState, control: Control, given: RolloutControl) -> Action:
    """What a person's wish comes to; raises ``Conflict`` with the refusal. ``promote`` needs no pass, only no fail."""
    if refused := refusal(state, control, given):
        raise Conflict(refused)
    said = {"by": given.requested_by, "reason": given.reason or f"{control} asked for by {given.requested_by}"}
    match control:
        case Control.PAUSE:
            action = Action(kind=ActionKind.PAUSE, percentage=percentage(state))
        case Control.RESUME:
            action = Action(kind=ActionKind.RESUME, percentage=percentage(state))
        case Control.PROMOTE:
            action = _one_up(state, "")
        case Control.ROLLBACK:
            gradual = isinstance(given, RollbackRequest) and given.gradual
            action = _one_down(state) if gradual else _to_nothing("")
    recall = isinstance(given, RollbackRequest) and given.recall
    return action.model_copy(update=said | {"recall": recall})


def advanced(state: RolloutState, action: Action, now: datetime) -> RolloutState:
    """The rollout after an action took effect, with the action among its decisions. Holding is none."""
    if action.kind is ActionKind.HOLD:
        return state
    decision = Decision(
        kind=action.kind,
        at=now,
        by=action.by,
        reason=action.reason,
        before=percentage(state),
        after=action.percentage,
        verdict=state.judgement.verdict if state.judgement else None,
    )
    changes: dict[str, Any] = {"decisions": (*state.decisions, decision)[-KEPT_DECISIONS:]}
    match action.kind:
        case ActionKind.PROMOTE:
            changes |= _step(state, state.position + 1, RolloutPhase.BAKING, now)
        case ActionKind.LOWER:
            changes |= _step(state, state.position - 1, RolloutPhase.ROLLING_BACK, now)
            # Only the wish names why, and whether to recall; the further steps down follow from it.
            if state.phase is not RolloutPhase.ROLLING_BACK:
                changes |= {"reason": action.reason, "recall": action.recall}
        case ActionKind.GATE:
            changes |= {"phase": RolloutPhase.GATE}
        case ActionKind.PAUSE:
            changes |= {
                "phase": RolloutPhase.PAUSED,
                "resume_to": state.phase,
                "reason": action.reason,
                "paused_at": now,
            }
        case ActionKind.RESUME:
            changes |= _resumed(state, now)
        case ActionKind.ROLL_BACK:
            changes |= {"phase": RolloutPhase.ROLLED_BACK, "resume_to": None}
            changes |= {"reason": action.reason or state.reason, "recall": state.recall or action.recall}
        case ActionKind.COMPLETE:
            changes |= {"phase": RolloutPhase.COMPLETED, "resume_to": None, "reason": ""}
    return state.model_copy(update=changes)


def found_off(state: RolloutState) -> RolloutState:
    """With the knowledge that the flag was disabled: what a step saw before counts no more when it is resumed."""
    return state.model_copy(update={"was_off": True})


def _hold(state: RolloutState) -> Action:
    return Action(kind=ActionKind.HOLD, percentage=percentage(state))


def _one_up(state: RolloutState, reason: str) -> Action:
    if state.position + 1 == len(state.request.steps):
        return Action(kind=ActionKind.COMPLETE, percentage=percentage(state), reason=reason)
    return Action(kind=ActionKind.PROMOTE, percentage=state.request.steps[state.position + 1], reason=reason)


def _one_down(state: RolloutState) -> Action:
    """Down the steps, or to nothing from the first one."""
    if state.position == 0:
        return _to_nothing(state.reason)
    below = state.request.steps[state.position - 1]
    return Action(kind=ActionKind.LOWER, percentage=below, reason=state.reason)


def _to_nothing(reason: str, *, recall: bool = False) -> Action:
    return Action(kind=ActionKind.ROLL_BACK, percentage=Decimal(0), reason=reason, recall=recall)


def _bake(state: RolloutState) -> timedelta:
    return timedelta(seconds=state.request.bake_seconds)


def _step(state: RolloutState, position: int, phase: RolloutPhase, now: datetime) -> dict[str, Any]:
    """What changes with the step: its time and its observations begin anew, the evidence goes on."""
    # Only the way up meets new users, and only as many first looks as there are steps have a weight of their own.
    looks = 0 if phase is RolloutPhase.BAKING else state.evidence.step_looks
    return {
        "position": position,
        "phase": phase,
        "step_since": now,
        "waiting_since": now,
        "resume_to": None,
        "paused_at": None,
        "was_off": False,
        "reason": state.reason if phase is RolloutPhase.ROLLING_BACK else "",
        "evidence": _from_now(state.evidence, now).model_copy(update={"step_looks": looks}),
    }


def _resumed(state: RolloutState, now: datetime) -> dict[str, Any]:
    """What changes when a pause ends. After one in which the flag was off the step begins anew."""
    changes = {
        "phase": state.resume_to or RolloutPhase.BAKING,
        "resume_to": None,
        "paused_at": None,
        "reason": "",
        "waiting_since": now,
    }
    if state.was_off:
        # It goes on as the same step: the weight of a first look is spent.
        return changes | {"step_since": now, "was_off": False, "evidence": _from_now(state.evidence, now)}
    return changes | {"step_since": state.step_since + (now - (state.paused_at or now))}


def _from_now(evidence: Evidence, now: datetime) -> Evidence:
    mark = Mark(at=now, canary=evidence.seen.canary)
    return evidence.model_copy(update={"step_from": evidence.seen, "marks": (mark,)})
