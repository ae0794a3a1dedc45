"""Rollouts and observations for tests of the verdict and of the state machine."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.flag import RollbackTriggers
from domain.observation import ArmCounts, Observed, Sums, latency_class
from domain.rollout import RolloutState, begin
from domain.rollout_request import Guardrails, RolloutRequest

BEGAN = datetime(2026, 11, 22, 18, tzinfo=UTC)
NO_TRIGGERS = RollbackTriggers(error_rate_threshold=None)


def after(seconds: float) -> datetime:
    """That long after the beginning."""
    return BEGAN + timedelta(seconds=seconds)


def request(**changes: object) -> RolloutRequest:
    """5 → 25 → 50 → 100 %, 600 s and 100 requests each."""
    return RolloutRequest.model_validate(
        {"flag": "hybrid-orchestrator", "reason": "The new writer.", "guardrails": Guardrails(), **changes}
    )


def started(triggers: RollbackTriggers = NO_TRIGGERS, **changes: object) -> RolloutState:
    """At the beginning."""
    return begin(request(**changes), triggers, "rollout-1", BEGAN)


def arm(
    requests: int,
    failed: int = 0,
    *,
    ms: float = 400,
    slow: int = 0,
    score: float | None = None,
    cost: int | None = None,
) -> ArmCounts:
    """Requests of ``ms``, of them ``slow`` 10 times as long; each of this compliance score and cost."""
    latencies = {latency_class(ms): requests - slow, latency_class(10 * ms): slow}
    return ArmCounts(
        requests=requests,
        errors={"server_error": failed} if failed else {},
        latencies={klass: number for klass, number in latencies.items() if number},
        cost=Sums() if cost is None else Sums(count=requests, total=requests * cost),
        compliance=Sums() if score is None else Sums(count=requests, total=round(requests * score * 1_000_000)),
    )


def observed(canary: ArmCounts, baseline: ArmCounts, at: datetime) -> Observed:
    """Both arms, counted up to ``at``."""
    return Observed(canary=canary, baseline=baseline, fresh_at=at)


def percent(*values: int) -> tuple[Decimal, ...]:
    return tuple(Decimal(value) for value in values)
