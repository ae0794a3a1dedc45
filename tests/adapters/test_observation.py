"""Observations on real servers: exact sums of several writers, and what outages and lost data cost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.dynamodb import Dynamo
from adapters.observation import BUFFERED_MINUTES, RedisObservations, open_observations
from adapters.redis import RedisClient, Script, open_redis
from adapters.settings import Settings
from domain.observation import Arm, ArmCounts, Observation, Observed
from local import ports
from local.redis import serving, serving_cluster

START = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def observation(flag: str, arm: Arm = Arm.CANARY, *, after_s: float = 0, error: str = "") -> Observation:
    """A request some time after the start."""
    return Observation(
        flag=flag,
        arm=arm,
        at=START + timedelta(seconds=after_s),
        latency_ms=120,
        error=error,
        cost_micros=700,
        compliance=0.9,
    )


def summed(observations: Sequence[Observation]) -> Observed:
    """What the counts must be: one request after the other."""
    arms = {arm: ArmCounts() for arm in Arm}
    for each in observations:
        arms[each.arm] += ArmCounts.of(each)
    fresh_at = max((each.at for each in observations), default=None)
    return Observed(baseline=arms[Arm.BASELINE], canary=arms[Arm.CANARY], fresh_at=fresh_at)


async def read_hash(redis: Redis, key: str) -> dict[str, str]:
    """A hash as text."""
    fields: dict[str, str] = await cast("Any", redis.hgetall(key))
    return fields


@pytest.fixture
def flag() -> str:
    """A flag of this test alone."""
    return f"flag-{uuid4().hex[:12]}"


@pytest.fixture
async def processes(settings: Settings, dynamo: Dynamo) -> AsyncIterator[list[RedisObservations]]:
    """Two processes' worth, with connections of their own; they write and keep when a test says so."""
    async with AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(open_redis(settings)) for _ in range(2)]
        yield [RedisObservations(client, dynamo, keep_every_s=0.001) for client in clients]


@asynccontextmanager
async def on_server(settings: Settings, port: int) -> AsyncIterator[RedisClient]:
    """A client of the server on ``port``."""
    async with open_redis(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}")})) as client:
        yield client


async def kept(observations: RedisObservations, dynamo: Dynamo, flag: str) -> list[dict[str, object]]:
    """The items of a flag in the store, after everything that changed was kept."""
    await observations.keep()
    return [
        item
        async for item in dynamo.query(
            TableName=dynamo.table("observations"),
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": {"S": f"flag#{flag}"}},
        )
    ]


requests = st.builds(
    Observation,
    flag=st.just("set-later"),
    arm=st.sampled_from(Arm),
    at=st.integers(0, 400).map(lambda seconds: START + timedelta(seconds=seconds)),
    latency_ms=st.floats(0, 1e6),
    error=st.sampled_from(["", "", "", "timeout", "provider:unavailable"]),
    cost_micros=st.none() | st.integers(0, 10_000_000),
    compliance=st.none() | st.floats(0, 1),
)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.lists(requests, max_size=5), st.sampled_from(["", "write", "keep", "both"])),
        max_size=10,
    )
)
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_counts_are_the_plain_sum(
    processes: list[RedisObservations], steps: list[tuple[int, list[Observation], str]]
) -> None:
    flag = f"flag-{uuid4().hex[:12]}"
    made: list[Observation] = []
    for number, batch, then in steps:
        for each in batch:
            processes[number].record(each.model_copy(update={"flag": flag}))
        made += batch
        if then in {"write", "both"}:
            await processes[number].write()
        if then in {"keep", "both"}:
            await processes[number].keep()
    for process in processes:
        await process.write()
    assert [await process.observed(flag, START) for process in processes] == 2 * [summed(made)]


