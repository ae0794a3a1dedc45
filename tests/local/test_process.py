"""Children are started, awaited, stopped, reported on, and never outlive their parent."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local import guard as guard_program
from local.guard import Guard
from local.process import (
    SOURCE,
    Command,
    Process,
    ProcessExitedError,
    ProcessNotReadyError,
    child_environment,
)

# Connects to the test and lives until it is ended; the connection's end is the proof that it is gone.
LIVE = """
import signal, socket, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
time.sleep(3600)
"""

# A parent with a guard and children, one of which ignores SIGTERM.
PARENT = f"""
import asyncio, os, sys
from pathlib import Path
from local.guard import Guard
from local.process import Command, Process

LIVE = {LIVE!r}

async def main():
    with Guard() as guard:
        for name in ("first", "second", "stubborn"):
            argv = (sys.executable, "-c", LIVE, sys.argv[1], name)
            log = Path(sys.argv[2]) / f"{{name}}.log"
            await Process(Command(name, argv, log, env=os.environ), guard).start()
        print(guard.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Lifelines:
    """Connections that children hold open for as long as they live."""

    def __init__(self) -> None:
        self.port = 0
        self._connected: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator["Lifelines"]:
        lifelines = cls()
        async with await asyncio.start_server(lifelines._accept, "127.0.0.1", 0) as server:
            lifelines.port = server.sockets[0].getsockname()[1]
            yield lifelines
        for writer in lifelines._writers:
            writer.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._connected.put_nowait(reader)

    async def next(self) -> asyncio.StreamReader:
        async with asyncio.timeout(30):
            return await self._connected.get()


async def ended(line: asyncio.StreamReader) -> bool:
    """Wait until the child at the other end is gone."""
    async with asyncio.timeout(30):
        try:
            return await line.read() == b""
        except ConnectionResetError:
            return True


async def always() -> bool:
    return True


async def never() -> bool:
    return False


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as running:
        yield running


def python(log: Path, code: str, *argv: str, name: str = "child") -> Command:
    return Command(name, (sys.executable, "-c", code, *argv), log / f"{name}.log", env=os.environ)


class TestReady:
    async def test_awaits_the_condition(self, guard: Guard, tmp_path: Path) -> None:
        process = Process(python(tmp_path, "print('warm', flush=True); import time; time.sleep(3600)"), guard)
        await process.start()

        async def warm() -> bool:
            return "warm" in process.log_since_start()

        await process.ready(warm)
        assert process.running
        await process.stop()
        assert not process.running

    async def test_a_child_that_ends_is_reported_with_its_last_log_lines(self, guard: Guard, tmp_path: Path) -> None:
        code = "for n in range(40): print(f'line {n}.')\nraise SystemExit(3)"
        process = Process(python(tmp_path, code), guard)
        await process.start()
        with pytest.raises(ProcessExitedError, match="child exited with code 3") as failure:
            await process.ready(never)
        assert failure.value.exit_code == 3
        assert "line 25." in str(failure.value)
        assert "line 39." in str(failure.value)
        assert "line 24." not in str(failure.value)

    async def test_a_stranger_that_answers_does_not_pass_for_the_child(self, guard: Guard, tmp_path: Path) -> None:
        process = Process(python(tmp_path, "raise SystemExit(1)"), guard)
        await process.start()
        await process.exited()
        with pytest.raises(ProcessExitedError):
            await process.ready(always)

    async def test_a_child_that_stays_silent_is_reported(self, guard: Guard, tmp_path: Path) -> None:
        process = Process(python(tmp_path, "import time; time.sleep(3600)"), guard)
        await process.start()
        with pytest.raises(ProcessNotReadyError, match=r"child was not ready after 0\.05 s"):
            await process.ready(never, within_s=0.05)
        await process.kill()

    async def test_a_missing_program_is_named(self, guard: Guard, tmp_path: Path) -> None:
        process = Process(Command("ghost", ("/nowhere/ghost",), tmp_path / "ghost.log", env=os.environ), guard)
        await process.start()
        with pytest.raises(ProcessExitedError, match=r"(?s)exited with code 127.*/nowhere/ghost"):
            await process.ready(never)


class TestStop:
    async def test_lets_the_child_say_goodbye(self, guard: Guard, tmp_path: Path) -> None:
        code = (
            "import signal, time\n"
            "def bye(*_): print('bye'); raise SystemExit(0)\n"
            "signal.signal(signal.SIGTERM, bye); print('ready', flush=True); time.sleep(3600)"
        )
        process = Process(python(tmp_path, code), guard)
        await process.start()

        async def ready() -> bool:
            return "ready" in process.log_since_start()

        await process.ready(ready)
        await process.stop()
        assert await process.exited() == 0
        assert await process.failed() is None
        assert process.log_since_start() == "ready\nbye\n"

    async def test_ends_a_stubborn_child_after_the_grace(self, guard: Guard, tmp_path: Path) -> None:
        async with Lifelines.listening() as lifelines:
            process = Process(python(tmp_path, LIVE, str(lifelines.port), "stubborn"), guard)
            await process.start()
            line = await lifelines.next()
            await process.stop(grace_s=0.05)
            assert await process.exited() == -signal.SIGKILL
            assert await ended(line)

    async def test_ends_the_children_of_the_child(self, guard: Guard, tmp_path: Path) -> None:
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LIVE!r}, *sys.argv[1:]])"
        async with Lifelines.listening() as lifelines:
            process = Process(python(tmp_path, code, str(lifelines.port), "stubborn"), guard)
            await process.start()
            line = await lifelines.next()
            await process.stop()
            assert await ended(line)

    async def test_a_crash_is_a_failure_and_a_kill_on_request_is_not(self, guard: Guard, tmp_path: Path) -> None:
        crashed, killed = (
            Process(python(tmp_path, "import time; time.sleep(3600)", name=name), guard)
            for name in ("crashed", "killed")
        )
        await crashed.start()
        await killed.start()
        os.kill(crashed.pid, signal.SIGKILL)
        await killed.kill()
        failure = await crashed.failed()
        assert failure is not None
        assert "crashed was ended by SIGKILL" in str(failure)
        assert await killed.failed() is None


