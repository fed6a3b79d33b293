"""Connections to the database, and the one seam at which drivers' errors become ours. Queries are in ``repositories/``.

SQLite runs with a write-ahead log and ``synchronous=FULL``: each commit is on the disk before it is acknowledged, so neither a killed
process nor a lost power supply takes it back. (NORMAL would survive the kill, but not the power cut.) It costs one fsync a commit,
which is why a monitoring cycle commits once.

A transaction that may write begins with ``BEGIN IMMEDIATE``: one that reads first and wants to write later would otherwise fail at once,
without waiting, whenever another has written in between.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hullwatch.domain.failures import AlreadyExists, InvalidInput, NotFound, Refusal, StorageUnavailable
from hullwatch.storage.address import read_url, sqlite_file
from hullwatch.storage.failures import DatabaseFault

T = TypeVar("T")

LIMIT_S: Final = 10.0
"""How long one statement, one wait for a connection, or one commit may take."""
SQLITE_PATIENCE_S: Final = 5.0
"""How long SQLite waits for another process's lock before it gives up; below `LIMIT_S`, so that its own answer is heard."""
READ_ONLY: Final = "hullwatch_read_only"
"""Name of the execution option of a connection that only reads."""
WITHOUT_FOREIGN_KEYS: Final = "hullwatch_without_foreign_keys"
"""Name of the execution option of an SQLite connection that changes tables."""

FOREIGN_ERRORS: Final = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
    OverflowError,
)
"""What the drivers, SQLAlchemy and the network raise; `TimeoutError` is an `OSError`."""
_SILENT = "The database does not answer at the moment. Nothing was changed; please try again."
_UNIQUE = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "23505"})
_BAD_VALUE = ("SQLITE_MISMATCH", "SQLITE_TOOBIG", "22")
_WRONG_FORM = ("SQLITE_ERROR", "SQLITE_SCHEMA", "42")
"""No such table or column, and whatever else makes no sense to the database."""
_FOREIGN_KEY = frozenset({"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"})


