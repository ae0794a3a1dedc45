"""What a process serves to Prometheus, read as Prometheus reads it."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import anyio
import httpx
import pytest

from adapters.alert import DynamoAlerts
from adapters.bootstrap import open_ports
from adapters.dynamodb import Dynamo
from adapters.metrics import Metrics, serving
from adapters.settings import Settings
from domain.alert import Alert, AlertKind, Severity
from local import ports


@pytest.fixture
async def served() -> tuple[Metrics, httpx.AsyncClient]:
    port = ports.choose(["metrics"], {})["metrics"]
    metrics = Metrics(serving(f"{ports.HOST}:{port}"))
    return metrics, httpx.AsyncClient(base_url=ports.url(port), trust_env=False)


def value_of(text: str, name: str, **labels: str) -> float | None:
    """The value of the one series with this name and at least these labels."""
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        if found and found[1] == name and all(f'{key}="{value}"' in found[2] for key, value in labels.items()):
            return float(found[3])
    return None


async def test_each_alert_is_counted_once(dynamo: Dynamo, served: tuple[Metrics, httpx.AsyncClient]) -> None:
    metrics, client = served
    alerts = DynamoAlerts(dynamo, metrics)
    alert = Alert(
        alert_id=str(uuid4()),
        kind=AlertKind.ROLLOUT_ROLLED_BACK,
        severity=Severity.CRITICAL,
        at=datetime.now(UTC),
    )
    assert await alerts.raise_alert(alert)
    assert not await alerts.raise_alert(alert)
    async with client:
        text = (await client.get("/metrics")).text
    assert value_of(text, "huntaze_alerts", kind="rollout_rolled_back", severity="critical") == 1


async def test_routed_requests_and_the_age_of_flags(
    settings: Settings, served: tuple[Metrics, httpx.AsyncClient]
) -> None:
    metrics, client = served
    metrics.routed(
        method="POST", provider="hybrid", version="v1", reason="in_rollout", arm="canary", error="", latency_ms=12.4
    )
    async with client, open_ports(settings, metrics):
        while True:
            text = (await client.get("/metrics")).text
            if value_of(text, "huntaze_flags_pushed") == 1 and value_of(text, "huntaze_flags_age") is not None:
                break
            await anyio.sleep(0.05)
    assert value_of(text, "huntaze_legacy_requests", provider="hybrid", reason="in_rollout", arm="canary") == 1
    assert value_of(text, "huntaze_legacy_latency_count", provider="hybrid", arm="canary") == 1
