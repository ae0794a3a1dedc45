"""The one connection to Redis, and the scripts that run there."""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from adapters.settings import Settings

_LUA = Path(__file__).parent / "lua"

RedisClient = Redis | RedisCluster


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """A client that fails fast: whoever calls decides whether to wait, durably, and how long.

    A ``RedisCluster`` where ``settings.redis_cluster`` says that the address is a node of one.
    """
    opened = RedisCluster if settings.redis_cluster else Redis
    client: RedisClient = opened.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )
    try:
        yield client
    finally:
        await client.aclose()


class Script:
    """A Lua script, joined from files of ``lua/``, on a server or on the cluster node that has its keys."""

    def __init__(self, redis: RedisClient, *names: str) -> None:
        self._redis = redis
        self._text = "\n".join((_LUA / f"{name}.lua").read_text() for name in names)
        self._digest = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """Run it. A server that does not know it, because it was restarted or took over, is told the text once."""
        try:
            return await self._run("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._run("EVAL", self._text, len(keys), *keys, *arguments)

    def _run(self, *command: str | int | bytes) -> Awaitable[Any]:
        return cast("Awaitable[Any]", self._redis.execute_command(*command))


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
