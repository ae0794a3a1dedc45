"""The log of a campaign's latest fingerprints, on a real Redis."""

import random
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.similarity import KEPT, RedisSimilarityLog
from domain.compliance import MAX_ALIKE

BLAST = 0x0123456789ABCDEF
FEW = 200
"""Instead of the 2,000 that are kept otherwise: the comparisons of a test are the square of it."""


@pytest.fixture
def log(redis: Redis) -> RedisSimilarityLog:
    return RedisSimilarityLog(redis, kept=FEW)


@pytest.fixture
def campaign() -> str:
    return f"campaign-{uuid4()}"


def unrelated(count: int) -> dict[str, int]:
    """Fingerprints of texts that have nothing in common."""
    dice = random.Random(7)
    return {f"message-{uuid4()}": dice.getrandbits(64) for _ in range(count)}


async def test_others_that_are_near_identical_are_counted_and_a_repetition_is_no_other(
    log: RedisSimilarityLog, campaign: str
) -> None:
    first = {"a": BLAST, "b": BLAST ^ 0b11, "c": ~BLAST & (2**64 - 1)}
    assert await log.compare(campaign, first) == {"a": 1, "b": 1, "c": 0}
    assert await log.compare(campaign, first) == {"a": 1, "b": 1, "c": 0}
    assert await log.compare(campaign, {"d": BLAST}) == {"d": 2}
    # Written again with other words: what it had before is forgotten.
    assert await log.compare(campaign, {"a": ~BLAST & (2**64 - 1)}) == {"a": 1}
    assert await log.compare(f"other-{campaign}", {"e": BLAST}) == {"e": 0}


async def test_a_blast_is_seen_however_much_was_written_before_it(log: RedisSimilarityLog, campaign: str) -> None:
    await log.compare(campaign, unrelated(3 * FEW))
    counts = [(await log.compare(campaign, {f"blast-{n}": BLAST}))[f"blast-{n}"] for n in range(MAX_ALIKE + 2)]
    assert counts == list(range(MAX_ALIKE + 2))


@pytest.mark.parametrize(("others", "seen"), [(FEW // (MAX_ALIKE + 1) - 1, True), (FEW // MAX_ALIKE, False)])
async def test_it_is_seen_as_long_as_more_than_ten_are_among_the_latest(
    log: RedisSimilarityLog, campaign: str, others: int, seen: bool
) -> None:
    for number in range(3 * MAX_ALIKE):
        last = f"blast-{number}"
        counts = await log.compare(campaign, {**unrelated(others), last: BLAST})
    assert (counts[last] > MAX_ALIKE) is seen


def test_that_is_one_text_in_180() -> None:
    assert KEPT // (MAX_ALIKE + 1) >= 180


async def test_the_log_does_not_grow_with_the_campaign(log: RedisSimilarityLog, redis: Redis, campaign: str) -> None:
    for _ in range(3):
        await log.compare(campaign, unrelated(FEW))
    key = f"similarity:{{{campaign}}}"
    assert (await redis.hlen(key), await redis.llen(f"{key}:order")) == (FEW, FEW)
    assert await redis.ttl(key) > 0
    assert await redis.ttl(f"{key}:order") > 0


async def test_without_redis_the_texts_of_one_call_are_compared_with_each_other(campaign: str) -> None:
    async with Redis(host="127.0.0.1", port=9, retry=Retry(NoBackoff(), 0)) as nowhere:
        assert await RedisSimilarityLog(nowhere).compare(campaign, {"a": BLAST, "b": BLAST}) == {"a": 1, "b": 1}