class TestGuard:
    async def test_children_have_their_own_session(self, guard: Guard, tmp_path: Path) -> None:
        process = Process(python(tmp_path, "import time; time.sleep(3600)"), guard)
        await process.start()
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        assert os.getsid(guard.pid) == guard.pid
        await process.kill()

    async def test_children_die_with_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        async with Lifelines.listening() as lifelines:
            parent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PARENT, str(lifelines.port), str(tmp_path)),
                stdout=asyncio.subprocess.PIPE,
                env=child_environment({}),
                cwd=tmp_path,
            )
            lines = [await lifelines.next() for _ in ("first", "second", "stubborn")]
            assert parent.stdout is not None
            guard_pid = int(await parent.stdout.readline())
            # What a terminal or an operator may send to the guard must not end it before its time.
            os.kill(guard_pid, signal.SIGINT)
            os.kill(guard_pid, signal.SIGTERM)
            parent.kill()
            await parent.wait()
            for line in lines:
                assert await ended(line)

    async def test_a_signal_that_comes_before_it_has_begun_does_not_end_it(self, tmp_path: Path) -> None:
        async with Lifelines.listening() as lifelines:
            with Guard() as guard:
                os.kill(guard.pid, signal.SIGTERM)
                process = Process(python(tmp_path, LIVE, str(lifelines.port)), guard)
                await process.start()
                line = await lifelines.next()
            try:
                assert await ended(line)
            finally:
                await process.kill()

    async def test_ends_what_runs_when_it_is_closed(self, tmp_path: Path) -> None:
        async with Lifelines.listening() as lifelines:
            with Guard() as guard:
                process = Process(python(tmp_path, LIVE, str(lifelines.port)), guard)
                await process.start()
                line = await lifelines.next()
            assert await ended(line)
            await process.exited()

    def test_forgets_the_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("+10\n+11\n-10\n-99\n"))
        assert guard_program._groups_left_behind() == {11}


class TestChildEnvironment:
    def test_nothing_leads_to_a_real_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "production")
        monkeypatch.setenv("TEMPORAL_API_KEY", "cloud")
        monkeypatch.setenv("HUNTAZE_PAGE_SIZE", "10")
        env = child_environment({"AWS_REGION": "us-east-1"})
        assert "AWS_PROFILE" not in env
        assert "TEMPORAL_API_KEY" not in env
        assert env["HUNTAZE_PAGE_SIZE"] == "10"
        assert env["AWS_REGION"] == "us-east-1"
        assert env["PYTHONPATH"].split(os.pathsep)[0] == str(SOURCE)
