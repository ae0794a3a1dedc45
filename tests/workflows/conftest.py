"""A launcher of campaigns for each test."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from adapters.bootstrap import Ports
from adapters.settings import Settings
from tests.local import Simulator
from tests.workflows.launcher import Launcher, launching


@pytest.fixture
async def launcher(ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator) -> AsyncIterator[Launcher]:
    """The product's workers on a time-skipping server of its own."""
    async with launching(ports, settings, onlyfans, ai) as started:
        yield started


@pytest.fixture
def live(
    temporal: Client, worker: None, ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator
) -> Launcher:
    """The same on the real server, where time does not skip.

    For cancellations: the time-skipping server refuses to cancel an activity that completes at that moment.
    """
    return Launcher(WorkflowEnvironment.from_client(temporal), ports, settings, onlyfans, ai)
