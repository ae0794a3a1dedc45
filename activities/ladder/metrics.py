"""What the ladder counts, on the worker's own meter: who answered, who could not and why, how long it took."""

from temporalio import activity

from domain.breaker import BreakerStatus
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
        self._passed_over = meter.create_counter("huntaze_provider_passed_over", "who stood before one that answered")
        self._breaker = meter.create_gauge("huntaze_breaker_status", "0 closed, 1 half open, 2 open")
        self._transitions = meter.create_counter("huntaze_breaker_transitions", "a breaker came into another state")
        self._rejections = meter.create_counter(
            "huntaze_breaker_rejections", "calls that a breaker did not let through"
        )
        self._failures = meter.create_counter("huntaze_breaker_failures", "failed calls that count for a breaker")

    def answered(self, route: RouteTaken, latency_ms: float | None) -> None:
        """One answer; ``None``: nobody knows how long it took."""
        labels = {
            "intent": str(route.intent),
            "target": route.target,
            "reason": str(route.reason),
            "experiment": route.experiment,
            "arm": route.arm,
        }
        self._answers.add(1, labels)
        if latency_ms is not None:
            self._latency.record(round(latency_ms), {"target": route.target})
        for each in route.passed_over:
            labels = {"intent": str(route.intent), "target": each.target, "reason": str(each.reason)}
            self._passed_over.add(1, labels)

    def stepped(self, step: FallbackStep) -> None:
        """One step down."""
        labels = {"target": f"{step.from_provider}/{step.model}", "to": step.to, "reason": str(step.reason)}
        self._fallbacks.add(1, labels)

    def found(self, target: str, status: BreakerStatus) -> None:
        """The breaker as this caller found or left it."""
        self._breaker.set(_LEVELS[status], {"target": target})

    def turned(self, target: str, status: BreakerStatus) -> None:
        """This caller brought the breaker into another state."""
        self._transitions.add(1, {"target": target, "to": str(status)})
        self.found(target, status)

    def rejected(self, target: str) -> None:
        """The breaker did not let a call through."""
        self._rejections.add(1, {"target": target})

    def failed(self, target: str) -> None:
        """A call failed, and the breaker was told."""
        self._failures.add(1, {"target": target})
