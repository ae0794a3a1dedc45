"""The legacy API under test: an application in front of a legacy processor that can fail, and its flags."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.app import create_app
from api.engine import Engine
from api.legacy import LegacyApi
from api.shadow import ShadowRuns
from domain.audit import AuditEntry
from domain.flag import HYBRID_ORCHESTRATOR, Flag, FlagConditions
from tests.api.conftest import served
from tests.api.identity import SECRET
from tests.local import Simulator

PATH = "/api/campaigns"


@dataclass(frozen=True)
class LegacyFront:
    """Both sides of the router: ``direct`` asks the legacy system itself, ``http`` asks us."""

    app: FastAPI
    url: str
    http: httpx.AsyncClient
    direct: Simulator

    @property
    def ports(self) -> Ports:
        ports: Ports = self.app.state.ports
        return ports

    @property
    def shadow(self) -> ShadowRuns:
        shadow: ShadowRuns = self.app.state.shadow
        return shadow

    @property
    def routed(self) -> int:
        """How many requests have been routed to their end; a client may have its answer a moment before."""
        api: LegacyApi = self.app.state.legacy
        return api.counts.total()

    async def flag(self, name: str = HYBRID_ORCHESTRATOR, **changes: Any) -> None:
        """Set a flag; returns when this process decides by it."""
        await set_flag(self.ports, name, **changes)

    async def asked(self) -> list[dict[str, str]]:
        """What reached the legacy system."""
        found: list[dict[str, str]] = (await self.direct.get("requests"))["requests"]
        return found


async def set_flag(ports: Ports, name: str, **changes: Any) -> None:
    """Replace a flag by one that is enabled for nobody but what ``changes`` say."""
    present = await ports.flag_store.get(name)
    revision = present.revision + 1 if present else 1
    fields: dict[str, Any] = {
        "enabled": True,
        "rollout_percentage": Decimal(0),
        "conditions": FlagConditions(),
        **changes,
    }
    flag = Flag(
        name=name,
        salt=present.salt if present else name,
        revision=revision,
        changed_by="test",
        changed_at=datetime.now(UTC),
        reason="a test",
        **fields,
    )
    entry = AuditEntry(
        entry_id=f"{name}/{revision}",
        subject=f"flag/{name}",
        action="changed",
        actor="test",
        at=flag.changed_at,
    )
    assert await ports.flag_store.put(flag, entry)
    async with asyncio.timeout(10):
        while ports.flags.standing().revisions.get(name) != revision:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def front(legacy: Simulator, engine: Engine | None = None, **changes: Any) -> AsyncIterator[LegacyFront]:
    """An application with the stack behind it, in front of ``legacy``; with another ``engine`` than usual."""
    usual: dict[str, Any] = {
        "legacy_base_url": legacy.url,
        "jwt_secret": SecretStr(SECRET),
        "max_body_bytes": 4_096,
    }
    app = create_app(Settings(**usual | changes))
    if engine is not None:
        app.state.engine = engine
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        yield LegacyFront(app, url, client, legacy)
