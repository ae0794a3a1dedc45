"""Time-outs of one length for calls that almost never need them.

``asyncio.timeout`` sets a timer for each call and cancels it again, which takes a tenth of the processor time of a
call to Redis. Where all may take equally long, the oldest is the first whose time is over, so one timer is enough.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """``with deadlines.begin():`` ends what runs longer than ``seconds`` with ``TimeoutError``; ``None``: nothing does.

    For one event loop. A call is ended as ``asyncio.timeout`` ends it: its task is cancelled, and a cancellation by
    somebody else stays one.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        # The oldest first.
        self._open: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "Deadline":
        """A deadline that begins to run where its block begins."""
        return Deadline(self)

    def opened(self, deadline: "Deadline") -> None:
        """A block has begun."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        deadline.at_s = loop.time() + self._seconds
        self._open[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.at_s, self._strike)

    def closed(self, deadline: "Deadline") -> None:
        """A block has ended."""
        self._open.pop(deadline, None)

    def _strike(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for deadline in list(self._open):
            if deadline.at_s > loop.time():
                self._timer = loop.call_at(deadline.at_s, self._strike)
                return
            del self._open[deadline]
            deadline.strike()


class Deadline:
    """That of one call."""

    __slots__ = ("_cancelling", "_deadlines", "_struck", "_task", "at_s")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._struck = False
        self.at_s = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.opened(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._deadlines.closed(self)
        ours_alone = self._struck and self._task.uncancel() <= self._cancelling
        if ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def strike(self) -> None:
        """The time is over."""
        self._struck = True
        self._task.cancel()
