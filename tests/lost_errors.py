"""A guard for the whole suite: a test that loses an error fails.

Asyncio only logs the error of a task that nobody awaited, and a task that was dropped while it ran. Coroutines
that were never awaited, and files or connections that were never closed, are warnings, which pytest turns into
errors. All of them appear when Python collects garbage, which it may do during a later test. The guard therefore
collects garbage after each test, so that the right test fails.
"""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

MOST_OBJECTS = 20_000
"""The most objects that a collection searches. Imported modules and caches hold half a million."""


class LostErrors(logging.Handler):
    """Collects the errors that asyncio could only log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Add a logged error. Only its message is formatted, because the call can interrupt other code."""
        self._found.append(record.getMessage())

    def add(self, context: dict[str, Any]) -> None:
        """Add an error that reached a closed loop."""
        error, task = context.get("exception"), context.get("task") or context.get("future")
        self._found.append(f"{context.get('message')}: {error!r}\n  {task!r}")

    def fail(self) -> None:
        """Fail the test if errors were lost since the last call."""
        found, self._found = self._found, []
        if found:
            pytest.fail("\n".join(["Errors were lost:", *found]), pytrace=False)


_lost = LostErrors()
logging.getLogger("asyncio").addHandler(_lost)


class GuardedLoop(asyncio.SelectorEventLoop):
    """The loop of async tests. Their runner reports its errors until it is closed, `LostErrors` afterwards."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass on the error of a callback or of a dropped task."""
        if self.is_closed():
            _lost.add(context)
        else:
            super().call_exception_handler(context)


def pytest_collection_finish() -> None:
    """Exclude all objects made before the first test."""
    _exclude_all_objects()


def _exclude_all_objects() -> None:
    """Leave out the present objects. The next collection then takes milliseconds instead of half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_lost() -> Iterator[None]:
    """Collect garbage after all other fixtures of a test. pytest fails the test for warnings that appear here."""
    yield
    gc.collect()
    _lost.fail()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Check again after shared fixtures. After the last test, search the excluded objects too."""
    if nextitem is None:
        gc.unfreeze()
    yield
    if nextitem is None:
        gc.collect()
    elif len(gc.get_objects()) > MOST_OBJECTS:
        _exclude_all_objects()
    _lost.fail()
