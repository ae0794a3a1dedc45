"""Commands of callers who ask Redis at the same time, sent in one write and answered in one read."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from redis.asyncio import Redis, RedisCluster

from adapters.redis_direct import Command, DirectRedis

R = TypeVar("R")
Execute = Callable[..., Awaitable[Any]]
"""A command and its arguments; what Redis answers."""


def executing(redis: Redis | RedisCluster) -> Execute:
    """The shortest way to Redis that a client offers."""
    return redis.direct if isinstance(redis, DirectRedis) else cast("Execute", redis.execute_command)


class Asked(NamedTuple):
    """A command, and where its answer is waited for."""

    command: Command
    answer: asyncio.Future[Any]


class AutoPipeline:
    """Saves most of the system calls, the wake-ups of the server and the client's work for each command.

    Whoever asks alone is not made to wait. While others are being answered, what is asked during one turn of the event
    loop goes together, over a connection of its own: nobody waits for the answer to somebody else's earlier command.
    The commands stay independent: they are no transaction, and an error that Redis answers is for one caller alone. A
    connection that breaks is everybody's who travelled with it; the client then sends all of them once more, those
    too that were answered already. So only commands that may be repeated belong here.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._execute = executing(redis)
        self._in_flight = 0
        self._asked: list[Asked] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def execute(self, *command: str | int | bytes) -> Any:
        """As ``Redis.execute_command``, with the same errors."""
        if not self._in_flight:
            return await self._counted(self._execute(*command))
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        asked = Asked(command, loop.create_future())
        self._asked.append(asked)
        return await asked.answer

    def _send(self) -> None:
        together, self._asked = self._asked, []
        sending = asyncio.create_task(self._counted(self._answer(together)))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _counted(self, work: Awaitable[R]) -> R:
        self._in_flight += 1
        try:
            return await work
        finally:
            self._in_flight -= 1

    async def _answer(self, together: Sequence[Asked]) -> None:
        # Who was cancelled meanwhile has sent nothing.
        wanted = [asked for asked in together if not asked.answer.done()]
        results: Sequence[object]
        try:
            results = await self._run([asked.command for asked in wanted])
        except Exception as error:  # noqa: BLE001 - it is for those who asked
            results = [error] * len(wanted)
        except BaseException:
            for asked in wanted:
                asked.answer.cancel()
            raise
        for asked, result in zip(wanted, results, strict=True):
            if asked.answer.done():
                continue
            if isinstance(result, Exception):
                asked.answer.set_exception(result)
            else:
                asked.answer.set_result(result)

    async def _run(self, commands: Sequence[Command]) -> Sequence[object]:
        if isinstance(self._redis, DirectRedis):
            return await self._redis.direct_each(*commands)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                cast("Callable[..., object]", pipeline.execute_command)(*command)
            return await pipeline.execute(raise_on_error=False)
