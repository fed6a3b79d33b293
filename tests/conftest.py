"""The event loop, time limits and real market data for all tests, and the guard against lost errors."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from lost_errors import (  # noqa: F401 - pytest finds the hooks and the fixture by name
    GuardedLoop,
    _nothing_is_lost,
    pytest_collection_finish,
    pytest_runtest_teardown,
)

REPOSITORY = Path(__file__).resolve().parent.parent

# The time limits of Hypothesis would fail tests on a busy machine.
settings.register_profile(
    "unlimited", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unlimited")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run async tests on asyncio, the loop the product runs on."""
    return "asyncio", {"loop_factory": GuardedLoop}


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of real NSE candles, whose licence keeps them out of this repository, or skip the test."""
    folder = Path(os.environ.get("HULLWATCH_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
        pytest.skip(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
    return folder
