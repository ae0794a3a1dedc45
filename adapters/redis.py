"""The one connection to Redis, and the scripts that run there."""

import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import NoScriptError
from redis.maint_notifications import MaintNotificationsConfig
from redis.typing import EncodableT

from adapters.auto_pipeline import AutoPipeline, executing
from adapters.redis_direct import DirectRedis
from adapters.settings import Settings

_LUA = Path(__file__).parent / "lua"

MAX_CONNECTIONS = 2_000
"""Connections of one process, for scripts and for everything else each; they are opened when they are needed."""

RedisClient = Redis | RedisCluster


_SERIALIZER = HiredisRespSerializer()


class _PackedConnection(Connection):
    """The asynchronous client packs commands in Python, the other one in C: an eighth of the time for a script."""

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        """A command as it travels."""
        return cast("list[bytes]", cast("Any", _SERIALIZER.pack)(*args))


class _PackedSSLConnection(_PackedConnection, SSLConnection):
    """The same over TLS."""


_PACKING_IN_C: Mapping[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _PackedConnection,
    SSLConnection: _PackedSSLConnection,
}


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """A client that fails fast: whoever calls decides whether to wait, durably, and how long.

    A ``RedisCluster`` where ``settings.redis_cluster`` says that the address is a node of one.
    """
    opened = RedisCluster if settings.redis_cluster else DirectRedis
    client: RedisClient = opened.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
        # One for each call in flight: a caller that gets none could decide nothing.
        max_connections=MAX_CONNECTIONS,
        # What a server tells of its moving would reach the connections of the pool only.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    if isinstance(client, Redis):
        pool = client.connection_pool
        pool.connection_class = _PACKING_IN_C.get(pool.connection_class, pool.connection_class)
    try:
        yield client
    finally:
        await client.aclose()


class Script:
    """A Lua script, joined from files of ``lua/``, on a server or on the cluster node that has its keys.

    It begins with ``local run_id``: the id of the server process that runs it, or nil, when the script has to find out
    by itself. A server forgets its scripts when it ends, and a replica never gets to know them (since Redis 7), so a
    text that names a process can only ever run in that process.

    With ``pipeline`` it travels together with whatever else is asked through that at the same time.
    """

    def __init__(
        self,
        redis: RedisClient,
        *names: str,
        names_process: bool = False,
        pipeline: AutoPipeline | None = None,
    ) -> None:
        self._redis = redis
        self._execute = executing(redis) if pipeline is None else pipeline.execute
        self._names_process = names_process and isinstance(redis, Redis)
        self._body = "\n".join((_LUA / f"{name}.lua").read_text() for name in names)
        self._text, self._digest = self._written("")

    async def __call__(self, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """Run it. A server that does not know it, because it was restarted or took over, is told the text once."""
        try:
            return await self._execute("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            if self._names_process:
                await self._load()
            return await self._execute("EVAL", self._text, len(keys), *keys, *arguments)

    async def _load(self) -> None:
        """The text for the process at the other end. Asked and told over one connection, which one process has."""
        assert isinstance(self._redis, Redis)  # noqa: S101 - see __init__
        async with self._redis.pipeline() as connection:
            await connection.watch("run_id")
            server = cast("Mapping[str, Any]", await cast("Awaitable[Any]", connection.info("server")))
            text, digest = self._written(server["run_id"] if _keeps_scripts_to_itself(server) else "")
            await cast("Awaitable[Any]", connection.script_load(text))
        self._digest = digest

    def _written(self, run_id: str) -> tuple[str, str]:
        text = f"local run_id = {json.dumps(run_id) if run_id else 'nil'}\n{self._body}"
        return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def _keeps_scripts_to_itself(server: Mapping[str, Any]) -> bool:
    """Before version 7 replicas were told of every script."""
    return int(str(server["redis_version"]).partition(".")[0]) >= 7


class RedisDependency:
    """Redis as seen by the health check."""

    name = "redis"

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def check(self) -> Mapping[str, str]:
        """The server's version, on a cluster that of one node; raises when it can't be reached."""
        if isinstance(self._redis, RedisCluster):
            info = await self._redis.info("server", target_nodes=RedisCluster.RANDOM)
        else:
            info = await self._redis.info("server")
        return {"version": str(info["redis_version"])}
