"""The simulators under test: real processes, reached over real HTTP."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control endpoints."""

    url: str
    http: httpx.AsyncClient

    async def get(self, path: str, **query: Any) -> Any:
        """What a control endpoint reports."""
        response = await self.http.get(f"/_control/{path}", params=query)
        response.raise_for_status()
        return response.json()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Asks a control endpoint for something."""
        response = await self.http.post(f"/_control/{path}", json=body or {})
        response.raise_for_status()
        return response.json()

    async def fault(self, kind: str, **rule: Any) -> None:
        """Arms a fault."""
        await self.post("faults", {"kind": kind, **rule})

    async def reset(self) -> None:
        """Makes the simulator forget everything."""
        await self.post("reset")


@asynccontextmanager
async def running(module: str) -> AsyncIterator[Simulator]:
    """Starts a simulator on a free port, waits until it is healthy, and ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as http:
            await _healthy(http, process)
            yield Simulator(url, http)
    finally:
        process.kill()
        await process.wait()


async def _healthy(http: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(20):
        while process.returncode is None:
            try:
                response = await http.get("/_control/health")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            assert response.json() == {"status": "ok"}
            return
    raise RuntimeError(f"the simulator ended with {process.returncode}")
