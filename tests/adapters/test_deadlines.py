"""One timer for many time-outs: each call ends as ``asyncio.timeout`` would end it."""

import asyncio

import pytest

from adapters.deadlines import Deadlines


async def waiting(deadlines: Deadlines, event: asyncio.Event) -> str:
    with deadlines.begin():
        await event.wait()
    return "in time"


async def test_what_ends_in_time_is_left_alone() -> None:
    deadlines, event = Deadlines(60), asyncio.Event()
    event.set()
    assert await waiting(deadlines, event) == "in time"


async def test_each_call_is_ended_when_its_own_time_is_over() -> None:
    deadlines, never, event = Deadlines(0.05), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    began, ended = [], []

    async def call() -> None:
        began.append(loop.time())
        try:
            await waiting(deadlines, never)
        except TimeoutError:
            ended.append(loop.time())
            event.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        await asyncio.sleep(0.02)
        group.create_task(call())
        group.create_task(waiting(deadlines, event))
        group.create_task(call())
    assert len(ended) == 3
    assert all(end - begin >= 0.05 for begin, end in zip(began, ended, strict=True))


async def test_a_call_that_begins_after_a_quiet_time_has_its_whole_time() -> None:
    deadlines, never = Deadlines(0.05), asyncio.Event()
    loop = asyncio.get_running_loop()
    for _ in range(3):
        began = loop.time()
        with pytest.raises(TimeoutError):
            await waiting(deadlines, never)
        assert loop.time() - began >= 0.05


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    deadlines, never = Deadlines(60), asyncio.Event()
    task = asyncio.create_task(waiting(deadlines, never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_in_the_same_moment_as_the_deadline_is_not_lost() -> None:
    deadlines, never = Deadlines(0.01), asyncio.Event()
    task = asyncio.create_task(waiting(deadlines, never))
    await asyncio.sleep(0)
    # Later than the deadline's own timer, and before the task runs again.
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    busy_until = asyncio.get_running_loop().time() + 0.03
    while asyncio.get_running_loop().time() < busy_until:
        pass
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_task_goes_on_after_a_deadline_of_its_own() -> None:
    deadlines, never, event = Deadlines(0.01), asyncio.Event(), asyncio.Event()
    event.set()
    with pytest.raises(TimeoutError):
        await waiting(deadlines, never)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await waiting(deadlines, event) == "in time"


async def test_without_a_time_nothing_is_ended() -> None:
    deadlines, event = Deadlines(None), asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, event.set)
    assert await waiting(deadlines, event) == "in time"
