"""Whether the product can work: for load balancers, for people, and for whoever starts it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import Field

from adapters.bootstrap import Ports
from api.dependencies import EngineNow, PortsNow
from api.engine import Engine
from domain.model import Model

router = APIRouter(prefix="/api/health/hybrid-orchestrator", tags=["health"])
_log = structlog.get_logger()

CHECK_TIMEOUT_S = 3.0
SERVING_NEEDS = frozenset({"dynamodb", "temporal"})
"""What the API itself cannot answer without; everything else is waited for by workflows."""


class DependencyHealth(Model):
    """One part. Why it is down is in the log: this answer needs no token, so it gives nothing away."""

    name: str
    status: Literal["up", "down"]
    latency_ms: float = Field(description="ms until it answered or was given up")


class Health(Model):
    """``unhealthy`` when any part is down."""

    status: Literal["healthy", "unhealthy"]
    dependencies: tuple[DependencyHealth, ...]


class Liveness(Model):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Model):
    """``missing``: what requests can't be served without."""

    status: Literal["ready", "not_ready"]
    missing: tuple[str, ...] = ()


@router.get("", summary="Every part, with its latency", responses={503: {"model": Health}})
async def health(ports: PortsNow, engine: EngineNow, response: Response) -> Health:
    """503 when a part is down."""
    parts = await _check_all(ports, engine)
    healthy = all(part.status == "up" for part in parts)
    response.status_code = 200 if healthy else 503
    return Health(status="healthy" if healthy else "unhealthy", dependencies=parts)


@router.get("/live", summary="Whether the process answers")
async def live() -> Liveness:
    """Asks nobody else: a restart would not help against their trouble."""
    return Liveness()


@router.get("/ready", summary="Whether requests can be served", responses={503: {"model": Readiness}})
async def ready(ports: PortsNow, engine: EngineNow, response: Response) -> Readiness:
    """An AI provider or the gateway being down does not count: requests are accepted and wait durably."""
    parts = await _check_all(ports, engine, only=SERVING_NEEDS)
    missing = tuple(part.name for part in parts if part.status == "down")
    response.status_code = 503 if missing else 200
    return Readiness(status="not_ready" if missing else "ready", missing=missing)


async def _check_all(ports: Ports, engine: Engine, only: frozenset[str] | None = None) -> tuple[DependencyHealth, ...]:
    checks: dict[str, Callable[[], Awaitable[object]]] = {
        **{dependency.name: dependency.check for dependency in ports.dependencies},
        "temporal": engine.check,
    }
    wanted = [(name, check) for name, check in checks.items() if only is None or name in only]
    return tuple(await asyncio.gather(*(_check(name, check) for name, check in wanted)))


async def _check(name: str, check: Callable[[], Awaitable[object]]) -> DependencyHealth:
    started = time.perf_counter()
    status: Literal["up", "down"] = "up"
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever it raises, the part is down
        status = "down"
        _log.warning("health.down", dependency=name, error=type(error).__name__)
    return DependencyHealth(name=name, status=status, latency_ms=round((time.perf_counter() - started) * 1000, 1))
