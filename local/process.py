"""One supervised child process: started, awaited until ready, stopped, and reported on when it fails."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.guard import Guard

Probe = Callable[[], Awaitable[bool]]
"""Asked again and again until it answers true; an error that it raises ends the wait."""

SOURCE = Path(__file__).resolve().parent.parent
"""Where the product's packages are."""

_TAIL_LINES = 15
_TAIL_BYTES = 16 * 1024
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.1
_PROBE_S = 2.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: ``env`` is the child's whole environment, ``log`` receives both of its outputs."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    cwd: Path | None = None


class ProcessError(Exception):
    """A child did not do what it was started for; the message ends with its last log lines."""

    def __init__(self, name: str, complaint: str, command: Command) -> None:
        super().__init__(f"{name} {complaint}; the end of {command.log}:\n{tail(command.log)}")
        self.name = name


class ProcessExitedError(ProcessError):
    """A child ended although nobody asked it to."""

    def __init__(self, command: Command, exit_code: int) -> None:
        super().__init__(command.name, _describe(exit_code), command)
        self.exit_code = exit_code


class ProcessNotReadyError(ProcessError):
    """A child is running but did not become ready in time."""

    def __init__(self, command: Command, within_s: float) -> None:
        super().__init__(command.name, f"was not ready after {within_s:g} s", command)


class Process:
    """A child in a session of its own: Ctrl-C in the terminal reaches the parent only, which then decides."""

    def __init__(self, command: Command, guard: Guard) -> None:
        self.command = command
        self._guard = guard
        self._pid: int | None = None
        self._log_start = 0
        self._asked_to_end = False
        self._exit: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int:
        if self._pid is None:
            raise RuntimeError(f"{self.command.name} was not started")
        return self._pid

    @property
    def running(self) -> bool:
        return self._exit is not None and not self._exit.done()

    async def start(self) -> None:
        """Start the child; what it logs is appended to the log file."""
        command = self.command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._log_start = log.tell()
            child = await asyncio.create_subprocess_exec(
                *self._guard.guarded(command.argv),
                stdin=self._guard.stdin,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(command.env),
                cwd=command.cwd,
                start_new_session=True,
            )
        self._pid = child.pid
        self._exit = asyncio.create_task(self._await_exit(child), name=f"exit of {command.name}")

    async def _await_exit(self, child: asyncio.subprocess.Process) -> int:
        exit_code = await child.wait()
        # What the child left behind in its group goes with it.
        self._signal(signal.SIGKILL)
        self._guard.forget(child.pid)
        return exit_code

    async def ready(self, probe: Probe, within_s: float = 30.0) -> None:
        """Wait until ``probe`` answers true; raise when the child exits first or the time is over."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + within_s
        pause = _FIRST_PAUSE_S
        while not await _ask(probe):
            self._raise_if_exited()
            if clock() > deadline:
                raise ProcessNotReadyError(self.command, within_s)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        # Another program's answer on the same port must not pass for the child's.
        self._raise_if_exited()

    def log_since_start(self) -> str:
        """What the child has logged so far, without what an earlier one left in the same file."""
        with self.command.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    async def exited(self) -> int:
        """Wait for the child's end; the exit code, negative for the number of the signal that ended it."""
        if self._exit is None:
            raise RuntimeError(f"{self.command.name} was not started")
        return await asyncio.shield(self._exit)

    async def failed(self) -> ProcessExitedError | None:
        """Wait for the child's end; the failure, or None when it ended because it was asked to."""
        exit_code = await self.exited()
        return None if self._asked_to_end else ProcessExitedError(self.command, exit_code)

    async def stop(self, grace_s: float = 5.0) -> None:
        """SIGTERM to the process group, SIGKILL after ``grace_s``; returns when the child is gone."""
        self._asked_to_end = True
        if self.running:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exited(), grace_s)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the process group; returns when the child is gone."""
        self._asked_to_end = True
        if self.running:
            self._signal(signal.SIGKILL)
            await self.exited()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _raise_if_exited(self) -> None:
        if self._exit is not None and self._exit.done():
            raise ProcessExitedError(self.command, self._exit.result())


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` over our own environment, without what could lead a local process to a real account."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TEMPORAL_"))}
    fixed = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }
    return {**inherited, **fixed, **env}


def tail(log: Path) -> str:
    """The last lines of a log file, indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines or ["(empty)"])


async def _ask(probe: Probe) -> bool:
    """One attempt, bounded: a server that accepts and never answers is not ready."""
    try:
        return await asyncio.wait_for(probe(), _PROBE_S)
    except TimeoutError:
        return False


def _describe(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"exited with code {exit_code}"
