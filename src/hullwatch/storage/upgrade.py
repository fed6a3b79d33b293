"""Migrates a database to the schema of this version."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Connection, func, inspect, literal, select, text

from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.opening import opened
from hullwatch.storage.transaction import UPGRADE_LOCK

UPGRADE_LOCK_WAIT_S: Final = 120.0
"""How long a server waits while another one upgrades the same SQLite file: several may start together."""
_TOO_OLD: Final = frozenset({"0001"})
"""Revisions from which 0.1.0 can upgrade and this version cannot."""


async def upgrade(url: str, *, if_empty: str | None = None) -> None:
    """Run all pending migrations in one transaction, creating the database if needed.

    Args:
        url: The database.
        if_empty: The sentence that refuses an empty database; without one it is created.

    Raises:
        DatabaseUnusable: It cannot be opened, is damaged, is not hullwatch's, comes from a newer version, or is refused.
    """
    async with opened(url, foreign_keys=False, lock_wait_s=UPGRADE_LOCK_WAIT_S) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(UPGRADE_LOCK, BigInteger))))
        await connection.run_sync(_run_migrations, if_empty)
        await connection.commit()


async def is_current(url: str) -> bool:
    """Return whether the database has the schema of this version; False also for an empty one.

    Raises:
        DatabaseUnusable: As for `upgrade`.
    """
    async with opened(url, read_only=True) as connection:
        return await connection.run_sync(_present_revision) == _newest_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _newest_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _present_revision(connection: Connection) -> str | None:
    """Return the migration the database is at, None when it is empty."""
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None:
        if inspect(connection).get_table_names():
            raise DatabaseUnusable(
                "The database belongs to another program: give hullwatch a database of its own."
            )
        return None
    if present in _TOO_OLD:
        raise DatabaseUnusable(
            "The database comes from a hullwatch before 0.1.0: run hullwatch db upgrade with version 0.1.0 first, then this version."
        )
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present not in known:
        raise DatabaseUnusable("The database comes from a newer version of hullwatch: install that version.")
    return present


def _run_migrations(connection: Connection, if_empty: str | None) -> None:
    present = _present_revision(connection)
    if present == _newest_revision():
        return
    if present is None and if_empty is not None:
        raise DatabaseUnusable(if_empty)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.execute(text("PRAGMA foreign_key_check")).first():
        raise DatabaseUnusable("The database is damaged: rows refer to others that do not exist.")