async def test_only_minutes_from_then_on_count(processes: list[RedisObservations], flag: str) -> None:
    made = [observation(flag, after_s=60 * minute) for minute in range(4)]
    for each in made:
        processes[0].record(each)
    await processes[0].write()
    await processes[0].keep()
    for since, expected in ((119, made[1:]), (120, made[2:]), (1000, [])):
        assert await processes[1].observed(flag, START + timedelta(seconds=since)) == summed(expected)


async def test_a_lost_memory_costs_what_was_not_kept(
    processes: list[RedisObservations], redis: Redis, flag: str
) -> None:
    one, other = processes
    before = [observation(flag, error="timeout"), observation(flag, Arm.BASELINE)]
    unkept = [observation(flag)]
    after = [observation(flag), observation(flag, Arm.BASELINE, after_s=61)]
    for each in before:
        one.record(each)
    await one.write()
    await one.keep()
    for each in unkept:
        one.record(each)
    await one.write()
    assert await other.observed(flag, START) == summed(before + unkept)
    await redis.delete(*[key async for key in redis.scan_iter(f"observations:{{{flag}}}:*")])
    assert await other.observed(flag, START) == summed(before)
    for each in after:
        other.record(each)
    await other.write()
    assert await one.observed(flag, START) == summed(before + after)
    await other.keep()
    await asyncio.gather(one.keep(), other.keep())
    assert await one.observed(flag, START) == summed(before + after)


async def test_a_memory_that_came_back_older_counts_nothing_twice(
    processes: list[RedisObservations], redis: Redis, flag: str
) -> None:
    """A restarted server that had not written its last second to disk."""
    one, _ = processes
    one.record(observation(flag))
    await one.write()
    key = f"observations:{{{flag}}}:canary:{int(START.timestamp() // 60)}"
    older = await read_hash(redis, key)
    one.record(observation(flag, error="timeout"))
    await one.write()
    await one.keep()
    # As another process would find it: the epoch is of a process that is gone.
    await redis.delete(key)
    gone = {name.replace(older["epoch"], f"00000000{older['epoch'][8:]}"): text for name, text in older.items()}
    await redis.hset(key, mapping=cast("Any", gone | {"epoch": f"00000000{older['epoch'][8:]}"}))
    one.record(observation(flag))
    await one.write()
    fields = await read_hash(redis, key)
    assert not fields["epoch"].startswith("00000000")
    assert fields[f"00000000{older['epoch'][8:]}:requests"] == "1"
    assert fields[f"{fields['epoch']}:requests"] == "1"


async def test_a_batch_that_is_offered_again_counts_once(redis: Redis, flag: str) -> None:
    add = Script(redis, "observation_add", names_process=True)
    prefix = f"observations:{{{flag}}}:"
    keys = [f"{prefix}{name}" for name in ("minutes", "changed", "writer:w", "canary:5")]
    for number in (1, 1, 2, 1):
        await add(keys, [number, f"w{number}", 60_000, "canary:5", 5, 1, 1, "requests", 3])
    fields = await read_hash(redis, f"{prefix}canary:5")
    assert fields[f"{fields['epoch']}:requests"] == "6"
    assert await read_hash(redis, f"{prefix}changed") == {"canary:5": "2"}


async def test_redis_away_and_back(settings: Settings, dynamo: Dynamo, flag: str, tmp_path: Path) -> None:
    [port] = ports.choose(("redis",), {}).values()
    made = [observation(flag, after_s=number, error="x" if number % 3 == 0 else "") for number in range(90)]
    async with on_server(settings, port) as client:
        observations = RedisObservations(client, dynamo, keep_every_s=0.001)
        for each in made[:30]:
            observations.record(each)
        await observations.write()
        async with serving(tmp_path / "redis", port=port):
            await observations.write()
            for each in made[30:60]:
                observations.record(each)
            await observations.write()
            await observations.keep()
            assert await observations.observed(flag, START) == summed(made[:60])
        for each in made[60:]:
            observations.record(each)
        await observations.write()
        assert await observations.observed(flag, START) == summed(made[:60])
        async with serving(tmp_path / "another", port=port):
            await observations.write()
            assert await observations.observed(flag, START) == summed(made)
            await observations.keep()
        assert await observations.observed(flag, START) == summed(made)


