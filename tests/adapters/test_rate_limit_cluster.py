"""The limiter on a Redis Cluster of three masters, where an account and the system layer live on different nodes."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import RedisCluster

from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisDependency, open_redis
from domain.rate_limit import Cap, Layer
from local.redis import serving_cluster
from tests.adapters.limits import (
    LEASE_MS,
    Clock,
    StoredSlots,
    at,
    denial,
    of_account,
    of_recipient,
    of_system,
    of_type,
    send,
    take,
)
from tests.domain.builders import an_account

ALL = (of_account(3, 60), of_type(9, 60), of_recipient(9, 60), of_system(7, 60))


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisCluster]:
    async with (
        serving_cluster(tmp_path_factory.mktemp("cluster")) as started,
        open_redis(at(started[0], cluster=True)) as client,
    ):
        assert isinstance(client, RedisCluster)
        yield await client.initialize()


@pytest.fixture
def slots() -> StoredSlots:
    return StoredSlots()


@pytest.fixture
async def limiter(cluster: RedisCluster, slots: StoredSlots) -> RedisLimiter:
    await cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
    return RedisLimiter(cluster, slots, clock_us=Clock())


async def test_accounts_lie_on_all_three_nodes(cluster: RedisCluster) -> None:
    accounts = [an_account() for _ in range(60)]
    assert len({cluster.get_node_from_key(f"rate:{{{account}}}:account") for account in accounts}) == 3


async def test_every_call_works_on_every_node(limiter: RedisLimiter, slots: StoredSlots) -> None:
    for account in (an_account() for _ in range(12)):
        without_system = ALL[:-1]
        lease = await take(limiter, account, *without_system)
        slots.store(lease, "7")
        assert await limiter.intact([lease]) == {lease.lease_id}
        await limiter.confirm(lease)
        await limiter.hold(account, 1_000, "throttled")
        assert (await limiter.usage(account, ALL)).windows[0].used == 1
        assert (await limiter.check(account, ALL)).binding_layer is Layer.PLATFORM
        await limiter.release(lease)
        assert (await limiter.usage(account, ALL)).windows[0].used == 0
        grants = await limiter.reserve_fans(
            account, ["8"], (Cap(limit=1, seconds=60),), call=uuid4(), lease_ms=LEASE_MS
        )
        assert not grants.denied
        await limiter.release_fans(grants.leases)


async def test_the_system_layer_binds_all_accounts(limiter: RedisLimiter) -> None:
    for _ in range(7):
        await send(limiter, an_account(), *ALL)
    answer = await denial(limiter, an_account(), *ALL)
    assert (answer.binding_layer, answer.retry_after_ms) == (Layer.SYSTEM, 60_000)


async def test_its_denial_gives_the_accounts_lease_back(cluster: RedisCluster, limiter: RedisLimiter) -> None:
    for _ in range(7):
        await send(limiter, an_account(), *ALL)
    account = an_account()
    for _ in range(5):
        answer = await denial(limiter, account, *ALL)
        assert answer.remaining == {
            Layer.ACCOUNT: 3,
            Layer.MESSAGE_TYPE: 9,
            Layer.RECIPIENT: 9,
            Layer.SYSTEM: 0,
        }
    for subject in ("account", "type:custom", "recipient:7"):
        assert await cluster.zcard(f"rate:{{{account}}}:{subject}") == 0
    for _ in range(3):
        await take(limiter, account, *ALL[:-1])


async def test_a_denial_of_the_account_takes_nothing_of_the_system_layer(
    cluster: RedisCluster, limiter: RedisLimiter
) -> None:
    account = an_account()
    for _ in range(3):
        await send(limiter, account, *ALL)
    for _ in range(5):
        assert (await denial(limiter, account, *ALL)).binding_layer is Layer.ACCOUNT
    assert await cluster.zcard("rate:{system}:system") == 3


async def test_the_wait_is_that_of_the_layer_that_binds_longest(limiter: RedisLimiter) -> None:
    account = an_account()
    for _ in range(3):
        await send(limiter, account, of_account(3, 60), of_system(3, 90))
    answer = await denial(limiter, account, of_account(3, 60), of_system(3, 90))
    assert (answer.binding_layer, answer.retry_after_ms) == (Layer.SYSTEM, 90_000)
    answer = await denial(limiter, account, of_account(3, 60), of_system(3, 30))
    assert (answer.binding_layer, answer.retry_after_ms) == (Layer.ACCOUNT, 60_000)


async def test_a_lease_is_intact_only_if_both_nodes_have_kept_it(cluster: RedisCluster, limiter: RedisLimiter) -> None:
    lost, kept = [await take(limiter, an_account(), *ALL) for _ in range(2)]
    assert await limiter.intact([lost, kept]) == {lost.lease_id, kept.lease_id}
    await cluster.unlink(f"rate:{{{lost.account_id}}}:index")
    assert await limiter.intact([lost, kept]) == {kept.lease_id}
    await cluster.unlink("rate:{system}:system")
    assert await limiter.intact([lost, kept]) == frozenset()


async def test_a_flushed_cluster_is_rebuilt(cluster: RedisCluster, limiter: RedisLimiter, slots: StoredSlots) -> None:
    account = an_account()
    for _ in range(3):
        slots.store(await send(limiter, account, *ALL), "7")
    await cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
    await cluster.script_flush()
    assert (await denial(limiter, account, *ALL)).retry_after_ms == 60_000 + LEASE_MS
    assert [window.used for window in (await limiter.usage(account, ALL)).windows] == [3] * 4


async def test_many_at_once_get_no_more_than_there_is(limiter: RedisLimiter) -> None:
    accounts = [an_account() for _ in range(6)]
    answers = await asyncio.gather(
        *(limiter.reserve(account, ALL, lease_ms=LEASE_MS) for _ in range(5) for account in accounts)
    )
    assert sum(answer.granted for answer in answers) == 7


async def test_it_is_healthy(cluster: RedisCluster) -> None:
    assert (await RedisDependency(cluster).check())["version"]