def open_engine(
    url: str,
    *,
    pool_size: int = 5,
    limit_s: float = LIMIT_S,
    patience_s: float = SQLITE_PATIENCE_S,
    pooled: bool = True,
) -> AsyncEngine:
    """Return an engine for the database; connects only when first used.

    Raises:
        DatabaseUnusable: The address cannot be understood.
    """
    address = read_url(url)
    options: dict[str, Any] = {"hide_parameters": True}
    if pooled:
        options |= {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": limit_s}
    else:
        options["poolclass"] = NullPool
    if address.get_backend_name() == "sqlite":
        return _open_sqlite(address, options, patience_s)
    timeouts = {"timeout": limit_s, "command_timeout": limit_s}
    return create_async_engine(address, connect_args=timeouts, pool_pre_ping=pooled, **options)


def _open_sqlite(address: URL, options: dict[str, Any], patience_s: float) -> AsyncEngine:
    # At DEBUG it writes every statement with its parameters, password hashes included.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    engine = create_async_engine(address, connect_args={"timeout": patience_s}, **options)

    @event.listens_for(engine.sync_engine, "do_connect")
    def create_privately(*_: object) -> None:
        """Create the file for its owner only; its log and shared memory inherit that."""
        file = sqlite_file(address)
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        """Set what SQLite forgets with each connection; transactions are begun below, not by the driver's guess."""
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=1000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        """Take the write lock at the start, unless nothing will be written."""
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return
        is_read_only = bool(connection.get_execution_options().get(READ_ONLY, False))
        if connection.info.get(READ_ONLY, False) != is_read_only:
            connection.info[READ_ONLY] = is_read_only
            connection.exec_driver_sql(f"PRAGMA query_only={is_read_only:d}")
        if connection.get_execution_options().get(WITHOUT_FOREIGN_KEYS, False):
            # A changed table is copied and dropped, and dropping it would delete the rows that refer to it. Inside a transaction
            # SQLite ignores this statement.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN" if is_read_only else "BEGIN IMMEDIATE")

    return engine


async def answer_of(
    operation: Coroutine[Any, Any, T],
    *,
    limit_s: float = LIMIT_S,
    interrupt: Callable[[], Awaitable[None]] | None = None,
) -> T:
    """Await an operation of the database within the limit; the only place where foreign errors are met.

    A cancelled caller waits for the operation to end before the cancellation goes on: one that is torn off leaves a connection behind that
    nobody closes, and on SQLite a thread that still holds the write lock.

    Args:
        operation: What to await.
        limit_s: After so many seconds it is interrupted; after as many again it is given up.
        interrupt: How to interrupt it; None to cancel it.

    Raises:
        Refusal: What `refusal_for` makes of the error, without any trace of it but class and code: the text of a driver's error may quote
            rows and parameters.
    """
    task = asyncio.ensure_future(operation)
    is_cancelled = await _end_of(task, limit_s, interrupt)
    if is_cancelled:
        raise asyncio.CancelledError
    if not task.done() or task.cancelled():
        raise StorageUnavailable(_SILENT) from DatabaseFault("TimeoutError", None)
    try:
        return task.result()
    except FOREIGN_ERRORS as error:
        refusal, fault = refusal_for(error), fault_of(error)
    # Raised out here, so that the foreign error is neither cause nor context.
    raise refusal from fault


async def _end_of(
    task: asyncio.Future[Any], limit_s: float, interrupt: Callable[[], Awaitable[None]] | None
) -> bool:
    """Wait until the task has ended or is given up; return whether the waiting task was cancelled meanwhile."""
    now = asyncio.get_running_loop().time
    task.add_done_callback(
        lambda ended: ended.cancelled() or ended.exception()
    )  # one given up has nobody to tell
    is_cancelled = False
    for is_last in (False, True):
        deadline = now() + limit_s
        while not task.done() and now() < deadline:
            try:
                await asyncio.wait({task}, timeout=deadline - now())
            except asyncio.CancelledError:
                is_cancelled = True
        if task.done() or is_last:
            break
        if interrupt is None:
            task.cancel()
        else:
            await interrupt()
    return is_cancelled


def fault_of(error: BaseException) -> DatabaseFault:
    """Return what may be told of a foreign error."""
    origin = driver_error(error)
    return DatabaseFault(type(origin).__name__, code_of(origin))


def driver_error(error: BaseException) -> BaseException:
    """Return the innermost error that SQLAlchemy wrapped."""
    while isinstance(error, StatementError) and error.orig is not None:
        error = error.orig
    while (
        not hasattr(error, "sqlstate")
        and not hasattr(error, "sqlite_errorname")
        and error.__cause__ is not None
    ):
        error = error.__cause__
    return error


def code_of(error: BaseException) -> str | None:
    """Return SQLite's error name or PostgreSQL's SQLSTATE."""
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return code if isinstance(code, str) else None


def refusal_for(error: BaseException) -> Refusal:
    """Return what a foreign error means to a caller."""
    if isinstance(error, StatementError) and isinstance(error.orig, Refusal):
        return error.orig  # a column refused the value before it was sent
    if isinstance(error, IntegrityError):
        return _broken_rule(code_of(driver_error(error)))
    code = code_of(driver_error(error)) or ""
    if isinstance(error, OverflowError) or code.startswith(_BAD_VALUE):
        return InvalidInput("A value is out of the range that can be stored.")
    if code.startswith(_WRONG_FORM):
        return StorageUnavailable("The database is not in the form this version of hullwatch needs.")
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        if isinstance(error.orig, OverflowError):
            return InvalidInput("A value is out of the range that can be stored.")
        raise TypeError(
            f"a statement was given a value it cannot take: {type(error.orig).__name__}"
        ) from None
    return StorageUnavailable(
        "The database does not answer at the moment. Nothing was changed; please try again."
    )


def _broken_rule(code: str | None) -> Refusal:
    if code in _UNIQUE:
        return AlreadyExists("That exists already.")
    if code in _FOREIGN_KEY:
        return NotFound("What this belongs to no longer exists.")
    return InvalidInput("A value breaks a rule of the database.")
