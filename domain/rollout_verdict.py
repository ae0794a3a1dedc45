"""What the observations of a rollout mean: pass, fail, insufficient or broken, with the figures. Pure.

Every guardrail in force has a test of its own (domain.rollout_statistics) that goes on over all steps, and all of them
together stop a healthy rollout with a probability of at most ``FALSE_ROLLBACKS``. Passing takes more than not failing:
time, samples, fresh observations, estimates within the guardrails and no suspicion.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.observation import MICROS, ArmCounts, Observed, latency_bound_ms, latency_class
from domain.rollout import Evidence, Judgement, Mark, RolloutState, Verdict, percentage
from domain.rollout_request import Guardrails
from domain.rollout_statistics import Process, above_baseline, above_threshold, beginning_weight, mean_above

FALSE_ROLLBACKS = 0.01
"""The probability that a whole rollout of a healthy canary is rolled back, at most."""

SUSPICION = 20.0
"""Evidence from which nothing is promoted: a guardrail that holds reaches it in one rollout of 20, at most."""

LEAST_TO_FAIL = 10
"""Requests of the canary before anything may fail, however bad they are."""

LEAST_TO_LEARN = 20
"""Requests of the baseline before it is compared with."""

RECENT = 1_000
"""Requests of the baseline from which the step's own count, else all of the rollout, says what is usual."""

EXPECTED_IN_SILENCE = 20.0
"""Requests that should have come while none did, for the silence to mean that counting is broken."""

SILENT_LOOKS, SILENT_AT_LEAST = 3, timedelta(seconds=30)

EXPECTED_ON_AN_ARM = 50.0
"""Requests that an arm without any should have had by the percentage, for the split to be broken."""

P95, BEYOND_P95 = 0.95, 0.05

WINDOW_PARTS = 10
"""The time window moves on in tenths of itself, so that as much has to be remembered of any window."""

LEAST_IN_WINDOW = 20
"""Requests of the canary in the time window for its plain figures to say something."""

WINDOWED = ("error_rate", "p95_latency_ms")
"""The guardrails whose plain figures of the time window must hold, too: those that a flag's triggers set."""


def look(state: RolloutState, observed: Observed | None, now: datetime) -> tuple[RolloutState, Judgement]:
    """Add what came since the last look to the evidence, and judge.

    ``observed``: everything since the rollout began; ``None``: it could not be read.
    """
    if state.phase.is_final and state.judgement is not None:
        return state, state.judgement
    if observed is not None:
        state = state.model_copy(update={"evidence": _grown(state, observed, now)})
    judgement = judge(state, now, readable=observed is not None)
    return state.model_copy(update={"judgement": judgement, "judged_at": now}), judgement


def judge(state: RolloutState, now: datetime, *, readable: bool = True) -> Judgement:
    """What the evidence means at this moment."""
    needed, step = needed_evidence(state.guardrails), state.evidence.step
    figures = _figures(state, step, needed)
    failing = _failing(state, step, needed)
    if failing:
        return Judgement(verdict=Verdict.FAIL, reasons=failing, figures=figures)
    broken = ("the observations could not be read",) if not readable else _broken(state, step, now)
    if broken:
        return Judgement(verdict=Verdict.BROKEN, reasons=broken, figures=figures)
    missing = (*_missing(state, step, now), *_outside(state, step), *_suspicious(state, step))
    if missing:
        return Judgement(verdict=Verdict.INSUFFICIENT, reasons=missing, figures=figures)
    told = f"{step.canary.requests:,} requests of the canary at {percentage(state)} % within every guardrail"
    return Judgement(verdict=Verdict.PASS, reasons=(told, *_errors_told(step)), figures=figures)


def needed_evidence(guardrails: Guardrails) -> float:
    """From which evidence a guardrail fails: each may take an equal part of ``FALSE_ROLLBACKS``."""
    return len(guardrails.in_force()) / FALSE_ROLLBACKS


def _grown(state: RolloutState, observed: Observed, now: datetime) -> Evidence:
    evidence = state.evidence
    seen = evidence.seen | observed
    weight = beginning_weight(
        evidence.looks + 1, first_of_step=evidence.step_looks == 0, steps=len(state.request.steps)
    )
    block, usual = seen - evidence.seen, _usual(evidence)
    processes = {
        name: evidence.processes.get(name, Process()).after(_logs(name, state.guardrails, block, usual), weight)
        for name in state.guardrails.in_force()
    }
    return evidence.model_copy(
        update={
            "seen": seen,
            "marks": _marked(evidence.marks, Mark(at=now, canary=seen.canary), timedelta(minutes=state.window_minutes)),
            "processes": processes,
            "looks": evidence.looks + 1,
            "step_looks": evidence.step_looks + 1,
        }
    )


