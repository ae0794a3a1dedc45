"""Commands without what the client does around each of them.

For one command ``Redis.execute_command`` locks its pool twice, looks whether the connection has something to read,
makes a task that writes, and runs coroutines that count for metrics. Here is left what keeps the client's promises:
a time-out, one repetition over a connection made anew, and no connection that is used after an answer was missed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import MaxConnectionsError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from adapters.deadlines import Deadlines

A = TypeVar("A")
R = TypeVar("R")
Command = tuple[str | int | bytes, ...]
"""A command and its arguments."""

_packed = cast("Callable[[Command], bytes]", pack_command)


class DirectRedis(Redis):
    """``Redis`` with ``direct``, on connections like those of its pool, which belong to no pool."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ready: list[AbstractConnection] = []
        self._busy = 0
        self._deadlines = Deadlines(self.connection_pool.connection_kwargs.get("socket_timeout"))

    async def direct(self, *command: str | int | bytes) -> Any:
        """As ``execute_command``, with the same errors, for commands whose answers need no translation.

        It may be carried out twice: if its answer does not arrive, it is sent once more, over a new connection.
        """
        return await self._asked(self._answer, command)

    async def direct_each(self, *commands: Command) -> Sequence[object]:
        """As ``direct``, for several in one write: the answer to each, or the error that Redis answered to it.

        Those too that were answered are sent once more when the connection breaks.
        """
        return await self._asked(self._answers, commands)

    async def _asked(self, ask: Callable[[AbstractConnection, A], Awaitable[R]], what: A) -> R:
        pool = self.connection_pool
        if self._busy >= pool.max_connections:
            raise MaxConnectionsError("Too many connections")
        self._busy += 1
        connection = self._ready.pop() if self._ready else self._made()
        try:
            try:
                return await ask(connection, what)
            except (NoConnection, TooLate):
                # Where the server has moved to, the old one's address is of no use.
                connection = self._made()
                return await ask(connection, what)
        finally:
            self._busy -= 1
            if connection.is_connected:
                self._ready.append(connection)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close these connections, then the client."""
        ready, self._ready = self._ready, []
        try:
            await asyncio.gather(*(connection.disconnect() for connection in ready), return_exceptions=True)
        finally:
            await super().aclose(close_connection_pool)

    def _made(self) -> AbstractConnection:
        connection: AbstractConnection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        # The whole exchange has one time-out; a second one of the connection's own would take a task for each write.
        connection.socket_timeout = None
        return connection

    async def _answer(self, connection: AbstractConnection, command: Command) -> Any:
        (answer,) = await self._exchanged(connection, _packed(command), 1)
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def _answers(self, connection: AbstractConnection, commands: Sequence[Command]) -> Sequence[object]:
        return await self._exchanged(connection, b"".join(map(_packed, commands)), len(commands))

    async def _exchanged(self, connection: AbstractConnection, sent: bytes, count: int) -> Sequence[object]:
        answers: list[object] = []
        try:
            with self._deadlines.begin():
                await connection.send_packed_command(sent, check_health=False)
                while len(answers) < count:
                    try:
                        answers.append(await connection.read_response())
                    except ResponseError as error:
                        answers.append(error)
            return answers
        except TimeoutError:
            await connection.disconnect(nowait=True)
            raise TooLate("Redis has not answered in time") from None
        except BaseException:
            # What it would still be told belongs to nobody.
            await connection.disconnect(nowait=True)
            raise
