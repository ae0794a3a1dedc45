"""Commands without what the client does around each of them.

For one command ``Redis.execute_command`` locks its pool twice, looks whether the connection has something to read,
makes a task that writes, and runs coroutines that count for metrics. Here is left what keeps the client's promises:
a time-out, one repetition over a connection made anew, and no connection that is used after an answer was missed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import MaxConnectionsError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from adapters.deadlines import Deadlines

_packed = cast("Callable[[tuple[str | int | bytes, ...]], bytes]", pack_command)


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
        pool = self.connection_pool
        if self._busy >= pool.max_connections:
            raise MaxConnectionsError("Too many connections")
        self._busy += 1
        connection = self._ready.pop() if self._ready else self._made()
        try:
            try:
                return await self._answer(connection, command)
            except (NoConnection, TooLate):
                # Where the server has moved to, the old one's address is of no use.
                connection = self._made()
                return await self._answer(connection, command)
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

    async def _answer(self, connection: AbstractConnection, command: tuple[str | int | bytes, ...]) -> Any:
        try:
            with self._deadlines.begin():
                await connection.send_packed_command(_packed(command), check_health=False)
                return await connection.read_response()
        except ResponseError:
            raise
        except TimeoutError:
            await connection.disconnect(nowait=True)
            raise TooLate("Redis has not answered in time") from None
        except BaseException:
            # What it would still be told belongs to nobody.
            await connection.disconnect(nowait=True)
            raise
