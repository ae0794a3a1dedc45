"""One embedded stack for the whole session, and what leads to it: settings, ports, client, workers, simulators."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import hypothesis
import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from adapters.bootstrap import Ports, open_ports, open_tables
from adapters.redis import open_redis
from adapters.settings import Settings
from adapters.temporal import connect
from local.process import child_environment
from local.stack import INFRASTRUCTURE, SIMULATORS, Stack, StackOptions
from tests.local import Simulator
from worker import workers
from workflows.policies import TASK_QUEUES

PAGE_SIZE = 6

LONGEST = (
    "end_to_end/test_chaos.py",
    "end_to_end/test_product.py",
    "adapters/test_rate_limit_schedules.py",
    "end_to_end/test_rollout.py",
)
"""Modules of a minute or more, the longest first: the one that begins last would keep a single process busy."""

# A busy machine is no failure of a property.
hypothesis.settings.register_profile("huntaze", deadline=None)
hypothesis.settings.load_profile("huntaze")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules; everything else keeps its order."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Real servers and simulators, with their variables in force in this process for the whole session."""
    with pytest.MonkeyPatch.context() as patch:

        async def migrate(env: Mapping[str, str]) -> None:
            _enter(patch, env)
            async with open_tables(Settings()) as tables:
                await tables.migrate()

        options = StackOptions(
            directory=tmp_path_factory.mktemp("stack"),
            parts=INFRASTRUCTURE | SIMULATORS,
            synchronous="OFF",
            migrate=migrate,
        )
        async with Stack(options) as running:
            yield running


@pytest.fixture(scope="session")
def settings(stack: Stack) -> Settings:
    """Settings of the stack, with pages so small that a dozen recipients fill several."""
    return Settings(page_size=PAGE_SIZE)


@pytest.fixture(scope="session")
async def ports(settings: Settings) -> AsyncIterator[Ports]:
    """Every port, opened on the stack."""
    async with open_ports(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
async def temporal(stack: Stack) -> Client:
    """A connected client."""
    return await connect()


@pytest.fixture(scope="session")
async def worker(temporal: Client, ports: Ports, settings: Settings) -> AsyncIterator[None]:
    """Workers of every task queue, in this process."""
    async with AsyncExitStack() as running:
        for each in workers(temporal, ports, settings, TASK_QUEUES):
            await running.enter_async_context(each)
        yield


@pytest.fixture(scope="session")
async def simulators(stack: Stack) -> AsyncIterator[dict[str, Simulator]]:
    """The control endpoints of the simulators, by name."""
    urls = {"onlyfans": stack.env["HUNTAZE_ONLYFANS_BASE_URL"], "ai": stack.env["AZURE_OPENAI_ENDPOINT"]}
    async with AsyncExitStack() as clients:
        yield {
            name: Simulator(
                url, await clients.enter_async_context(httpx.AsyncClient(base_url=url, timeout=10, trust_env=False))
            )
            for name, url in urls.items()
        }


@pytest.fixture
async def onlyfans(simulators: dict[str, Simulator]) -> Simulator:
    """The OnlyFans simulator, which has just forgotten everything."""
    await simulators["onlyfans"].reset()
    return simulators["onlyfans"]


@pytest.fixture(scope="session")
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A connection of its own to the stack's Redis."""
    async with open_redis(settings) as opened:
        assert isinstance(opened, Redis)
        yield opened


@pytest.fixture
async def ai(simulators: dict[str, Simulator], redis: Redis) -> AsyncIterator[Simulator]:
    """The AI simulator, which has just forgotten everything, as have the breakers that were opened by its faults.

    Whoever comes next finds no faults either.
    """
    await _forget_faults(simulators["ai"], redis)
    yield simulators["ai"]
    await _forget_faults(simulators["ai"], redis)


async def _forget_faults(ai: Simulator, redis: Redis) -> None:
    await ai.reset()
    async for key in redis.scan_iter("breaker:*"):
        await redis.delete(key)


def _enter(patch: pytest.MonkeyPatch, env: Mapping[str, str]) -> None:
    """Make this process what a child of the stack is: nothing in it leads to a real account."""
    wanted = child_environment(env)
    for name in os.environ.keys() - wanted.keys():
        patch.delenv(name)
    for name in wanted.keys() - {"PYTHONPATH", "PYTHONUNBUFFERED"}:
        patch.setenv(name, wanted[name])
