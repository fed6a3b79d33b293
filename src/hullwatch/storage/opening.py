"""One connection for maintenance, and the sentence for each reason why a database cannot be used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.storage.engine import (
    DAMAGE,
    FOREIGN_ERRORS,
    READ_ONLY,
    WITHOUT_FOREIGN_KEYS,
    code_of,
    driver_error,
    fault_of,
    open_engine,
)
from hullwatch.storage.failures import DatabaseUnusable

MAINTENANCE_LIMIT_S: Final = 600.0
"""Time limit of one statement; a check of a large database reads all of it."""
MAINTENANCE_LOCK_WAIT_S: Final = 10.0
"""How long to wait for a running server to release an SQLite file."""

_SENTENCES: Final = {
    "SQLITE_NOTADB": "The database file is not a database.",
    "SQLITE_CORRUPT": DAMAGE,
    "SQLITE_BUSY": "The database is locked by another program: stop that program first.",
    "SQLITE_READONLY": "The database file or its folder is read-only.",
    "SQLITE_CANTOPEN": "The database file cannot be opened: check its path and who may read and write it.",
    "SQLITE_PERM": "The database file cannot be opened: check who may read and write it.",
    "SQLITE_FULL": "The disk with the database is full.",
    "SQLITE_IOERR": "The disk with the database reports errors.",
    "28000": "PostgreSQL does not know the user in HULLWATCH_DATABASE_URL.",
    "28P01": "PostgreSQL refuses the password in HULLWATCH_DATABASE_URL.",
    "3D000": "PostgreSQL has no database of the name in HULLWATCH_DATABASE_URL.",
    "42501": "The user in HULLWATCH_DATABASE_URL may not change the database.",
    "53300": "PostgreSQL has no free connection: raise max_connections or stop other programs.",
    "57P03": "PostgreSQL is starting up or shutting down: try again in a moment.",
}


@asynccontextmanager
async def opened(
    url: str,
    *,
    read_only: bool = False,
    foreign_keys: bool = True,
    lock_wait_s: float = MAINTENANCE_LOCK_WAIT_S,
) -> AsyncIterator[AsyncConnection]:
    """Open one connection outside any pool.

    Raises:
        DatabaseUnusable: A database error occurred in the block.
    """
    engine = open_engine(url, pooled=False, limit_s=MAINTENANCE_LIMIT_S, lock_wait_s=lock_wait_s)
    problem = fault = None
    try:
        async with engine.connect() as connection:
            await connection.execution_options(
                **{READ_ONLY: read_only, WITHOUT_FOREIGN_KEYS: not foreign_keys}
            )
            await connection.begin()
            yield connection
    except FOREIGN_ERRORS as error:
        problem, fault = DatabaseUnusable(_sentence(error)), fault_of(error)
    finally:
        await engine.dispose()
    if problem is not None:
        raise problem from fault


def _sentence(error: BaseException) -> str:
    code = code_of(driver_error(error)) or ""
    for known, sentence in _SENTENCES.items():
        if code.startswith(known):  # SQLite's extended names go on: SQLITE_IOERR_READ
            return sentence
    if isinstance(driver_error(error), OSError):
        return "The database cannot be reached: check HULLWATCH_DATABASE_URL, and that the server is running."
    return f"The database cannot be used ({fault_of(error)})."
