"""Kept plans: found under their key until they expire; a cache that can't be reached or read is an empty one."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
import structlog
from structlog.testing import capture_logs

from adapters import response_cache
from adapters.redis import RedisClient, open_redis
from adapters.response_cache import KEPT, RedisResponseCache
from domain.provider import ContentPlan, GeneralText
from domain.rate_limit import MessageType
from domain.response_cache import plan_key
from tests.adapters.limits import at

PLAN = ContentPlan(
    theme="Golden hour",
    tone="warm",
    angle="ask for an opinion",
    call_to_action="tell me",
    talking_points=("a softer style",),
    general_texts=(GeneralText(language="fr", text="Il y a du nouveau sur ma page."),),
)


def key_of(owner: str, brief: str) -> str:
    return plan_key(owner, brief, MessageType.CUSTOM, ["en", "fr"], "plan.v1")


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the configuration that it was first used under, of which there are several in a session."""
    monkeypatch.setattr(response_cache, "log", structlog.get_logger())


@pytest.fixture
def brief() -> str:
    """A brief of this test alone."""
    return f"Spring sale {uuid4().hex}"


async def test_a_plan_comes_back_whole(redis: RedisClient, brief: str) -> None:
    cache = RedisResponseCache(redis)
    assert await cache.plan(key_of("user-1", brief)) is None
    await cache.keep_plan(key_of("user-1", brief), PLAN)
    assert await cache.plan(key_of("user-1", brief)) == PLAN


async def test_another_owner_with_the_same_brief_finds_nothing(redis: RedisClient, brief: str) -> None:
    cache = RedisResponseCache(redis)
    await cache.keep_plan(key_of("user-1", brief), PLAN)
    assert await cache.plan(key_of("user-2", brief)) is None


async def test_the_latest_plan_counts(redis: RedisClient, brief: str) -> None:
    cache, key = RedisResponseCache(redis), key_of("user-1", brief)
    await cache.keep_plan(key, PLAN)
    await cache.keep_plan(key, PLAN.model_copy(update={"tone": "calm"}))
    kept = await cache.plan(key)
    assert kept is not None
    assert kept.tone == "calm"


async def test_a_plan_expires(redis: RedisClient, brief: str) -> None:
    key = key_of("user-1", brief)
    await RedisResponseCache(redis).keep_plan(key, PLAN)
    left_ms = await redis.pttl(f"answer:plan:{key}")
    assert timedelta(0) < timedelta(milliseconds=left_ms) <= KEPT
    short = RedisResponseCache(redis, kept=timedelta(milliseconds=30))
    await short.keep_plan(key, PLAN)
    async with asyncio.timeout(20):
        while await short.plan(key) is not None:
            await asyncio.sleep(0.01)


async def test_what_can_not_be_read_is_not_there(redis: RedisClient, brief: str) -> None:
    key = key_of("user-1", brief)
    await redis.set(f"answer:plan:{key}", '{"theme": 1}', ex=60)
    with capture_logs() as logs:
        assert await RedisResponseCache(redis).plan(key) is None
    assert [(entry["event"], entry["operation"]) for entry in logs] == [("response_cache_failed", "read")]


async def test_without_redis_it_is_empty(brief: str) -> None:
    async with open_redis(at(9)) as nowhere:
        cache = RedisResponseCache(nowhere)
        with capture_logs() as logs:
            await cache.keep_plan(key_of("user-1", brief), PLAN)
            assert await cache.plan(key_of("user-1", brief)) is None
    assert [entry["operation"] for entry in logs] == ["write", "read"]
    assert brief not in str(logs)
