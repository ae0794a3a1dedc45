"""What the limiter grants after a real failover: the replica that takes over lacks the primary's last writes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisClient, open_redis
from local import ports
from local.redis import serving
from tests.adapters.limits import StoredSlots, at, denial, of_account, of_recipient, of_system, send, take
from tests.domain.builders import an_account

THREE = (of_account(3, 60), of_recipient(3, 60), of_system(3, 60))


@dataclass
class Pair:
    """A primary with its replica; ``client`` follows the primary's address, whoever has it."""

    primary: AsyncExitStack
    port: int
    client: RedisClient
    replica: RedisClient

    async def replicated(self) -> None:
        """Wait until the replica has every write."""
        while not await self.client.wait(1, 100):
            pass

    async def cut(self) -> None:
        """From now on the replica learns of nothing."""
        await self.replica.execute_command("REPLICAOF", "NO", "ONE")

    async def fail_over(self) -> None:
        """The primary is gone, and its replica has its address."""
        await self.primary.aclose()
        await self.replica.config_set("port", self.port)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as running:
        primary = await running.enter_async_context(AsyncExitStack())
        port = await primary.enter_async_context(serving(tmp_path / "primary", "--repl-diskless-sync-delay", "0"))
        options = ("--replicaof", f"{ports.HOST} {port}", "--appendonly", "no")
        behind = await running.enter_async_context(serving(tmp_path / "replica", *options))
        client = await running.enter_async_context(open_redis(at(port)))
        replica = await running.enter_async_context(open_redis(at(behind)))
        yield Pair(primary, port, client, replica)


@pytest.fixture
def slots() -> StoredSlots:
    return StoredSlots()


@pytest.mark.parametrize("replicated", [0, 1, 3])
async def test_writes_that_were_lost_count_all_the_same(pair: Pair, slots: StoredSlots, replicated: int) -> None:
    limiter, account = RedisLimiter(pair.client, slots), an_account()
    for number in range(3):
        if number == replicated:
            await pair.replicated()
            await pair.cut()
        slots.store(await send(limiter, account, *THREE), "7")
    if replicated == 3:
        await pair.replicated()
        await pair.cut()
    await pair.fail_over()
    for window in THREE:
        await denial(limiter, account, window)


async def test_a_slot_that_the_replica_never_heard_of_admits_nothing(pair: Pair, slots: StoredSlots) -> None:
    limiter, account = RedisLimiter(pair.client, slots), an_account()
    await limiter.check(account, THREE)
    await pair.replicated()
    await pair.cut()
    lost = await take(limiter, account, *THREE)
    await pair.fail_over()
    kept = await take(limiter, account, *THREE)
    assert await limiter.intact([lost, kept]) == {kept.lease_id}
