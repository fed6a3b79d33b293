"""A guard for the whole suite: what is lost without a word fails the test that lost it.

Asyncio can only log an error of a task that nobody took, and a task that was dropped while it ran; coroutines that were never awaited and
files or connections that were never closed are warnings, which pytest turns into errors. All of them show when the garbage is
collected, which by itself happens at any time: in the middle of another test, or of something that does not bear it. So it is collected
after each test, and what shows then belongs to that test.
"""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest


class LostErrors(logging.Handler):
    """Keeps what asyncio had to tell and could tell nobody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what was logged; it may come in the middle of anything, so nothing is formatted but the message."""
        self._found.append(record.getMessage())

    def keep(self, context: dict[str, Any]) -> None:
        """Keep what came to a loop that was closed."""
        error, task = context.get("exception"), context.get("task") or context.get("future")
        self._found.append(f"{context.get('message')}: {error!r}\n  {task!r}")

    def fail(self) -> None:
        """Fail, if something was lost since the last time."""
        found, self._found = self._found, []
        if found:
            pytest.fail("\n".join(["Nobody took what asyncio had to tell:", *found]), pytrace=False)


_lost = LostErrors()
logging.getLogger("asyncio").addHandler(_lost)


class ListeningLoop(asyncio.SelectorEventLoop):
    """The loop of async tests. Their runner takes errors that come while the loop runs; those that come afterwards are kept here."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take what a callback or a dropped task has to tell."""
        if self.is_closed():
            _lost.keep(context)
        else:
            super().call_exception_handler(context)


def pytest_collection_finish() -> None:
    """Leave out all that was there before the first test: collecting garbage then takes a few milliseconds instead of a hundred."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_lost() -> Iterator[None]:
    """Collect a test's garbage after all its own fixtures; pytest fails the test for warnings that show here."""
    yield
    gc.collect()
    _lost.fail()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Look once more after the fixtures that several tests share."""
    yield
    if nextitem is None:
        gc.collect()
    _lost.fail()
