"""A task that loses a cancellation ends all the same."""

import asyncio

from adapters.cancellation import end


async def deaf(times: int, lost: list[int]) -> None:
    """Loses so many cancellations, as redis-py does while it connects."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if len(lost) == times:
                raise
            lost.append(len(lost))


async def test_what_loses_a_cancellation_is_cancelled_again() -> None:
    lost: list[int] = []
    tasks = [asyncio.create_task(deaf(2, lost)), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end(tasks)
    assert lost == [0, 1]
    assert all(task.cancelled() for task in tasks)


async def test_what_has_ended_already_is_no_matter() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([done])
    await end([])
    assert not done.cancelled()
