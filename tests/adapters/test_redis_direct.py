"""Commands past the client's pool: the same answers, errors and promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import MaxConnectionsError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from adapters.redis_direct import DirectRedis
from local.redis import serving
from tests.api.outage import line_to


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with serving(tmp_path) as chosen:
        yield chosen


def client(port: int, timeout_s: float = 5) -> DirectRedis:
    url = f"redis://127.0.0.1:{port}/0"
    return cast("DirectRedis", DirectRedis.from_url(url, socket_timeout=timeout_s, decode_responses=True))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("SET", "a", 1), "OK"),
        (("INCRBY", "b", 5), 5),
        (("GET", "nothing"), None),
        (("EVAL", "return {1, ARGV[1], {false, '3'}}", 0, b"x"), [1, "x", [None, "3"]]),
    ],
)
async def test_it_answers_what_redis_says(port: int, command: tuple[str | int | bytes, ...], answer: object) -> None:
    async with client(port) as redis:
        assert await redis.direct(*command) == answer


async def test_an_error_is_the_commands_and_harms_no_other(port: int) -> None:
    async with client(port) as redis:
        with pytest.raises(ResponseError, match="unknown command"):
            await redis.direct("NOTHING")
        assert await redis.direct("ECHO", "a") == "a"
        assert await connections(redis) == 1


async def test_several_in_one_write_get_an_answer_or_an_error_each(port: int) -> None:
    async with client(port) as redis:
        first, second, third = await redis.direct_each(("ECHO", "a"), ("NOTHING",), ("ECHO", "b"))
        assert (first, third) == ("a", "b")
        assert isinstance(second, ResponseError)
        assert await redis.direct("ECHO", "c") == "c"
        assert await connections(redis) == 1


async def test_several_are_repeated_over_a_new_line(port: int) -> None:
    async with line_to(f"redis://127.0.0.1:{port}") as line, client(line.port) as redis:
        await redis.direct("PING")
        await line.cut()
        await line.up()
        assert await redis.direct_each(("ECHO", "a"), ("ECHO", "b")) == ["a", "b"]


async def test_many_at_once_get_their_own_answers_and_their_connections_are_used_again(port: int) -> None:
    async with client(port) as redis:
        for _ in range(3):
            asked = [str(number) for number in range(20)]
            assert await asyncio.gather(*(redis.direct("ECHO", each) for each in asked)) == asked
        assert await connections(redis) == 20


async def test_nobody_gets_the_answer_that_somebody_else_did_not_wait_for(port: int) -> None:
    async with client(port) as redis:
        waiting = asyncio.create_task(redis.direct("BLPOP", "never", 0))
        while not any(other["cmd"] == "blpop" for other in await redis.client_list()):
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await redis.rpush("never", "late")
        assert await redis.direct("ECHO", "mine") == "mine"


async def test_after_a_restart_every_connection_is_made_anew(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        redis = client(port)
        await asyncio.gather(*(redis.direct("ECHO", each) for each in "abc"))
    with pytest.raises(NoConnection):
        await redis.direct("PING")
    async with serving(tmp_path, port=port), redis:
        assert await asyncio.gather(*(redis.direct("ECHO", each) for each in "abcdef")) == list("abcdef")


async def test_a_line_that_breaks_while_it_waits_is_repeated_once_over_a_new_one(port: int) -> None:
    async with line_to(f"redis://127.0.0.1:{port}") as line, client(line.port) as redis:
        await redis.direct("PING")
        await line.cut()
        await line.up()
        assert await redis.direct("ECHO", "again") == "again"
        await line.cut()
        with pytest.raises(NoConnection):
            await redis.direct("PING")


async def test_silence_is_an_error_after_the_clients_time_out(port: int) -> None:
    async with client(port, timeout_s=0.1) as redis, client(port) as other:
        with pytest.raises(TooLate):
            await redis.direct("BLPOP", "never", 0)
        await other.rpush("never", "late")
        assert await redis.direct("ECHO", "mine") == "mine"


async def test_no_more_connections_are_opened_than_the_client_may_have(port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    async with cast("DirectRedis", DirectRedis.from_url(url, max_connections=2)) as redis, client(port) as other:
        waiting = [asyncio.create_task(redis.direct("BLPOP", "never", 0)) for _ in range(2)]
        while await connections(other) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(MaxConnectionsError):
            await redis.direct("PING")
        await other.rpush("never", "one", "two")
        assert len(await asyncio.gather(*waiting)) == 2
        assert await redis.direct("PING")


async def test_closing_the_client_closes_them(port: int) -> None:
    async with client(port) as other:
        async with client(port) as redis:
            await asyncio.gather(*(redis.direct("ECHO", each) for each in "abc"))
        while await connections(other) > 0:
            await asyncio.sleep(0.01)


async def connections(redis: DirectRedis) -> int:
    """How many others the server has than the one that asks."""
    return len(await redis.client_list()) - 1
