"""Commands that travel together, against a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from adapters.auto_pipeline import AutoPipeline
from adapters.redis import open_redis
from adapters.settings import Settings
from local.redis import serving


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis that nobody else talks to."""
    async with serving(tmp_path) as port, open_redis(Settings(redis_url=f"redis://127.0.0.1:{port}/0")) as opened:  # type: ignore[arg-type]
        assert isinstance(opened, Redis)
        yield opened


async def reads_of_commands(redis: Redis) -> tuple[int, int]:
    """Commands that the server has run, and the times it has read from a connection."""
    stats = await redis.info("stats")
    return stats["total_commands_processed"], stats["total_reads_processed"]


class TestAutoPipeline:
    async def test_every_caller_gets_the_answer_to_its_own_command(self, redis: Redis) -> None:
        pipeline = AutoPipeline(redis)
        answers = await asyncio.gather(*(pipeline.execute("ECHO", f"word {number}") for number in range(500)))
        assert answers == [f"word {number}" for number in range(500)]

    async def test_what_is_asked_together_travels_together(self, alone: Redis) -> None:
        pipeline = AutoPipeline(alone)
        await asyncio.gather(*(pipeline.execute("PING") for _ in range(100)))
        commands, reads = await reads_of_commands(alone)
        await asyncio.gather(*(pipeline.execute("PING") for _ in range(100)))
        commands_after, reads_after = await reads_of_commands(alone)
        assert commands_after - commands >= 100
        assert reads_after - reads <= 10

    async def test_an_error_is_for_the_caller_who_made_it(self, redis: Redis) -> None:
        pipeline, key = AutoPipeline(redis), f"test:{uuid4()}"
        await redis.set(key, "no number", ex=60)
        commands = [("ECHO", "first"), ("INCR", key), ("ECHO", "second"), ("EVALSHA", "0" * 40, 0), ("ECHO", "third")]
        answers = await asyncio.gather(*(pipeline.execute(*each) for each in commands), return_exceptions=True)
        assert [each for each in answers if isinstance(each, str)] == ["first", "second", "third"]
        assert [type(answers[1]).__name__, type(answers[3]).__name__] == ["ResponseError", "NoScriptError"]

    async def test_who_is_cancelled_in_time_sends_nothing(self, redis: Redis) -> None:
        pipeline, key = AutoPipeline(redis), f"test:{uuid4()}"
        first = asyncio.create_task(pipeline.execute("ECHO", "first"))
        given_up = asyncio.create_task(pipeline.execute("SET", key, "sent", "EX", 60))
        patient = asyncio.create_task(pipeline.execute("ECHO", "patient"))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await first == "first"
        assert await patient == "patient"
        assert given_up.cancelled()
        assert await redis.get(key) is None

    async def test_an_answer_that_nobody_waits_for_any_more_spoils_no_other(self, alone: Redis) -> None:
        pipeline, key = AutoPipeline(alone), f"test:{uuid4()}"
        slow = asyncio.create_task(pipeline.execute("BLPOP", key, 30))
        while not await blocked_clients(alone):
            await asyncio.sleep(0)
        together = [asyncio.create_task(pipeline.execute(*each)) for each in (("BLPOP", key, 30), ("ECHO", "behind"))]
        while await blocked_clients(alone) < 2:
            await asyncio.sleep(0)
        together[0].cancel()
        await alone.rpush(key, "one", "two")
        assert tuple(await slow) == (key, "one")
        assert await together[1] == "behind"

    async def test_without_a_server_everybody_is_told(self, alone: Redis) -> None:
        pipeline = AutoPipeline(alone)
        await alone.shutdown(nosave=True)
        answers = await asyncio.gather(*(pipeline.execute("PING") for _ in range(20)), return_exceptions=True)
        assert {isinstance(each, ConnectionError) for each in answers} == {True}

    async def test_the_loop_can_end_while_commands_are_on_their_way(self, alone: Redis) -> None:
        pipeline, key = AutoPipeline(alone), f"test:{uuid4()}"
        waiting = [asyncio.create_task(pipeline.execute("BLPOP", key, 30)) for _ in range(3)]
        while await blocked_clients(alone) < 2:
            await asyncio.sleep(0)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            if "AutoPipeline" in repr(each.get_coro()):
                each.cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in answers)


async def blocked_clients(redis: Redis) -> int:
    """Connections that wait for a list to have something."""
    return int((await redis.info("clients"))["blocked_clients"])
