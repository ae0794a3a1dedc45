"""The embedded stack: real servers, simulators, API and worker on one machine, started and stopped as one.

async with Stack(StackOptions()) as stack:
    print(stack.addresses["API docs"])
    raise await stack.wait_failed()
"""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from adapters.settings import Environment, Settings
from domain.campaign import SEARCH_ATTRIBUTES
from local import ports, redis, state, temporal
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
_DRAIN_S = 3.0
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """Which stack to start."""

    directory: Path = Path(".huntaze")
    """State, logs and data; one stack at a time runs on a directory."""

    parts: frozenset[str] = EVERYTHING

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
            self.env = environment(self._ports, self.options)
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
        for name in self.options.parts:
            (logs / f"{name}.log").unlink(missing_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for name in sorted(self.options.parts & (INFRASTRUCTURE | SIMULATORS) - {"moto"}):
                    group.create_task(self._start_part(name))
                group.create_task(self._start_store())
            async with asyncio.TaskGroup() as group:
                for name in sorted(self.options.parts & PRODUCT):
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
        product = [process for name, process in self._processes.items() if name in PRODUCT]
        servers = [process for name, process in self._processes.items() if name not in PRODUCT]
        await asyncio.gather(*(process.stop(self._grace_s) for process in product))
        await asyncio.gather(*(end_server(process) for process in servers))
        await asyncio.gather(*self._watchers)

    def _part(self, name: str) -> _Part:
        port = self._ports.get(name, 0)
        listen = ("--host", ports.HOST, "--port", str(port))
        attributes = self.options.search_attributes
        match name:
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
                quiet = ("--log-level", "warning", "--no-access-log")
                argv = (*_python("uvicorn"), "--factory", "api.app:create_app", *listen, *quiet)
                return _Part(argv, lambda: ports.answers_ok(port, _READY_PATH))
            case "worker":
                return _Part((sys.executable, str(SOURCE / "worker.py")), self._worker_is_ready)
            case "onlyfans" | "ai" | "legacy":
                argv = (*_python(f"local.{name}"), *listen)
                return _Part(argv, lambda: ports.answers_ok(port, "/_control/health"))
            case _:
                raise ValueError(f"no such part: {name}; there are {sorted(EVERYTHING)}")

    async def _worker_is_ready(self) -> bool:
        return '"event": "worker.ready"' in self._processes["worker"].log_since_start()


def environment(port: Mapping[str, int], options: StackOptions) -> dict[str, str]:
    """The variables that lead API, worker and command line to the local parts, on these ports."""
    bypass = ",".join(filter(None, (os.environ.get("NO_PROXY"), ports.HOST, "localhost")))
    local = {
        "HUNTAZE_ENVIRONMENT": Environment.DEVELOPMENT.value,
        "HUNTAZE_API_HOST": ports.HOST,
        "HUNTAZE_API_PORT": str(port["api"]),
        "HUNTAZE_JWT_ALGORITHM": "HS256",
        "HUNTAZE_JWT_SECRET": secrets.token_urlsafe(48),
        "HUNTAZE_DRAIN_TIMEOUT_S": str(_DRAIN_S),
        "HUNTAZE_REDIS_URL": f"redis://{ports.HOST}:{port['redis']}/0",
        "HUNTAZE_ONLYFANS_BASE_URL": ports.url(port["onlyfans"]),
        "ONLYFANSAPI_API_KEY": "local",
        "OPENAI_BASE_URL": f"{ports.url(port['ai'])}/v1",
        "OPENAI_API_KEY": "local",
        "AZURE_OPENAI_ENDPOINT": ports.url(port["ai"]),
        "AZURE_OPENAI_API_KEY": "local",
        "LEGACY_BASE_URL": ports.url(port["legacy"]),
        **temporal.environment(port["temporal"]),
        "AWS_ENDPOINT_URL": ports.url(port["moto"]),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "NO_PROXY": bypass,
        "no_proxy": bypass,
    }
    return local | (_real_ai() if options.use_real else {}) | dict(options.env)


def _real_ai() -> dict[str, str]:
    """The user's own services; ``.env`` counts like the environment."""
    settings = Settings(environment=Environment.DEVELOPMENT)
    real: dict[str, str] = {}
    if key := settings.openai_api_key.get_secret_value():
        real |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": settings.openai_base_url}
    key = settings.azure_openai_api_key.get_secret_value()
    if key and settings.azure_openai_endpoint:
        real |= {"AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_ENDPOINT": settings.azure_openai_endpoint}
    if not real:
        raise ValueError(
            "no key for real AI: set OPENAI_API_KEY, or AZURE_OPENAI_API_KEY together with AZURE_OPENAI_ENDPOINT"
        )
    return real


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


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
