"""What an attempt at asking models knows of those before it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.attempt import Known, running_for_s
from activities.failure import heartbeating
from domain.errors import ProviderError, ProviderFault


@pytest.mark.parametrize(
    ("attempt", "before", "expected_s"),
    [
        (1, Known(attempt=0), 0.0),
        # Killed before it said anything, and after it had.
        (2, Known(attempt=0), 36.0),
        (2, Known(attempt=1), 36.0),
        # Failed in good order.
        (2, Known(attempt=1, running_s=0), 0.0),
        (3, Known(attempt=2, running_s=12.5), 12.5),
        # Killed before its first heartbeat: the last word is that of the attempt before.
        (3, Known(attempt=1, running_s=0), 36.0),
    ],
)
def test_how_long_calls_of_earlier_attempts_may_still_run(attempt: int, before: Known, expected_s: float) -> None:
    usual = ActivityEnvironment.default_info()
    info = replace(
        usual,
        attempt=attempt,
        heartbeat_timeout=timedelta(seconds=8),
        current_attempt_scheduled_time=usual.started_time - timedelta(seconds=2),
    )
    assert running_for_s(info, before, 30) == expected_s


class TestLastWords:
    """Said by an attempt that fails, and by no other."""

    @pytest.fixture
    def said(self) -> list[tuple[object, ...]]:
        return []

    @pytest.fixture
    def environment(self, said: list[tuple[object, ...]]) -> ActivityEnvironment:
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: said.append(details)
        return environment

    async def test_of_a_failure(self, environment: ActivityEnvironment, said: list[tuple[object, ...]]) -> None:
        async def failing() -> None:
            async with heartbeating(lambda: ("so far",), lambda: ("so far", "at rest")):
                raise ProviderError("no", fault=ProviderFault.TRANSIENT)

        with pytest.raises(ProviderError):
            await environment.run(failing)
        assert said == [("so far", "at rest")]

    async def test_not_of_a_cancellation(
        self, environment: ActivityEnvironment, said: list[tuple[object, ...]]
    ) -> None:
        async def cancelled() -> None:
            async with heartbeating(lambda: ("so far",), lambda: ("so far", "at rest")):
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await environment.run(cancelled)
        assert said == []

    async def test_not_of_a_success(self, environment: ActivityEnvironment, said: list[tuple[object, ...]]) -> None:
        async def done() -> None:
            async with heartbeating(lambda: ("so far",), lambda: ("so far", "at rest")):
                pass

        await environment.run(done)
        assert said == []
