"""The embedded stack: real servers, simulators, API and worker on one machine, started and stopped as one.

async with Stack(StackOptions()) as stack:
    print(stack.addresses["API docs"])
    raise await stack.wait_failed()
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from domain.campaign import SEARCH_ATTRIBUTES
from local import ports, redis, state, temporal
from local.environment import environment
from local.guard import Guard
from local.process import SOURCE, Command, Probe, Process, ProcessExitedError, child_environment

INFRASTRUCTURE: Final = frozenset({"temporal", "redis", "moto"})
SIMULATORS: Final = frozenset({"onlyfans", "ai", "legacy"})
PRODUCT: Final = frozenset({"api", "worker"})
EVERYTHING: Final = INFRASTRUCTURE | SIMULATORS | PRODUCT

PORTS: Final = (*temporal.PORTS, "redis", "moto", "onlyfans", "ai", "legacy", "api")
"""Everything that listens; ``StackOptions.ports`` may fix any of them."""

Migrate = Callable[[Mapping[str, str]], Awaitable[None]]
"""Creates tables and buckets; receives the environment of the product's processes."""

_READY_PATH = "/api/health/hybrid-orchestrator/ready"
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """Which stack to start."""

    directory: Path = Path(".huntaze")
    """State, logs and data; one stack at a time runs on a directory."""

    parts: frozenset[str] = EVERYTHING

    workers: int = 1
    """Processes that the part ``worker`` consists of; the second one is called ``worker-2``, and so on."""

    ports: Mapping[str, int] = field(default_factory=dict)
    """Fixed ports by name (see ``PORTS``); absent or 0 means any free one."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Overrides for the environment of API and worker."""

    use_real: bool = False
    """Use the real AI services whose keys are in the environment or ``.env``; each that has none stays
    simulated. Off unless asked for, so that a demo never spends money by accident. The OnlyFans simulator
    is used always: a local stack never writes to real people."""

    keep_data: bool = False
    """Keep Redis's and Temporal's data in ``<directory>/data`` for the next start. Moto forgets its tables
    all the same, so what is kept outlives the records that it refers to."""

    synchronous: temporal.Synchronous = "NORMAL"

    migrate: Migrate | None = None
    """Called once when DynamoDB answers, before API and worker start."""

    search_attributes: Mapping[str, str] = field(default_factory=lambda: SEARCH_ATTRIBUTES)

    ready_within_s: float = 60.0
    """How long each part may take to become ready."""


