"""Answers that are kept in Redis for when no provider answers. Whatever goes wrong, the cache is empty."""

from datetime import timedelta

import structlog
from pydantic import ValidationError
from redis.exceptions import RedisClusterException, RedisError

from adapters.redis import RedisClient
from domain.provider import ContentPlan

log = structlog.get_logger(__name__)

KEPT = timedelta(days=7)


class RedisResponseCache:
    """``domain.ports.ResponseCache``; keys come from ``domain.response_cache``. ``kept``: for how long."""

    def __init__(self, redis: RedisClient, *, kept: timedelta = KEPT) -> None:
        self._redis = redis
        self._kept = kept

    async def plan(self, key: str) -> ContentPlan | None:
        """What was kept; ``None`` too when it can't be reached or read."""
        try:
            kept = await self._redis.get(_name(key))
            return None if kept is None else ContentPlan.model_validate_json(kept)
        except (RedisError, RedisClusterException, ValidationError) as error:
            log.warning("response_cache_failed", operation="read", reason=type(error).__name__)
            return None

    async def keep_plan(self, key: str, plan: ContentPlan) -> None:
        """Keep an answer; the latest one under a key counts."""
        try:
            await self._redis.set(_name(key), plan.model_dump_json(), px=self._kept)
        except (RedisError, RedisClusterException) as error:
            log.warning("response_cache_failed", operation="write", reason=type(error).__name__)


def _name(key: str) -> str:
    return f"answer:plan:{key}"