async def test_the_buffer_is_bounded_in_minutes(settings: Settings, dynamo: Dynamo, flag: str, tmp_path: Path) -> None:
    [port] = ports.choose(("redis",), {}).values()
    made = [
        observation(flag, arm, after_s=60 * minute) for minute in range(2 * BUFFERED_MINUTES) for arm in (*Arm, *Arm)
    ]
    async with on_server(settings, port) as client:
        observations = RedisObservations(client, dynamo)
        for each in made:
            observations.record(each)
        async with serving(tmp_path / "redis", port=port):
            await observations.write()
            assert await observations.observed(flag, START) == summed(made[len(made) // 2 :])


async def test_old_minutes_are_added_up_once_and_stay(
    processes: list[RedisObservations], redis: Redis, flag: str
) -> None:
    made = [observation(flag, after_s=3600 * hour) for hour in range(12)]
    for each in made:
        processes[0].record(each)
    await processes[0].write()
    await processes[0].keep()
    assert await processes[1].observed(flag, START) == summed(made)
    made.append(observation(flag, after_s=12 * 3600, error="timeout"))
    processes[0].record(made[-1])
    await processes[0].write()
    for process in (processes[1], processes[1], processes[0]):
        assert await process.observed(flag, START) == summed(made)


async def test_an_earlier_state_never_replaces_a_later_one(
    processes: list[RedisObservations], redis: Redis, dynamo: Dynamo, flag: str
) -> None:
    one, other = processes
    one.record(observation(flag))
    await one.write()
    key = f"observations:{{{flag}}}:canary:{int(START.timestamp() // 60)}"
    older = await read_hash(redis, key)
    one.record(observation(flag))
    await one.write()
    await one.keep()
    await cast("Any", redis.hset(key, mapping=cast("Any", older)))
    await redis.hset(f"observations:{{{flag}}}:changed", mapping={f"canary:{int(START.timestamp() // 60)}": 9})
    await other.observed(flag, START)
    await other.keep()
    [item] = await kept(one, dynamo, flag)
    assert item["counts"]["M"]["requests"] == {"N": "2"}  # type: ignore[index]
    assert int(item["expiresAt"]["N"]) > START.timestamp()  # type: ignore[index]
    assert await read_hash(redis, f"observations:{{{flag}}}:changed") == {}
    assert await one.observed(flag, START) == summed(2 * [observation(flag)])


async def test_it_writes_by_itself_and_at_the_end(settings: Settings, dynamo: Dynamo, redis: Redis, flag: str) -> None:
    async with open_redis(settings) as client:
        reader = RedisObservations(client, dynamo)
        async with open_observations(redis, dynamo) as observations:
            observations.record(observation(flag))
            while (await reader.observed(flag, START)).canary.requests == 0:
                await asyncio.sleep(0.05)
            observations.record(observation(flag))
        assert (await reader.observed(flag, START)).canary.requests == 2


async def test_on_a_cluster(settings: Settings, dynamo: Dynamo, flag: str, tmp_path: Path) -> None:
    async with serving_cluster(tmp_path) as nodes:
        on_cluster = {"redis_url": SecretStr(f"redis://127.0.0.1:{nodes[0]}"), "redis_cluster": True}
        async with open_redis(settings.model_copy(update=on_cluster)) as client:
            observations = RedisObservations(client, dynamo)
            made = [observation(flag, arm, after_s=number) for arm in Arm for number in range(0, 300, 20)]
            for each in made:
                observations.record(each)
            await observations.write()
            assert await observations.observed(flag, START) == summed(made)
            await observations.keep()
            assert await observations.observed(flag, START) == summed(made)
