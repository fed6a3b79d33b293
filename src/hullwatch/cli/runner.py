"""Runs commands: an event loop, an open application, and one sentence for each explained failure."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hullwatch.cli.output import CommandFailed, os_sentence

if TYPE_CHECKING:
    from hullwatch.app import Application

T = TypeVar("T")

JOBS_END_WITHIN_S = 2.0
"""For background work that a command started, such as a verification that Fyers does not answer."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end; Ctrl-C cancels it and raises `KeyboardInterrupt`."""
    return asyncio.run(work)


@asynccontextmanager
async def application_for_command() -> AsyncIterator["Application"]:
    """Open the application for one command: no jobs, nothing read into memory, only errors logged.

    Raises:
        SettingsRefused, DatabaseUnusable, KeysUnusable: It cannot be opened; the text gives the reason.
    """
    from hullwatch.app import open_application
    from hullwatch.runtime.logs import configure_logging
    from hullwatch.settings import read_settings

    configure_logging(level="ERROR")
    settings = read_settings()
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(stack.enter_async_context(open_application(settings)))
        try:
            application = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread of the database driver needs the event loop until the database is open and closed again.
            await asyncio.wait({opening})
            raise
        stack.push_async_callback(application.services.supervisor.stop, JOBS_END_WITHIN_S)
        yield application


def explained_failures() -> tuple[type[Exception], ...]:
    """Return the failures that a user, a database or Fyers can cause."""
    # Imported only after a failure: these packages would double the time of --help.
    from hullwatch.domain.failures import Refusal
    from hullwatch.settings import SettingsRefused
    from hullwatch.simulator.config import UnusableConfig
    from hullwatch.storage.failures import StorageProblem

    return (CommandFailed, Refusal, SettingsRefused, StorageProblem, UnusableConfig, OSError)


def sentence_of(failure: Exception) -> str:
    """Return the one sentence for an explained failure."""
    return os_sentence(failure) if isinstance(failure, OSError) else str(failure)
