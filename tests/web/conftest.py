"""A web application for each test."""

from collections.abc import AsyncIterator

import pytest
from fakes.clock import FakeClock

from hullwatch.web.config import WebConfig
from web.web_environment import WebEnvironment, make_supervisor


@pytest.fixture
async def env() -> AsyncIterator[WebEnvironment]:
    """The web application over fakes, without accounts."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        yield WebEnvironment(supervisor, clock, WebConfig(heartbeat_s=30.0))
