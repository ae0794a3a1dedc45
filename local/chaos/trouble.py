"""What is done to the servers while a campaign runs, and which of them end although nobody asked them to."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from local.chaos.plan import Step, Trouble
from local.process import ProcessExitedError
from local.stack import Stack

_STARTS = 20
_TRY_EVERY_S = 1.0


class Troublemaker:
    """Kills and restarts; ``done`` counts what has happened."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._repairs: dict[str, asyncio.Task[None]] = {}
        self.done: Counter[Trouble] = Counter()

    async def make(self, steps: tuple[Step, ...]) -> None:
        """Step by step. A killed part comes back while the next steps go on; one that is late delays none after it."""
        began = time.monotonic()
        for step in steps:
            await asyncio.sleep(began + step.at_s - time.monotonic())
            await self._repaired(step.part)
            if step.trouble is Trouble.FLUSH_REDIS:
                async with Redis.from_url(self._stack.env["HUNTAZE_REDIS_URL"]) as redis:
                    await redis.flushall()
            else:
                await self._stack.kill(step.part)
                self._repairs[step.part] = asyncio.create_task(self._restart(step))
            self.done[step.trouble] += 1

    async def repaired(self) -> None:
        """Wait until everything that was killed runs again."""
        for part in tuple(self._repairs):
            await self._repaired(part)

    async def _repaired(self, part: str) -> None:
        if repair := self._repairs.pop(part, None):
            await repair

    async def _restart(self, step: Step) -> None:
        await asyncio.sleep(step.away_s)
        for _ in range(_STARTS):
            try:
                await self._stack.restart(step.part)
                return
            except ProcessExitedError:
                # A worker that starts while Temporal is away ends; like a supervisor we start it again.
                await asyncio.sleep(_TRY_EVERY_S)
        raise RuntimeError(f"{step.part} does not start any more")


@asynccontextmanager
async def crashes_of(stack: Stack) -> AsyncIterator[list[str]]:
    """The parts that end during the block although nobody asked them to, with their last words."""
    seen: list[str] = []

    async def collect() -> None:
        while True:
            seen.append(str(await stack.wait_failed()))

    task = asyncio.create_task(collect())
    try:
        yield seen
    finally:
        task.cancel()
