"""What is told of a rollout: to whoever asks, to the audit log, and as alerts. Pure."""

from datetime import datetime
from typing import Any

from pydantic import Field

from domain.alert import Alert, AlertKind, Severity
from domain.audit import AuditEntry
from domain.flag import Flag, Percentage
from domain.model import Model
from domain.rollout import Action, ActionKind, Decision, Judgement, RolloutPhase, RolloutState, percentage
from domain.rollout_request import Guardrails

STARTED, COMPLETED = "started", "completed"

PAST_TENSE: dict[ActionKind, str] = {
    ActionKind.PROMOTE: "promoted",
    ActionKind.GATE: "gated",
    ActionKind.PAUSE: "paused",
    ActionKind.RESUME: "resumed",
    ActionKind.LOWER: "lowered",
    ActionKind.ROLL_BACK: "rolled_back",
    ActionKind.COMPLETE: COMPLETED,
}
"""What the audit log calls an action that was taken."""

_ALERTS: dict[ActionKind, tuple[AlertKind, Severity]] = {
    ActionKind.ROLL_BACK: (AlertKind.ROLLOUT_ROLLED_BACK, Severity.CRITICAL),
    ActionKind.PAUSE: (AlertKind.ROLLOUT_PAUSED, Severity.WARNING),
    # Waiting for a person is a pause that was planned.
    ActionKind.GATE: (AlertKind.ROLLOUT_PAUSED, Severity.INFO),
    ActionKind.COMPLETE: (AlertKind.ROLLOUT_COMPLETED, Severity.INFO),
}


class RolloutReport(Model):
    """Where a rollout stands, and why; the answer of the query ``state``.

    ``reason``: of the request; ``note``: of the pause or the rollback, else empty.
    """

    flag: str
    rollout_id: str
    summary: str = Field(description="one sentence")
    phase: RolloutPhase
    percentage: Percentage
    steps: tuple[Percentage, ...]
    manual_gates: tuple[Percentage, ...] = ()
    guardrails: Guardrails = Field(description="in force, with the flag's own triggers")
    started_at: datetime
    started_by: str
    reason: str
    note: str = ""
    step_since: datetime
    judgement: Judgement | None = Field(default=None, description="the last one; null: nobody has looked yet")
    judged_at: datetime | None = None
    decisions: tuple[Decision, ...] = Field(default=(), description="the latest, oldest first; the audit log has all")


def report(state: RolloutState, started_by: str) -> RolloutReport:
    """For whoever asks."""
    return RolloutReport(
        flag=state.request.flag,
        rollout_id=state.rollout_id,
        summary=summary(state),
        phase=state.phase,
        percentage=percentage(state),
        steps=state.request.steps,
        manual_gates=state.request.manual_gates,
        guardrails=state.guardrails,
        started_at=state.started_at,
        started_by=started_by,
        reason=state.request.reason,
        note=state.reason,
        step_since=state.step_since,
        judgement=state.judgement,
        judged_at=state.judged_at,
        decisions=state.decisions,
    )


def summary(state: RolloutState) -> str:
    """One sentence: the phase, the percentage, and what the last look said."""
    where = f"{state.phase.replace('_', ' ')} at {percentage(state)} %"
    if state.reason:
        return f"{where}: {state.reason}"
    if state.judgement is None or state.phase.is_final:
        return where
    said = "; ".join(state.judgement.reasons)
    return f"{where}: {state.judgement.verdict}" + (f" ({said})" if said else "")


def evidence(state: RolloutState) -> dict[str, Any] | None:
    """The last judgement, as the audit log keeps it."""
    return None if state.judgement is None else state.judgement.model_dump(mode="json", by_alias=True)


def started_entry(state: RolloutState, started_by: str) -> AuditEntry:
    """What the audit log says of the beginning."""
    return AuditEntry(
        entry_id=f"rollout/{state.rollout_id}/0",
        subject=subject(state.request.flag),
        action=STARTED,
        actor=started_by,
        at=state.started_at,
        reason=state.request.reason,
        after={
            **_standing(state),
            "request": state.request.model_dump(mode="json", by_alias=True),
            "guardrails": state.guardrails.model_dump(mode="json", by_alias=True),
        },
    )


def decision_entry(before: RolloutState, action: Action, after: RolloutState, number: int, at: datetime) -> AuditEntry:
    """What the audit log says of the ``number``-th decision (from 1), with the evidence that it was taken on."""
    return AuditEntry(
        entry_id=_decision_id(action.kind, after.rollout_id, number),
        subject=subject(after.request.flag),
        action=PAST_TENSE[action.kind],
        actor=action.by,
        at=at,
        reason=action.reason,
        before=_standing(before),
        after=_standing(after),
        evidence=evidence(before),
    )


def decision_alert(action: Action, after: RolloutState, number: int, at: datetime) -> Alert | None:
    """The alert of the ``number``-th decision; ``None``: nobody needs to look."""
    if action.kind not in _ALERTS:
        return None
    kind, severity = _ALERTS[action.kind]
    what = PAST_TENSE[action.kind].replace("_", " ")
    detail = f"{after.request.flag}: rollout {what} at {percentage(after)} % by {action.by}"
    return Alert(
        alert_id=_decision_id(action.kind, after.rollout_id, number),
        kind=kind,
        severity=severity,
        at=at,
        detail=f"{detail}: {action.reason}" if action.reason else detail,
    )


def released_entry(flag: Flag, rollout_id: str, by: str, reason: str, at: datetime) -> AuditEntry:
    """What the audit log says of a rollout whose flag was set to 0 % without its workflow. ``flag``: before that.

    It has the id of the workflow's own entry of a rollback, so that the log has one of them.
    """
    return AuditEntry(
        entry_id=_decision_id(ActionKind.ROLL_BACK, rollout_id),
        subject=subject(flag.name),
        action=PAST_TENSE[ActionKind.ROLL_BACK],
        actor=by,
        at=at,
        reason=reason,
        before={"percentage": str(flag.rollout_percentage), "rolloutId": rollout_id},
        after={"phase": str(RolloutPhase.ROLLED_BACK), "percentage": "0", "rolloutId": rollout_id},
    )


def released_alert(flag: str, rollout_id: str, by: str, reason: str, at: datetime) -> Alert:
    """The alert of the same; again the only one of the rollback."""
    kind, severity = _ALERTS[ActionKind.ROLL_BACK]
    return Alert(
        alert_id=_decision_id(ActionKind.ROLL_BACK, rollout_id),
        kind=kind,
        severity=severity,
        at=at,
        detail=f"{flag}: rollout rolled back at 0 % by {by}, without its workflow: {reason}",
    )


def subject(flag: str) -> str:
    """How the audit log names the rollouts of a flag."""
    return f"rollout/{flag}"


def _decision_id(kind: ActionKind, rollout_id: str, number: int = 0) -> str:
    """A rollout is rolled back once, by whomever: whoever reports it first names it."""
    return f"rollout/{rollout_id}/{PAST_TENSE[kind] if kind is ActionKind.ROLL_BACK else number}"


def _standing(state: RolloutState) -> dict[str, Any]:
    return {"phase": str(state.phase), "percentage": str(percentage(state)), "rolloutId": state.rollout_id}
