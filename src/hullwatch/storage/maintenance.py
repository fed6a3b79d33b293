"""Copies and checks a database that may be in use: ``hullwatch db backup`` and ``db check``."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.storage.address import read_url
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import DatabaseUnusable, Undecryptable
from hullwatch.storage.opening import opened
from hullwatch.storage.sealed import SEALED_COLUMNS
from hullwatch.storage.upgrade import is_current

_MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check."""

    problems: tuple[str, ...]
    """One sentence each, naming rows but no secrets; at most 100."""
    secrets: int = 0
    """How many stored secrets were decrypted."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


async def backup(url: str, file: Path) -> None:
    """Copy an SQLite database at one moment, while it is in use, to a new file that only its owner may read.

    The copy appears under its name when it is complete and on the disk. It does not include the key file that decrypts its secrets.

    Raises:
        DatabaseUnusable: The file exists, cannot be written, or the database is PostgreSQL, which has its own tool.
    """
    if read_url(url).get_backend_name() == "postgresql":
        raise DatabaseUnusable("Back up PostgreSQL with its own pg_dump, which copies while hullwatch runs.")
    try:
        draft = _make_draft(file)
        try:
            await _copy(url, draft)
            _sync(draft)
            os.link(draft, file)  # unlike a rename, never replaces a file that appeared meanwhile
            _sync(file.parent)
        finally:
            draft.unlink()
    except FileExistsError:
        raise DatabaseUnusable(f"{file} exists already: name a new file.") from None
    except OSError as error:
        raise DatabaseUnusable(f"{file} cannot be written: {error.strerror}.") from None


async def check(url: str, cipher: Cipher) -> CheckReport:
    """Check the file, the schema, the foreign keys and every secret; changes nothing."""
    try:
        if not await is_current(url):
            return CheckReport(
                ("The database does not have the schema of this version: run hullwatch db upgrade.",)
            )
        async with opened(url, read_only=True) as connection:
            problems = await _structure_problems(connection)
            count, unreadable = await _unreadable_secrets(connection, cipher)
    except DatabaseUnusable as problem:
        return CheckReport((str(problem),))
    return CheckReport(tuple([*problems, *unreadable][:_MOST_PROBLEMS]), count)


async def _copy(url: str, draft: Path) -> None:
    async with opened(url, read_only=True) as connection:
        await connection.rollback()
        await connection.execution_options(isolation_level="AUTOCOMMIT")  # VACUUM cannot run in a transaction
        await connection.execute(text("PRAGMA query_only=OFF"))  # SQLite counts the copy as a write
        await connection.execute(text("VACUUM INTO :draft"), {"draft": str(draft)})


def _make_draft(file: Path) -> Path:
    """Create an empty private file beside the final one; a file that SQLite creates is readable by others."""
    if file.exists():
        raise FileExistsError
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return draft


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _structure_problems(connection: AsyncConnection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []  # PostgreSQL has amcheck for its administrator
    lines = await connection.execute(text(f"PRAGMA integrity_check({_MOST_PROBLEMS})"))
    problems = [f"SQLite finds damage: {line}." for (line,) in lines if line != "ok"]
    dangling = await connection.execute(text("PRAGMA foreign_key_check"))
    problems += [
        f"Row {row[1]} of {row[0]} belongs to a row of {row[2]} that does not exist." for row in dangling
    ]
    return problems


async def _unreadable_secrets(connection: AsyncConnection, cipher: Cipher) -> tuple[int, list[str]]:
    count, problems = 0, []
    for column in SEALED_COLUMNS:
        last = ""
        while batch := await column.after(connection, last):
            last = batch[-1].owner
            for secret in batch:
                try:
                    cipher.open(secret.sealed, secret.row_identity)
                    count += 1
                except Undecryptable as problem:
                    problems.append(f"The {column.what} {secret.owner} cannot be read: {problem}.")
    return count, problems
