"""An environment for each journey."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import stamina
import structlog

from hullwatch.runtime.logs import configure_logging

for module in ("broker", "browser", "environment", "served", "trading_day"):
    pytest.register_assert_rewrite(f"journeys.{module}")

from journeys.environment import Environment, open_environment  # noqa: E402 - after the registration above
from journeys.served import Served, open_served  # noqa: E402


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Log errors only: a journey logs thousands of lines."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = tuple(root.handlers), root.level
    configure_logging(level="ERROR")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Repeat calls without pauses."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def start_environment(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Environment]]:
    """Return a function that opens an environment in this test's data folder."""
    return partial(open_environment, tmp_path / "data")


@pytest.fixture
def start_served(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Return a function that starts a simulator and `hullwatch serve` at its time, in this test's folder."""
    return partial(open_served, tmp_path)


@pytest.fixture
async def environment(
    start_environment: Callable[..., AbstractAsyncContextManager[Environment]],
) -> AsyncIterator[Environment]:
    """Return an environment on an ordinary Monday, with the synthetic market."""
    async with start_environment() as opened:
        yield opened
