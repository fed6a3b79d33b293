"""Reads `DATABASE_URL` into an address for SQLAlchemy's async drivers."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hullwatch.storage.failures import DatabaseUnusable

_SQLITE = frozenset({"sqlite", "sqlite+aiosqlite"})
_POSTGRESQL = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_POSTGRESQL_OPTIONS = frozenset({"host", "port", "ssl"})


def read_url(url: str) -> URL:
    """Return the address with the driver that is used for it.

    ``sqlite:///relative/path``, ``sqlite:////absolute/path`` and ``postgresql://…`` with libpq's ``sslmode`` and ``host``.

    Raises:
        DatabaseUnusable: It is no such address; the sentence does not quote it, because it can hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(
            "HULLWATCH_DATABASE_URL is not an address like sqlite:///file or postgresql://…"
        ) from None
    if parsed.drivername in _SQLITE:
        if not parsed.database or parsed.database == ":memory:":
            raise DatabaseUnusable(
                "HULLWATCH_DATABASE_URL names no SQLite file: write sqlite:///path/to/file."
            )
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.drivername in _POSTGRESQL:
        return _read_postgresql(parsed)
    raise DatabaseUnusable(
        f"HULLWATCH_DATABASE_URL asks for {parsed.drivername}; only sqlite and postgresql are possible."
    )


def _read_postgresql(parsed: URL) -> URL:
    query = dict(parsed.query)
    if "sslmode" in query:  # libpq's name; asyncpg takes the same words under another
        query["ssl"] = query.pop("sslmode")
    unknown = sorted(set(query) - _POSTGRESQL_OPTIONS)
    if unknown:
        raise DatabaseUnusable(f"HULLWATCH_DATABASE_URL has an option that is not known here: {unknown[0]}.")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite address, None for PostgreSQL or SQLite's own ``file:`` form."""
    if url.get_backend_name() != "sqlite" or url.database is None or url.database.startswith("file:"):
        return None
    return Path(url.database)