def _marked(marks: tuple[Mark, ...], new: Mark, window: timedelta) -> tuple[Mark, ...]:
    """From the last mark at or before the window's beginning on, or from the first one that there is."""
    if not marks or new.at - marks[-1].at >= window / WINDOW_PARTS:
        marks = (*marks, new)
    older = sum(mark.at <= new.at - window for mark in marks)
    return marks[max(0, older - 1) :]


def _logs(name: str, rails: Guardrails, block: Observed, usual: ArmCounts) -> Sequence[float]:
    """The log e-values of one block for one guardrail. ``usual``: the baseline of earlier blocks."""
    canary, baseline = block.canary, block.baseline
    match name:
        case "error_rate":
            return above_threshold(canary.failed, canary.requests, (rails.error_rate or 0) / 100)
        case "error_rate_increase":
            expected = _smoothed(usual.failed, usual.requests)
            return above_baseline(canary.failed, canary.requests, baseline.failed, baseline.requests, expected)
        case "p95_latency_ms":
            slow = canary.slower_than(latency_class(rails.p95_latency_ms or 0))
            return above_threshold(slow, canary.requests, BEYOND_P95)
        case "p95_latency_ratio":
            # The canary's latencies divided by the ratio are compared with the baseline's at the baseline's own p95.
            mark = usual.quantile_class(P95) or 0
            own = latency_class(latency_bound_ms(mark) * (rails.p95_latency_ratio or 1))
            expected = _smoothed(usual.slower_than(mark), usual.requests)
            return above_baseline(
                canary.slower_than(own), canary.requests, baseline.slower_than(mark), baseline.requests, expected
            )
        case "compliance_score":
            scores = canary.compliance
            lost = scores.count - scores.total / MICROS
            return above_threshold(lost, scores.count, 1 - (rails.compliance_score or 0))
        case _:
            return mean_above(canary.cost.total, canary.cost.count, rails.cost_per_request_micros or 1)


def _usual(evidence: Evidence) -> ArmCounts:
    recent = evidence.step.baseline
    return recent if recent.requests >= RECENT else evidence.seen.baseline


def _smoothed(number: int, requests: int) -> float | None:
    return (number + 0.5) / (requests + 1) if requests >= LEAST_TO_LEARN else None


def _failing(state: RolloutState, step: Observed, needed: float) -> tuple[str, ...]:
    if state.evidence.seen.canary.requests < LEAST_TO_FAIL:
        return ()
    return tuple(
        f"{_told(name, state.guardrails, step)}: evidence {process.value:,.0f} against the needed {needed:,.0f}"
        for name, process in state.evidence.processes.items()
        if process.value >= needed
    )


def _suspicious(state: RolloutState, step: Observed) -> tuple[str, ...]:
    return tuple(
        f"{_told(name, state.guardrails, step)}: evidence {process.value:,.0f}, not promoted from {SUSPICION:,.0f} on"
        for name, process in state.evidence.processes.items()
        if process.value >= SUSPICION
    )


def _broken(state: RolloutState, step: Observed, now: datetime) -> tuple[str, ...]:
    reasons = []
    seen = state.evidence.seen
    if seen.fresh_at is not None:
        silent = now - seen.fresh_at
        least = max(SILENT_LOOKS * timedelta(seconds=state.request.look_seconds), SILENT_AT_LEAST)
        counted_in = max(seen.fresh_at - state.started_at, timedelta(minutes=1))
        expected = seen.requests * (silent / counted_in)
        if silent > least and expected >= EXPECTED_IN_SILENCE:
            reasons.append(
                f"nothing was counted for {silent.total_seconds():,.0f} s, when about {expected:,.0f} requests were due"
            )
    share = float(percentage(state)) / 100
    for name, counts, part in (("canary", step.canary, share), ("baseline", step.baseline, 1 - share)):
        due = step.requests * part
        if counts.requests == 0 and due > EXPECTED_ON_AN_ARM:
            reasons.append(f"the {name} had none of {step.requests:,} requests, where about {due:,.0f} were due")
    return tuple(reasons)


def _missing(state: RolloutState, step: Observed, now: datetime) -> tuple[str, ...]:
    """Time and samples."""
    reasons = []
    baked = (now - state.step_since).total_seconds()
    if baked < state.request.bake_seconds:
        reasons.append(f"{baked:,.0f} of {state.request.bake_seconds:,} s at {percentage(state)} %")
    least = state.request.min_samples
    arms = [("canary", step.canary)] + ([("baseline", step.baseline)] if percentage(state) < 100 else [])
    reasons += [
        f"{counts.requests:,} of {least:,} requests of the {name}" for name, counts in arms if counts.requests < least
    ]
    rails = state.guardrails
    values = (
        (rails.compliance_score, step.canary.compliance.count, "compliance scores"),
        (rails.cost_per_request_micros, step.canary.cost.count, "costs"),
    )
    # A guardrail that nobody measures must not hold by silence.
    reasons += [
        f"{count:,} of {least:,} {what} of the canary" for limit, count, what in values if limit and count < least
    ]
    return tuple(reasons)


