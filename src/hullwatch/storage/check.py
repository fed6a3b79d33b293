"""Checks that the database can be written and read."""

import asyncio
from datetime import datetime
from typing import Final

from sqlalchemy import Select, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.domain.storage import StorageFault
from hullwatch.storage.address import read_url, sqlite_file
from hullwatch.storage.engine import FOREIGN_ERRORS, code_of, driver_error, open_engine
from hullwatch.storage.models import Base, HeartbeatRow
from hullwatch.storage.rows import table_of

CHECK_LIMIT_S: Final = 3.0
_LOCK_WAIT_S: Final = 2.0
"""Below the limit, so that a lock is reported as one."""
_NAME: Final = "storage check"

_FAULTS: Final = (
    (("SQLITE_BUSY", "SQLITE_LOCKED", "55P03"), StorageFault.LOCKED),
    (("SQLITE_FULL", "53100"), StorageFault.FULL),
    (("SQLITE_READONLY", "SQLITE_PERM", "25006", "42501"), StorageFault.READ_ONLY),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"), StorageFault.DAMAGED),
    (("SQLITE_CANTOPEN", "3D000"), StorageFault.MISSING),
    (("SQLITE_IOERR", "58030"), StorageFault.DISK_ERROR),
    (("SQLITE_ERROR", "SQLITE_SCHEMA", "42"), StorageFault.WRONG_SCHEMA),
)
"""The first characters of codes → fault; every other error means that the database does not respond."""

# All columns: SQLite reads a single one from an index, which does not touch the table.
_READS: Final[tuple[Select[tuple[object]], ...]] = tuple(
    select(literal_column("*")).select_from(table).limit(1) for table in Base.metadata.sorted_tables
)


class StorageCheck:
    """Writes a row and reads one of each table, through a connection of its own.

    SQLite's is a new one for each check: an open one can answer from its memory when the file is damaged or gone.
    """

    def __init__(
        self, url: str, *, limit_s: float = CHECK_LIMIT_S, lock_wait_s: float = _LOCK_WAIT_S
    ) -> None:
        address = read_url(url)
        self._file = sqlite_file(address)
        self._is_postgresql = address.get_backend_name() == "postgresql"
        self._limit_s = limit_s
        self._engine = open_engine(
            url, pool_size=1, limit_s=limit_s, lock_wait_s=lock_wait_s, pooled=self._is_postgresql
        )
        self._attempt: asyncio.Task[StorageFault | None] | None = None

    async def run(self, now: datetime) -> StorageFault | None:
        """Return why the database cannot be written and read, or `None` if it can."""
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._write_and_read(now), name=_NAME)
        # An attempt that hangs is never cancelled and never doubled: each would occupy a thread for as long as the disk hangs.
        await asyncio.wait({self._attempt}, timeout=self._limit_s)
        return self._attempt.result() if self._attempt.done() else StorageFault.NO_RESPONSE

    async def close(self) -> None:
        """Close the connection."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait({self._attempt}, timeout=self._limit_s)
        await self._engine.dispose()

    async def _write_and_read(self, now: datetime) -> StorageFault | None:
        # Connecting would create an empty file in the place of the lost one.
        if self._file is not None and not self._file.exists():
            return StorageFault.MISSING
        try:
            async with self._engine.begin() as connection:
                await self._write(connection, now)
                for query in _READS:
                    (await connection.execute(query)).first()
        except FOREIGN_ERRORS as error:
            return fault_for(error)
        return None

    async def _write(self, connection: AsyncConnection, now: datetime) -> None:
        dialect = postgresql if self._is_postgresql else sqlite
        table = table_of(HeartbeatRow)
        insert = dialect.insert(table).values(name=_NAME, at=now)
        await connection.execute(
            insert.on_conflict_do_update(index_elements=[table.c.name], set_={"at": now})
        )


def fault_for(error: BaseException) -> StorageFault:
    """Return what a driver's error means for the database as a whole."""
    code = code_of(driver_error(error)) or ""
    for beginnings, fault in _FAULTS:
        if code.startswith(beginnings):
            return fault
    return StorageFault.NO_RESPONSE
