"""Connections to the database, and the one place that translates drivers' errors."""

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
SQLITE_LOCK_WAIT_S: Final = 5.0
"""How long SQLite waits for another process; below `LIMIT_S`, so that its own error is reported."""
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
"""Errors of the drivers, SQLAlchemy and the network; `TimeoutError` is an `OSError`."""
_NO_RESPONSE = "The database does not answer at the moment. Nothing was changed; please try again."
DAMAGE = "The database file is damaged: restore a copy made with hullwatch db backup."
_UNIQUE = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "23505"})
_BAD_VALUE = ("SQLITE_MISMATCH", "SQLITE_TOOBIG", "22")
_FOREIGN_KEY = frozenset({"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"})
_CAUSES = (
    # No such table or column, and other statements that do not fit the schema.
    (
        ("SQLITE_ERROR", "SQLITE_SCHEMA", "42"),
        "The database does not have the schema of this version: run hullwatch db upgrade.",
    ),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"), DAMAGE),
)
"""The first characters of codes → the sentence for operations that the database cannot do."""


def open_engine(
    url: str,
    *,
    pool_size: int = 5,
    limit_s: float = LIMIT_S,
    lock_wait_s: float = SQLITE_LOCK_WAIT_S,
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
        return _open_sqlite(address, options, lock_wait_s)
    timeouts = {"timeout": limit_s, "command_timeout": limit_s}
    return create_async_engine(address, connect_args=timeouts, pool_pre_ping=pooled, **options)


def _open_sqlite(address: URL, options: dict[str, Any], lock_wait_s: float) -> AsyncEngine:
    # At DEBUG it writes every statement with its parameters, password hashes included.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    engine = create_async_engine(address, connect_args={"timeout": lock_wait_s}, **options)

    @event.listens_for(engine.sync_engine, "do_connect")
    def create_privately(*_: object) -> None:
        """Create the file for its owner only; its log and shared memory inherit the mode."""
        file = sqlite_file(address)
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        """Set the options of a connection. `begin` starts transactions, not the driver."""
        connection.isolation_level = None
        cursor = connection.cursor()
        # FULL: a commit survives a power cut, not only a killed process. It costs one fsync, so a monitoring cycle commits once.
        for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=1000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        """Take the write lock at the start, unless the transaction only reads."""
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
        # IMMEDIATE: a transaction that reads first and writes later fails without waiting if another has written in between.
        connection.exec_driver_sql("BEGIN" if is_read_only else "BEGIN IMMEDIATE")

    return engine


async def answer_of(
    operation: Coroutine[Any, Any, T],
    *,
    limit_s: float = LIMIT_S,
    interrupt: Callable[[], Awaitable[None]] | None = None,
) -> T:
    """Await an operation of the database within the limit, and translate its errors.

    A cancelled caller waits until the operation has finished. Otherwise its connection stays open, and on SQLite a thread keeps the
    write lock.

    Args:
        operation: What to await.
        limit_s: After this many seconds it is interrupted; after the same time again it is abandoned.
        interrupt: How to interrupt it; None to cancel it.

    Raises:
        Refusal: As `refusal_for` translates the error. Only its class and code are kept, because its text can quote rows and
            parameters.
    """
    task = asyncio.ensure_future(operation)
    is_cancelled = await _wait_for(task, limit_s, interrupt)
    if is_cancelled:
        raise asyncio.CancelledError
    if not task.done() or task.cancelled():
        raise StorageUnavailable(_NO_RESPONSE) from DatabaseFault("TimeoutError", None)
    try:
        return task.result()
    except FOREIGN_ERRORS as error:
        refusal, fault = refusal_for(error), fault_of(error)
    # Raised outside the block, so that the driver's error is neither cause nor context.
    raise refusal from fault


async def _wait_for(
    task: asyncio.Future[Any], limit_s: float, interrupt: Callable[[], Awaitable[None]] | None
) -> bool:
    """Wait until the task has finished or is abandoned; return whether the caller was cancelled meanwhile."""
    now = asyncio.get_running_loop().time
    task.add_done_callback(
        lambda ended: ended.cancelled() or ended.exception()
    )  # reads the error of an abandoned task
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
    """Return the safe part of a driver's error."""
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
    """Return what a driver's error means to the caller."""
    if isinstance(error, StatementError) and isinstance(error.orig, Refusal):
        return error.orig  # the column type refused the value before it was sent
    if isinstance(error, IntegrityError):
        return _broken_rule(code_of(driver_error(error)))
    code = code_of(driver_error(error)) or ""
    if isinstance(error, OverflowError) or code.startswith(_BAD_VALUE):
        return InvalidInput("A value is out of the range that can be stored.")
    for codes, sentence in _CAUSES:
        if code.startswith(codes):
            return StorageUnavailable(sentence)
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        if isinstance(error.orig, OverflowError):
            return InvalidInput("A value is out of the range that can be stored.")
        raise TypeError(
            f"a statement was given a value it cannot take: {type(error.orig).__name__}"
        ) from None
    return StorageUnavailable(_NO_RESPONSE)


def _broken_rule(code: str | None) -> Refusal:
    if code in _UNIQUE:
        return AlreadyExists("That exists already.")
    if code in _FOREIGN_KEY:
        return NotFound("What this belongs to no longer exists.")
    return InvalidInput("A value breaks a rule of the database.")
