"""A whole web for each test."""

from collections.abc import AsyncIterator

import pytest
from fakes.clock import FakeClock

from hullwatch.web.config import WebConfig
from web.web_house import WebHouse, make_supervisor


@pytest.fixture
async def house() -> AsyncIterator[WebHouse]:
    """The web over fakes, without accounts."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        yield WebHouse(supervisor, clock, WebConfig(heartbeat_s=30.0))
