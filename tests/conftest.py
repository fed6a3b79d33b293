"""What every test shares: the event loop's flavour, where the real market data lie, and that nothing is lost without a word."""

import os
from pathlib import Path

import pytest
from lost_errors import (  # noqa: F401 - most of it is found by pytest
    ListeningLoop,
    _nothing_is_lost,
    pytest_collection_finish,
    pytest_runtest_teardown,
)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run async tests on asyncio, the loop the product runs on."""
    return "asyncio", {"loop_factory": ListeningLoop}


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of real NSE candles, or skip by name: their licence keeps them out of this repository."""
    folder = Path(os.environ.get("HULLWATCH_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
        pytest.skip(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
    return folder
