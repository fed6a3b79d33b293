"""Bringing a database to the form this version needs, and saying in one sentence why one cannot be used. Steps are in ``migrations/``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Connection, func, inspect, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.storage.engine import FOREIGN_ERRORS, READ_ONLY, code_of, driver_error, fault_of, open_engine
from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.transaction import UPGRADE_LOCK

_SENTENCES: Final = {
    "SQLITE_NOTADB": "The database file is not a database.",
    "SQLITE_CORRUPT": "The database file is damaged: restore a copy made with hullwatch db backup.",
    "SQLITE_BUSY": "The database is locked by another program: end that first.",
    "SQLITE_READONLY": "The database file or its folder is read-only.",
    "SQLITE_CANTOPEN": "The database file cannot be opened: check its path and who may read and write it.",
    "SQLITE_PERM": "The database file cannot be opened: check who may read and write it.",
    "SQLITE_FULL": "The disk with the database is full.",
    "SQLITE_IOERR": "The disk with the database reports errors.",
    "28000": "PostgreSQL does not know the user in HULLWATCH_DATABASE_URL.",
    "28P01": "PostgreSQL refuses the password in HULLWATCH_DATABASE_URL.",
    "3D000": "PostgreSQL has no database of the name in HULLWATCH_DATABASE_URL.",
    "42501": "The user in HULLWATCH_DATABASE_URL may not change the database.",
    "53300": "PostgreSQL has no connection to spare.",
    "57P03": "PostgreSQL is starting up or shutting down: try again in a moment.",
}


async def upgrade(url: str) -> None:
    """Bring the database to the newest form, creating it if needed: all pending steps in one transaction, or none.

    Raises:
        DatabaseUnusable: It cannot be opened, is damaged, is not hullwatch's, or comes from a newer version.
    """
    async with opened(url) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(UPGRADE_LOCK, BigInteger))))
        await connection.run_sync(_run_steps)
        await connection.commit()


async def is_current(url: str) -> bool:
    """Return whether the database has the form this version needs; False also for an empty one.

    Raises:
        DatabaseUnusable: As for `upgrade`.
    """
    async with opened(url, read_only=True) as connection:
        return await connection.run_sync(_present_step) == _newest_step()


@asynccontextmanager
async def opened(url: str, *, read_only: bool = False) -> AsyncIterator[AsyncConnection]:
    """Open one connection outside any pool; whatever goes wrong in the block is said as `DatabaseUnusable`."""
    engine = open_engine(url, pooled=False)
    problem = fault = None
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**{READ_ONLY: True} if read_only else {})
            await connection.begin()
            yield connection
    except FOREIGN_ERRORS as error:
        problem, fault = DatabaseUnusable(_sentence(error)), fault_of(error)
    finally:
        await engine.dispose()
    if problem is not None:
        raise problem from fault


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _newest_step() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _present_step(connection: Connection) -> str | None:
    """Return the step the database is at, None when it is empty."""
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None:
        if inspect(connection).get_table_names():
            raise DatabaseUnusable("The database holds something else: hullwatch needs one of its own.")
        return None
    known = {step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present not in known:
        raise DatabaseUnusable("The database comes from a newer version of hullwatch: install that version.")
    return present


def _run_steps(connection: Connection) -> None:
    if _present_step(connection) == _newest_step():
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.execute(text("PRAGMA foreign_key_check")).first():
        raise DatabaseUnusable("The database is damaged: rows refer to others that do not exist.")


def _sentence(error: BaseException) -> str:
    code = code_of(driver_error(error)) or ""
    for known, sentence in _SENTENCES.items():
        if code.startswith(known):  # SQLite's extended names go on: SQLITE_IOERR_READ
            return sentence
    if isinstance(driver_error(error), OSError):
        return "The database cannot be reached: check HULLWATCH_DATABASE_URL, and that the server is running."
    return f"The database cannot be used ({fault_of(error)})."
