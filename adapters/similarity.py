"""Fingerprints of a campaign's latest texts in Redis: what near-identical blasts are recognised by."""

from collections.abc import Mapping
from datetime import timedelta

import structlog
from redis.exceptions import RedisClusterException, RedisError

from adapters.redis import RedisClient, Script
from domain.similarity import alike

log = structlog.get_logger(__name__)

KEPT = 2_000
"""Fingerprints that a campaign's log holds at most, whatever its size: those of its latest texts.

Every text costs as many comparisons. What makes up at least one in 180 of a campaign's texts is seen as a blast.
"""

TTL = timedelta(days=7)


class RedisSimilarityLog:
    """``domain.ports.SimilarityLog``: for each campaign a hash from message id to fingerprint, and their order."""

    def __init__(self, redis: RedisClient, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._remember = Script(redis, "similarity")

    async def compare(self, campaign_id: str, fingerprints: Mapping[str, int]) -> Mapping[str, int]:
        """A repetition replaces what a message had before, so that it is never compared with itself."""
        fields = [word for message, value in fingerprints.items() for word in (message, f"{value:x}")]
        try:
            kept = await self._remember(
                [f"similarity:{{{campaign_id}}}", f"similarity:{{{campaign_id}}}:order"],
                [self._kept, int(TTL.total_seconds()), *fields],
            )
        except (RedisError, RedisClusterException):
            log.warning("similarity_log_unreachable")
            kept = []
        others = {kept[place]: int(kept[place + 1], 16) for place in range(0, len(kept), 2)} | dict(fingerprints)
        return {
            message: alike(value, [other for name, other in others.items() if name != message])
            for message, value in fingerprints.items()
        }
