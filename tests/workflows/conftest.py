"""A launcher of campaigns for each test."""

from collections.abc import AsyncIterator

import pytest

from adapters.bootstrap import Ports
from adapters.settings import Settings
from tests.local import Simulator
from tests.workflows.launcher import Launcher, launching


@pytest.fixture
async def launcher(ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator) -> AsyncIterator[Launcher]:
    """The product's workers on a time-skipping server of its own."""
    async with launching(ports, settings, onlyfans, ai) as started:
        yield started