@dataclass(frozen=True, slots=True)
class _Part:
    argv: tuple[str, ...]
    ready: Probe
    env: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """The running stack. Leaving the context stops everything; the guard does, should we be killed."""

    def __init__(self, options: StackOptions) -> None:
        if unknown := options.parts - EVERYTHING:
            raise ValueError(f"no such parts: {sorted(unknown)}; there are {sorted(EVERYTHING)}")
        self.options = options
        self._parts = options.parts | _further_workers(options)
        self.env: dict[str, str] = {}
        """For product processes; whole even when only some parts run, so that nothing goes outside."""
        self.addresses: dict[str, str] = {}
        """What runs, for people: name -> URL."""
        self._ports: dict[str, int] = {}
        self._processes: dict[str, Process] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._failures: asyncio.Queue[ProcessExitedError] = asyncio.Queue()
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as cleanup:
            lock = cleanup.enter_context(state.claim(self.options.directory))
            self._ports = ports.choose(PORTS, self.options.ports)
            self.env = environment(self._ports, use_real=self.options.use_real, overrides=self.options.env)
            self.addresses = _addresses(self._ports, self.options.parts)
            self._data = self._data_directory(cleanup)
            self._guard = cleanup.enter_context(Guard(lock))
            cleanup.push_async_callback(self._stop)
            await self._start()
            found = state.StackState(os.getpid(), time.time(), env=self.env, addresses=self.addresses)
            state.publish(self.options.directory, found)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    @property
    def pids(self) -> dict[str, int]:
        """The running parts' process ids, by name."""
        return {name: process.pid for name, process in self._processes.items() if process.running}

    async def wait_failed(self) -> ProcessExitedError:
        """Wait for the next part that ends although nobody asked it to; the error says which and why."""
        return await self._failures.get()

    async def kill(self, name: str) -> None:
        """End a part like a crash does (SIGKILL); returns when it is gone. Not reported as a failure."""
        await self._processes[name].kill()

    async def restart(self, name: str) -> None:
        """Start a part again on its port and data, stopping it first if it runs; returns when it is ready."""
        if name in self._processes:
            await self._processes[name].stop(self._grace_s)
        await self._start_part(name)

    @property
    def _grace_s(self) -> float:
        """A worker drains before it ends."""
        return float(self.env["HUNTAZE_DRAIN_TIMEOUT_S"]) + _GRACE_S

    def _data_directory(self, cleanup: AsyncExitStack) -> Path:
        directory = self.options.directory.resolve()
        runs = directory / "runs"
        # The directory is ours alone: whatever is there was left by an owner that was killed.
        shutil.rmtree(runs, ignore_errors=True)
        if self.options.keep_data:
            data = directory / "data"
            data.mkdir(exist_ok=True)
            return data
        runs.mkdir(exist_ok=True)
        run = tempfile.TemporaryDirectory(dir=runs, prefix="run-", ignore_cleanup_errors=True)
        return Path(cleanup.enter_context(run))

    async def _start(self) -> None:
        logs = self.options.directory / "logs"
        for name in self._parts:
            (logs / f"{name}.log").unlink(missing_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for name in sorted(self._parts & (INFRASTRUCTURE | SIMULATORS) - {"moto"}):
                    group.create_task(self._start_part(name))
                group.create_task(self._start_store())
            async with asyncio.TaskGroup() as group:
                for name in sorted(filter(_is_product, self._parts)):
                    group.create_task(self._start_part(name))
        except BaseExceptionGroup as failures:
            # The first failure cancelled the others: it is the one to tell.
            raise failures.exceptions[0] from None

    async def _start_store(self) -> None:
        if "moto" in self.options.parts:
            await self._start_part("moto")
        if self.options.migrate is not None:
            await self.options.migrate(self.env)

    async def _start_part(self, name: str) -> None:
        part = self._part(name)
        log = self.options.directory.resolve() / "logs" / f"{name}.log"
        command = Command(name=name, argv=part.argv, log=log, env=child_environment({**self.env, **part.env}))
        process = Process(command, self._guard)
        self._processes[name] = process
        await process.start()
        await process.ready(part.ready, self.options.ready_within_s)
        watcher = asyncio.create_task(self._watch(process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, process: Process) -> None:
        if failure := await process.failed():
            self._failures.put_nowait(failure)

    async def _stop(self) -> None:
        """The product first, so that it can still say goodbye to the servers."""
        # Data that is not kept need not be saved: SIGKILL spares Temporal's 1.3 s of shutting down.
        end_server = Process.stop if self.options.keep_data else Process.kill
        product = [process for name, process in self._processes.items() if _is_product(name)]
        servers = [process for name, process in self._processes.items() if not _is_product(name)]
        await asyncio.gather(*(process.stop(self._grace_s) for process in product))
        await asyncio.gather(*(end_server(process) for process in servers))
        await asyncio.gather(*self._watchers)

    def _part(self, name: str) -> _Part:
        port = self._ports.get(name, 0)
        listen = ("--host", ports.HOST, "--port", str(port))
        attributes = self.options.search_attributes
        match name.partition("-")[0]:
            case "temporal":
                database = self._data / "temporal.db"
                return _Part(
                    temporal.argv(self._ports, database, attributes, self.options.synchronous),
                    lambda: temporal.answers(port, attributes),
                    temporal.SERVER_ENVIRONMENT,
                )
            case "redis":
                return _Part(redis.argv(port, self._data), lambda: redis.answers(port))
            case "moto":
                argv = (*_python("local.moto"), "--host", ports.HOST, "--port", str(port))
                return _Part(argv, lambda: ports.answers_ok(port, "/moto-api/"))
            case "api":
                quiet = ("--log-level", "warning", "--no-access-log", "--no-server-header")
                argv = (*_python("uvicorn"), "--factory", "api.app:create_app", *listen, *quiet)
                return _Part(argv, lambda: ports.answers_ok(port, _READY_PATH))
            case "worker":
                return _Part((sys.executable, str(SOURCE / "worker.py")), lambda: self._worker_is_ready(name))
            case "onlyfans" | "ai" | "legacy":
                argv = (*_python(f"local.{name}"), *listen)
                return _Part(argv, lambda: ports.answers_ok(port, "/_control/health"))
            case _:
                raise ValueError(f"no such part: {name}; there are {sorted(EVERYTHING)}")

    async def _worker_is_ready(self, name: str) -> bool:
        return '"event": "worker.ready"' in self._processes[name].log_since_start()


def _addresses(port: Mapping[str, int], parts: frozenset[str]) -> dict[str, str]:
    known = (
        ("api", "API docs", f"{ports.url(port['api'])}/docs"),
        ("api", "API", f"{ports.url(port['api'])}/api/v2"),
        ("temporal", "Temporal UI", ports.url(port["temporal-ui"])),
        ("temporal", "Temporal", f"{ports.HOST}:{port['temporal']}"),
        ("onlyfans", "OnlyFans simulator", ports.url(port["onlyfans"])),
        ("ai", "AI simulator", ports.url(port["ai"])),
        ("legacy", "legacy system", ports.url(port["legacy"])),
        ("moto", "AWS (moto)", f"{ports.url(port['moto'])}/moto-api/"),
        ("redis", "Redis", f"redis://{ports.HOST}:{port['redis']}/0"),
    )
    return {name: url for part, name, url in known if part in parts}


def _further_workers(options: StackOptions) -> frozenset[str]:
    """The worker processes beside the first."""
    if "worker" not in options.parts:
        return frozenset()
    return frozenset(f"worker-{number}" for number in range(2, options.workers + 1))


def _is_product(name: str) -> bool:
    return name.partition("-")[0] in PRODUCT


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
