"""Staff see the models of the routing policy with their circuit breakers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.bootstrap import Ports
from adapters.redis import open_redis
from adapters.settings import Settings
from domain.routing import Target

PROVIDERS = "/api/v2/providers"
Headers = dict[str, str]


async def test_every_model_is_listed_with_every_breaker(api: httpx.AsyncClient, staff: Headers, ports: Ports) -> None:
    listed = (await api.get(PROVIDERS, headers=staff)).json()["providers"]
    keys = [target.key for target in ports.routing.targets]
    assert [(each["target"], each["guards"]) for each in listed] == [
        *(entry for key in keys for entry in ((key, "answers"), (f"{key}/kept", "kept_answers"))),
        ("moderation", "moderation"),
    ]
    assert (listed[-1]["provider"], listed[-1]["model"]) == ("openai", None)
    assert {each["provider"] for each in listed} == {"azure", "openai"}
    assert all(each["shared"] for each in listed)


@pytest.fixture
async def target(ports: Ports, settings: Settings) -> AsyncIterator[Target]:
    """A model whose breaker is as new, and will be again."""
    target = ports.routing.cheaper[0]
    async with open_redis(settings) as redis:
        await redis.delete(f"breaker:{{{target.key}}}")
        yield target
        await redis.delete(f"breaker:{{{target.key}}}")


async def test_an_open_breaker_says_until_when(
    api: httpx.AsyncClient, staff: Headers, ports: Ports, target: Target
) -> None:
    earliest = datetime.now(UTC)
    for _ in range(5):
        await ports.breaker.failed(target.key, await ports.breaker.admit(target.key))
    assert not (await ports.breaker.admit(target.key)).allowed
    listed = (await api.get(PROVIDERS, headers=staff)).json()["providers"]
    [found] = [each for each in listed if each["target"] == target.key]
    assert (found["provider"], found["model"], found["status"]) == (target.provider, target.model, "open")
    assert (found["failures"], found["opened"], found["closed"], found["rejected"]) == (5, 1, 0, 1)
    until = datetime.fromisoformat(found["openUntil"])
    assert earliest < until <= datetime.now(UTC) + timedelta(seconds=30)


async def test_breakers_beside_that_for_answers_are_seen_open(
    api: httpx.AsyncClient, staff: Headers, ports: Ports, target: Target, settings: Settings
) -> None:
    names = ["moderation", f"{target.key}/kept"]
    async with open_redis(settings) as redis:
        await redis.delete(*(f"breaker:{{{name}}}" for name in names))
        try:
            for name in names * 5:
                await ports.breaker.failed(name, await ports.breaker.admit(name))
            listed = (await api.get(PROVIDERS, headers=staff)).json()["providers"]
        finally:
            await redis.delete(*(f"breaker:{{{name}}}" for name in names))
    found = {each["target"]: each for each in listed}
    assert {name: found[name]["status"] for name in names} == dict.fromkeys(names, "open")
    assert found[target.key]["status"] == "closed"
    assert all(found[name]["openUntil"] for name in names)


async def test_without_redis_the_process_tells_what_it_knows(offline: httpx.AsyncClient, staff: Headers) -> None:
    listed = (await offline.get(PROVIDERS, headers=staff)).json()["providers"]
    assert {(each["status"], each["openUntil"], each["shared"]) for each in listed} == {("closed", None, False)}


async def test_creators_are_refused(api: httpx.AsyncClient, caller: Headers) -> None:
    assert (await api.get(PROVIDERS, headers=caller)).status_code == 403
    assert (await api.get(PROVIDERS)).status_code == 401
