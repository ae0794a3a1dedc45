"""What is known on disk about the running stack, so that another command can find it.

The owner holds a lock on ``stack.lock``, and shares it with the guard of its children: the kernel lets go
of it when the last of them is gone, however they ended. So whoever can take the lock knows that nothing of an
earlier stack runs, whatever the files say.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

# A killed owner's guard takes up to 3 s to end the children.
_PATIENCE_S = 5.0
_PAUSE_S = 0.02


class StackRunningError(Exception):
    """Another stack uses the same state directory; the message says which process and what to do."""


@dataclass(frozen=True, slots=True)
class StackState:
    """A running stack: ``env`` for product processes (holds secrets), ``addresses`` for people."""

    owner_pid: int
    started_at: float
    """Seconds since the epoch."""
    env: Mapping[str, str]
    addresses: Mapping[str, str]


def load_running(directory: Path) -> StackState | None:
    """The stack that runs on this state directory; None when there is none or its owner is gone."""
    try:
        with _lock_file(directory).open("rb") as lock:
            if _take(lock, fcntl.LOCK_SH):
                return None
        # Absent while the owner is still starting or already stopping.
        state = StackState(**json.loads(_state_file(directory).read_text()))
    except FileNotFoundError:
        return None
    return state if _is_alive(state.owner_pid) else None


@contextmanager
def claim(directory: Path) -> Iterator[int]:
    """Own the state directory: yields the lock's file descriptor, to be shared with the guard.

    A state that a killed owner left is removed at the start, the own one at the end.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _lock_file(directory).open("ab") as lock:
        deadline = time.monotonic() + _PATIENCE_S
        while not _take(lock, fcntl.LOCK_EX):
            running = load_running(directory)
            if running or time.monotonic() > deadline:
                raise StackRunningError(_already_runs(directory, running))
            time.sleep(_PAUSE_S)
        _state_file(directory).unlink(missing_ok=True)
        try:
            yield lock.fileno()
        finally:
            _state_file(directory).unlink(missing_ok=True)


def publish(directory: Path, state: StackState) -> None:
    """Write the state, readable for the owner only, all at once."""
    draft = _state_file(directory).with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    draft.replace(_state_file(directory))


def _lock_file(directory: Path) -> Path:
    return directory / "stack.lock"


def _state_file(directory: Path) -> Path:
    return directory / "stack.json"


def _take(lock: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _already_runs(directory: Path, running: StackState | None) -> str:
    owner = f" (process {running.owner_pid})" if running else ""
    return (
        f"a stack{owner} already runs on {directory.resolve()}: stop it (Ctrl-C in its terminal), "
        f"or give this one another state directory"
    )
