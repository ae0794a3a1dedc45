"""The one connection to Redis."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.settings import Settings


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client that fails fast: whoever calls decides whether to wait, durably, and how long."""
    client = Redis.from_url(
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


class RedisDependency:
    """Redis as seen by the health check."""

    name = "redis"

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check(self) -> Mapping[str, str]:
        """The server's version; raises when it can't be reached."""
        info = await self._redis.info("server")
        return {"version": str(info["redis_version"])}
