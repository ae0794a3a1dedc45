"""Work that outlives its request: repeated until it succeeds, so that a short outage leaves nothing half done."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

import structlog

from domain.delivery import backoff_ms

GIVE_UP_AFTER = timedelta(minutes=15)
"""How long something is tried. It is lost earlier when its process ends."""

_log = structlog.get_logger()

Step = Callable[[], Awaitable[None]]


class Background:
    """The work of one process; ``close`` ends it."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def repeat(self, name: str, step: Step) -> None:
        """Do ``step`` until it raises nothing; a name that is busy already is left to what it is doing."""
        if name not in self._tasks:
            task = asyncio.create_task(_until_done(name, step))
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def close(self) -> None:
        """Cancel what is not done yet."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_done(name: str, step: Step) -> None:
    give_up_at = monotonic() + GIVE_UP_AFTER.total_seconds()
    attempt = 0
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever failed may be mended meanwhile
            attempt += 1
            pause_s = backoff_ms(attempt, random.random()) / 1000
            if monotonic() + pause_s >= give_up_at:
                _log.error("background.given_up", work=name, attempts=attempt, error=type(error).__name__)
                return
            _log.warning("background.repeated", work=name, attempts=attempt, error=type(error).__name__)
            await asyncio.sleep(pause_s)
        else:
            return
