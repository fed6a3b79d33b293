import pytest

from services.environment import ALICE, BOB, Environment
from services.monitoring.monitoring_environment import environment


@pytest.fixture
async def env() -> Environment:
    """Alice and Bob have sessions at 09:45 on a Monday, and Fyers serves two symbols."""
    return await environment().with_sessions(ALICE, BOB)
