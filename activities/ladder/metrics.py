"""What the ladder counts, on the worker's own meter: who answered, who could not and why, how long it took."""

from temporalio import activity

from domain.breaker import Admission, BreakerStatus
from domain.provider import FallbackStep
from domain.routing import RouteTaken

_LEVELS = {BreakerStatus.CLOSED: 0, BreakerStatus.HALF_OPEN: 1, BreakerStatus.OPEN: 2}


class LadderMetrics:
    """The instruments of one activity. No label holds personal data."""

    def __init__(self) -> None:
        meter = activity.metric_meter()
        self._answers = meter.create_counter("huntaze_provider_answers", "answers by model and reason of its choice")
        self._fallbacks = meter.create_counter("huntaze_provider_fallbacks", "steps down the ladder")
        self._latency = meter.create_histogram("huntaze_provider_latency", "from the call to its answer", "ms")
        self._breaker = meter.create_gauge("huntaze_breaker_status", "0 closed, 1 half open, 2 open")

    def answered(self, route: RouteTaken, latency_ms: float) -> None:
        """One answer."""
        labels = {
            "intent": str(route.intent),
            "target": route.target,
            "reason": str(route.reason),
            "experiment": route.experiment,
            "arm": route.arm,
        }
        self._answers.add(1, labels)
        self._latency.record(round(latency_ms), {"target": route.target})

    def stepped(self, step: FallbackStep) -> None:
        """One step down."""
        labels = {"target": f"{step.from_provider}/{step.model}", "to": step.to, "reason": str(step.reason)}
        self._fallbacks.add(1, labels)

    def admitted(self, target: str, admission: Admission) -> None:
        """The breaker as this caller found it."""
        self._breaker.set(_LEVELS[admission.status], {"target": target})