def _outside(state: RolloutState, step: Observed) -> tuple[str, ...]:
    """Absolute guardrails that the step's own figures are outside of, or those of the time window, although it may be
    by chance."""
    rails, recent = state.guardrails, state.evidence.recent
    on_step = _exceeded(rails, step.canary)
    lately = _exceeded(rails, recent) if recent.requests >= LEAST_IN_WINDOW else ()
    window = f"in the last {state.window_minutes:,} min: "
    told = [_told(name, rails, step) for name in on_step]
    told += [
        window + _told(name, rails, Observed(canary=recent))
        for name in lately
        if name in WINDOWED and name not in on_step
    ]
    return tuple(f"{each}: not promoted outside of a guardrail" for each in told)


def _exceeded(rails: Guardrails, canary: ArmCounts) -> tuple[str, ...]:
    """The absolute guardrails that plain figures are outside of."""
    rate, p95 = canary.error_rate, canary.quantile_class(P95)
    score, cost = canary.compliance.mean, canary.cost.mean
    outside = {
        "error_rate": rate is not None and rails.error_rate is not None and rate * 100 > rails.error_rate,
        "p95_latency_ms": p95 is not None
        and rails.p95_latency_ms is not None
        and p95 > latency_class(rails.p95_latency_ms),
        "compliance_score": score is not None
        and rails.compliance_score is not None
        and score < rails.compliance_score * MICROS,
        "cost_per_request_micros": cost is not None
        and rails.cost_per_request_micros is not None
        and cost > rails.cost_per_request_micros,
    }
    return tuple(name for name, is_so in outside.items() if is_so)


def _told(name: str, rails: Guardrails, step: Observed) -> str:
    """How a guardrail stands on this step, in words."""
    canary, baseline = step.canary, step.baseline
    match name:
        case "error_rate":
            return f"{_errors('canary', canary)}, at most {rails.error_rate:g} % allowed"
        case "error_rate_increase":
            return ", ".join(_errors_told(step)) or "no requests yet"
        case "p95_latency_ms":
            return f"{_p95('canary', canary)}, at most {rails.p95_latency_ms:g} ms allowed"
        case "p95_latency_ratio":
            allowed = f"at most {rails.p95_latency_ratio:g} times as much allowed"
            return f"{_p95('canary', canary)}, {_p95('baseline', baseline)}, {allowed}"
        case "compliance_score":
            score, least = (canary.compliance.mean or 0) / MICROS, rails.compliance_score
            return f"canary's mean compliance {score:.3f} over {canary.compliance.count:,}, at least {least:g} wanted"
        case _:
            cost, most = canary.cost.mean or 0, rails.cost_per_request_micros
            return f"canary's mean cost {cost:,.0f} µ$ over {canary.cost.count:,}, at most {most:,} µ$ allowed"


def _errors_told(step: Observed) -> tuple[str, ...]:
    arms = (("canary", step.canary), ("baseline", step.baseline))
    return tuple(_errors(name, counts) for name, counts in arms if counts.requests)


def _errors(name: str, counts: ArmCounts) -> str:
    return f"{name} {100 * (counts.error_rate or 0):.1f} % errors ({counts.failed:,} of {counts.requests:,})"


def _p95(name: str, counts: ArmCounts) -> str:
    p95 = counts.quantile(P95)
    return f"{name} p95 unknown" if p95 is None else f"{name} p95 {p95:,.0f} ms"


def _figures(state: RolloutState, step: Observed, needed: float) -> dict[str, Any]:
    """For machines: what the sentences rest on. Rates from 0 to 1, ms, µ$."""
    return {
        "percentage": float(percentage(state)),
        "neededEvidence": needed,
        "evidence": {name: round(process.value, 3) for name, process in state.evidence.processes.items()},
        "canary": _arm_figures(step.canary),
        "baseline": _arm_figures(step.baseline),
        "window": {"minutes": state.window_minutes, "canary": _arm_figures(state.evidence.recent)},
        "freshAt": state.evidence.seen.fresh_at.isoformat() if state.evidence.seen.fresh_at else None,
        "looks": state.evidence.looks,
    }


def _arm_figures(counts: ArmCounts) -> dict[str, Any]:
    score = counts.compliance.mean
    return {
        "requests": counts.requests,
        "errors": counts.errors,
        "errorRate": counts.error_rate,
        "p95LatencyMs": counts.quantile(P95),
        "compliance": None if score is None else score / MICROS,
        "costMicros": counts.cost.mean,
    }
