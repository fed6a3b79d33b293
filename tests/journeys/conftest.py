"""A town for each story; logging is quiet meanwhile and put back afterwards."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import stamina
import structlog

from hullwatch.runtime.logs import configure_logging

for module in ("broker", "browser", "town", "trading_day"):
    pytest.register_assert_rewrite(f"journeys.{module}")

from journeys.town import Town, open_town  # noqa: E402 - after the line that lets its assertions explain themselves


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Let only errors be written: a story makes thousands of lines."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = tuple(root.handlers), root.level
    configure_logging(level="ERROR")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Let calls be repeated at once: how long the pauses are is no part of any story."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def open_here(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Town]]:
    """Return what opens a town on a data folder of this test's own."""
    return partial(open_town, tmp_path / "data")


@pytest.fixture
async def town(open_here: Callable[..., AbstractAsyncContextManager[Town]]) -> AsyncIterator[Town]:
    """Return a town on an ordinary Monday, with the synthetic market."""
    async with open_here() as opened:
        yield opened
