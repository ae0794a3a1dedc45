"""What a process counts beside Temporal's own metrics; both are served together, in Prometheus's format.

No label holds personal data. What activities count is in ``activities/ladder/metrics.py``, on the same meter.
"""

from temporalio.common import MetricMeter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from domain.alert import Alert
from domain.flag import FlagSnapshotStanding


def serving(address: str) -> Runtime:
    """A runtime that serves its metrics at ``address`` (``host:port``); empty: the default one, which serves none.

    Raises ``ValueError`` when the address can't be listened on.
    """
    if not address:
        return Runtime.default()
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))


class Metrics:
    """The instruments of one process, on the meter of its runtime; without one nothing is counted."""

    def __init__(self, runtime: Runtime | None = None) -> None:
        meter = runtime.metric_meter if runtime is not None else MetricMeter.noop
        # It serves for as long as somebody holds it.
        self._runtime = runtime
        self._alerts = meter.create_counter("huntaze_alerts", "alerts raised")
        self._routed = meter.create_counter("huntaze_legacy_requests", "routed requests of the legacy API")
        self._latency = meter.create_histogram("huntaze_legacy_latency", "of routed requests", "ms")
        self._age = meter.create_gauge("huntaze_flags_age", "since the flags were last read", "ms")
        self._pushed = meter.create_gauge("huntaze_flags_pushed", "1: changes are pushed to this process")

    def raised(self, alert: Alert) -> None:
        """One alert that was kept."""
        self._alerts.add(1, {"kind": str(alert.kind), "severity": str(alert.severity)})

    def routed(
        self, *, method: str, provider: str, version: str, reason: str, arm: str, error: str, latency_ms: float
    ) -> None:
        """One legacy request and who answered it."""
        labels = {"method": method, "provider": provider, "version": version, "reason": reason, "arm": arm}
        self._routed.add(1, {**labels, "error": error})
        self._latency.record(round(latency_ms), {"provider": provider, "arm": arm})

    def flags_known(self, standing: FlagSnapshotStanding) -> None:
        """How fresh the snapshot is; a process that never read any has no age."""
        if standing.age_ms is not None:
            self._age.set(standing.age_ms)
        self._pushed.set(int(standing.pushed))
