"""Children die with their parent, even when the parent is killed with ``kill -9``; on Linux and macOS alike.

The parent starts this file as a tiny program of its own and keeps the only lasting write end of the pipe
that is the program's standard input. Lines on it are ``+<pid>`` (a process group to end with us) and
``-<pid>`` (it has ended already). End of file means that the parent is gone, for whatever reason: every
listed group gets SIGTERM, and SIGKILL after a grace.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Self

GRACE_S = 3.0

# Of what a terminal or an operator may send to the guard, nothing ends it before its time.
_UNHEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A child registers itself before it becomes the program that it is meant to be. Were the parent to write the
# line after the start, a kill between the two would leave an orphan; this way the child itself holds the pipe
# open until it is on the list. Standard input, because POSIX shells name only single-digit descriptors.
_REGISTER_THEN_EXEC = 'echo "+$$" >&0; exec "$@" </dev/null'


class Guard:
    """The parent's end: wraps commands so that they are guarded, and forgets the ones that ended."""

    def __init__(self, *hold: int) -> None:
        """``hold``: file descriptors kept open until the last child is gone, such as a lock."""
        # Blocked before the program exists, which inherits it: there is no moment at which a signal could end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _UNHEARD)
        try:
            # -I and -S: nothing of the user's environment or site-packages; ready in about 20 ms.
            self._program = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=hold,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._program.stdin is not None  # noqa: S101 - PIPE was asked for
        self._pipe = self._program.stdin

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def stdin(self) -> int:
        """The file descriptor that a guarded command must be started with as its standard input."""
        return self._pipe.fileno()

    def guarded(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """``argv``, registering itself first; the program then reads ``/dev/null`` and keeps its pid."""
        return ("/bin/sh", "-c", _REGISTER_THEN_EXEC, "sh", *argv)

    def forget(self, pid: int) -> None:
        """The process group ended; its number may soon belong to a stranger."""
        if self._pipe.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self.stdin, b"-%d\n" % pid)

    def close(self) -> None:
        """End the guard, and every group that is still on its list."""
        self._pipe.close()
        self._program.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _groups_left_behind() -> set[int]:
    """Read the pipe until the parent is gone."""
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    return groups


def _signal(groups: set[int], number: int) -> set[int]:
    """Signal every group; return those that exist."""
    alive = set()
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            alive.add(group)
    return alive


def main() -> None:
    groups = _signal(_groups_left_behind(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        groups = _signal(groups, 0)
    _signal(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
