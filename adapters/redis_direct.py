"""Commands without what the client does around each of them, which takes longer than a command.

For one command ``Redis.execute_command`` locks its pool twice, looks whether the connection has something to read,
makes a task that writes, and runs six coroutines that count for metrics. Here is left what keeps the client's promises:
a time-out, one repetition over a connection made anew, and no connection that is used after an answer was missed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as TooLate

_packed = cast("Callable[[tuple[str | int | bytes, ...]], bytes]", pack_command)


class DirectRedis(Redis):
    """``Redis`` with ``direct``, on connections like those of its pool, which belong to no pool."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ready: list[AbstractConnection] = []

    async def direct(self, *command: str | int | bytes) -> Any:
        """As ``execute_command``, with the same errors, for commands whose answers need no translation.

        It may be carried out twice: if its answer does not arrive, it is sent once more.
        """
        connection = self._ready.pop() if self._ready else self._made()
        try:
            try:
                return await self._answer(connection, command)
            except (NoConnection, TooLate):
                return await self._answer(connection, command)
        finally:
            self._ready.append(connection)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close these connections, then the client."""
        while self._ready:
            await self._ready.pop().disconnect()
        await super().aclose(close_connection_pool)

    def _made(self) -> AbstractConnection:
        connection: AbstractConnection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        # The whole exchange has one time-out; a second one of the connection's own would take a task for each write.
        connection.socket_timeout = None
        return connection

    async def _answer(self, connection: AbstractConnection, command: tuple[str | int | bytes, ...]) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(_packed(command), check_health=False)
                return await connection.read_response()
        except ResponseError:
            raise
        except TimeoutError:
            await connection.disconnect(nowait=True)
            raise TooLate("Redis has not answered in time") from None
        except BaseException:
            # What it would still be told belongs to nobody; it connects again when it is used.
            await connection.disconnect(nowait=True)
            raise

    @property
    def _timeout_s(self) -> float | None:
        timeout_s: float | None = self.connection_pool.connection_kwargs.get("socket_timeout")
        return timeout_s
