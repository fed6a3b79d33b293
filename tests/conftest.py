"""What every test shares: the event loop's flavour, where the real market data lie, and that no task's error is lost."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


class LostErrors(logging.Handler):
    """Keeps what asyncio can only log: tasks whose error nobody took, tasks that were dropped while they ran."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; it may come in the middle of anything, so nothing is formatted but the message."""
        self._found.append(record.getMessage())

    def take(self) -> list[str]:
        """Return what was found since the last time."""
        found, self._found = self._found, []
        return found


_lost_errors = LostErrors()
logging.getLogger("asyncio").addHandler(_lost_errors)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail where an error was lost. It is found when the garbage is collected, so a test shortly before may be the one to blame."""
    yield
    if lost := _lost_errors.take():
        pytest.fail(
            "asyncio had to tell of what nobody took, in this test or one before it:\n" + "\n".join(lost)
        )


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop the product runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of real NSE candles, or skip by name: their licence keeps them out of this repository."""
    folder = Path(os.environ.get("HULLWATCH_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
        pytest.skip(f"real market data missing at {folder}: set HULLWATCH_TEST_DATA")
    return folder
