"""Fingerprints of a campaign's latest texts in Redis: what near-identical blasts are recognised by."""

from collections.abc import Mapping
from datetime import timedelta

import structlog
from redis.exceptions import RedisClusterException, RedisError

from adapters.redis import RedisClient, Script
from domain.similarity import alike

log = structlog.get_logger(__name__)

KEPT = 2_000
"""Fingerprints that a campaign's log holds at most; later texts are compared with these."""
TTL = timedelta(days=7)


class RedisSimilarityLog:
    """``domain.ports.SimilarityLog``: a hash from message id to fingerprint for each campaign."""

    def __init__(self, redis: RedisClient) -> None:
        self._remember = Script(redis, "similarity")

    async def compare(self, campaign_id: str, fingerprints: Mapping[str, int]) -> Mapping[str, int]:
        """A repetition replaces what a message had before, so that it is never compared with itself."""
        fields = [word for message, value in fingerprints.items() for word in (message, f"{value:x}")]
        try:
            kept = await self._remember([f"similarity:{{{campaign_id}}}"], [KEPT, int(TTL.total_seconds()), *fields])
        except (RedisError, RedisClusterException):
            log.warning("similarity_log_unreachable")
            kept = []
        others = {kept[place]: int(kept[place + 1], 16) for place in range(0, len(kept), 2)} | dict(fingerprints)
        return {
            message: alike(value, [other for name, other in others.items() if name != message])
            for message, value in fingerprints.items()
        }
