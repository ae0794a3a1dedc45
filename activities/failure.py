"""The one translator from our errors to Temporal's, and heartbeats for activities that call out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.errors import HuntazeError, ProviderError

LONGEST_PROVIDER_WAIT_S = 60.0
"""Whoever asks models comes back after this at the latest, as without a word of when: another provider may be back
before the one that answered last, and patience, deadlines and general texts are looked at by the next attempt."""

P = ParamSpec("P")
R = TypeVar("R")


def application_error(error: HuntazeError, *details: object) -> ApplicationError:
    """Our error as Temporal sees it: the class as its type, retryable or not, and when to come back.

    ``details`` are for the workflow, and stay in its history.
    """
    retry_after = error.retry_after_s
    if retry_after is not None and isinstance(error, ProviderError):
        retry_after = min(retry_after, LONGEST_PROVIDER_WAIT_S)
    return ApplicationError(
        error.message,
        *details,
        type=error.error_type,
        non_retryable=not error.retryable,
        next_retry_delay=None if retry_after is None else timedelta(seconds=retry_after),
    )


def translated(
    method: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Every ``HuntazeError`` of an activity leaves it as an ``ApplicationError``."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except HuntazeError as error:
            # Without its cause: a provider's own words may quote a name, and what leaves stays in a history.
            raise application_error(error) from None

    return wrapper


@asynccontextmanager
async def heartbeating(
    details: Callable[[], Sequence[object]] = tuple, failed: Callable[[], Sequence[object]] | None = None
) -> AsyncIterator[None]:
    """Heartbeat in the background, so that a slow call is not mistaken for a dead worker.

    ``details``: what a later attempt should know; read at each beat. ``failed``: what it should know of one that fails,
    and not of one whose process ends.
    """
    timeout = activity.info().heartbeat_timeout or timedelta(seconds=30)

    async def beat() -> None:
        # A beat is a billed action: what is over in a moment needs none.
        while True:
            await asyncio.sleep(timeout.total_seconds() / 4)
            activity.heartbeat(*details())

    task = asyncio.create_task(beat())
    try:
        yield
    except Exception:
        if failed is not None:
            activity.heartbeat(*failed())
        raise
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
