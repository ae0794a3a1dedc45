"""What the adapters stand on, opened on the stack; the tables are a module's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from adapters.campaign import DynamoCampaigns
from adapters.cost import DynamoCosts
from adapters.delivery import DynamoMessages
from adapters.dynamodb import Dynamo, open_dynamo
from adapters.redis import RedisClient, open_redis
from adapters.review import DynamoAutonomy
from adapters.settings import Settings


@pytest.fixture(scope="session")
async def redis(settings: Settings) -> AsyncIterator[RedisClient]:
    async with open_redis(settings) as client:
        yield client


@pytest.fixture(scope="module")
async def other_times(redis: RedisClient) -> AsyncIterator[None]:
    """For modules whose limiter has a clock of its own: the log that all accounts share forgets what they granted."""
    yield
    if keys := [key async for key in redis.scan_iter("rate:{system}:*")]:
        await redis.unlink(*keys)


@asynccontextmanager
async def tables(settings: Settings) -> AsyncIterator[Dynamo]:
    """Tables that nobody else uses."""
    own = settings.model_copy(update={"table_prefix": f"test-{uuid4().hex[:8]}-"})
    async with open_dynamo(own) as dynamo:
        await dynamo.migrate()
        yield dynamo


@pytest.fixture(scope="module")
async def dynamo(settings: Settings) -> AsyncIterator[Dynamo]:
    async with tables(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def campaigns(dynamo: Dynamo) -> DynamoCampaigns:
    return DynamoCampaigns(dynamo)


@pytest.fixture(scope="module")
def store(dynamo: Dynamo) -> DynamoMessages:
    return DynamoMessages(dynamo)


@pytest.fixture(scope="module")
def costs(dynamo: Dynamo) -> DynamoCosts:
    return DynamoCosts(dynamo)


@pytest.fixture(scope="module")
def autonomy(dynamo: Dynamo) -> DynamoAutonomy:
    return DynamoAutonomy(dynamo)


@pytest.fixture
async def empty_store(settings: Settings) -> AsyncIterator[DynamoMessages]:
    """A message store of this test alone."""
    async with tables(settings) as opened:
        yield DynamoMessages(opened)
