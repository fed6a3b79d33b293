"""Tests the check of a database that cannot be written or read."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limits import PROCESS_LIMIT_S
from sqlalchemy import make_url

from hullwatch.domain.storage import StorageFault
from hullwatch.storage.check import StorageCheck, fault_for
from hullwatch.storage.models import Base
from storage.conftest import run_sql
from storage.samples import NOW, add_users, after

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def open_check() -> AsyncIterator[Callable[..., StorageCheck]]:
    """Return a function that opens a check; all are closed after the test."""
    opened: list[StorageCheck] = []

    def open_one(url: str, **options: float) -> StorageCheck:
        opened.append(StorageCheck(url, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


@contextmanager
def locked_by_another_process(file: Path) -> Iterator[None]:
    """Hold the lock of a database file in another process."""
    command = (sys.executable, "-I", "-c", LOCKER, str(file))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield
        process.stdin.close()
        assert process.wait(PROCESS_LIMIT_S) == 0


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file beyond this size, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_check_changes_nothing_that_others_read(store):
    """Its row is not the heartbeat, from which the next start computes the downtime."""
    async with store.begin() as work:
        await work.audit.record_heartbeat(NOW)
        await work.commit()

    assert await store.check(after(1)) is None
    assert await store.check(after(2)) is None

    async with store.begin(read_only=True) as work:
        assert await work.audit.last_heartbeat() == NOW
        assert await work.users.count() == 0


async def test_a_check_waits_for_no_writer_of_its_process_for_long(sqlite_database, open_check):
    """A unit of work that stays open looks like any other lock."""
    store = sqlite_database.open()
    check = open_check(sqlite_database.url, lock_wait_s=0.05)
    async with store.begin():
        assert await check.run(NOW) is StorageFault.LOCKED
    assert await check.run(NOW) is None


async def test_a_lock_of_another_process_is_found(sqlite_database, open_check, tmp_path):
    """Readers are not kept out by it, and a read-only check would not notice."""
    check = open_check(sqlite_database.url, lock_wait_s=0.05)

    with locked_by_another_process(tmp_path / "hullwatch.db"):
        assert await check.run(NOW) is StorageFault.LOCKED
    assert await check.run(NOW) is None


async def test_a_database_that_cannot_grow_is_found(sqlite_database, open_check):
    """The kernel refuses to make the file larger, as on a full disk."""
    check = open_check(sqlite_database.url)
    assert await check.run(NOW) is None

    with largest_file(4096):
        assert await check.run(NOW) is StorageFault.DISK_ERROR
    assert await check.run(NOW) is None


async def test_a_full_disk_is_named(sqlite_database, tmp_path):
    """SQLite's own limit of pages gives the same error as a disk without space."""
    connection = sqlite3.connect(tmp_path / "hullwatch.db")
    connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("CREATE TABLE more AS SELECT randomblob(1000000)")
    connection.close()

    assert fault_for(caught.value) is StorageFault.FULL


async def test_a_database_that_is_read_only_is_found(sqlite_database, open_check, tmp_path):
    """SQLite opens the file without the right to write, for any user."""
    await add_users(sqlite_database.open(), "asha")
    file = tmp_path / "hullwatch.db"

    check = open_check(f"sqlite:///file:{file}?mode=ro&uri=true")

    assert await check.run(NOW) is StorageFault.READ_ONLY


@pytest.mark.parametrize("is_folder_gone", [False, True], ids=["file", "folder"])
async def test_a_missing_file_is_found_and_not_replaced(
    sqlite_database, open_check, tmp_path, is_folder_gone
):
    """Open connections go on writing to the removed file, and all of it would be lost."""
    store = sqlite_database.open()
    await add_users(store, "asha")
    check = open_check(sqlite_database.url)
    assert await check.run(NOW) is None
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    if is_folder_gone:
        tmp_path.rename(moved)
    else:
        (tmp_path / "hullwatch.db").rename(tmp_path / "elsewhere.db")

    assert await check.run(NOW) is StorageFault.MISSING
    assert not (tmp_path / "hullwatch.db").exists()

    if is_folder_gone:
        moved.rename(tmp_path)
        assert await check.run(NOW) is None


async def test_damage_in_any_table_is_found(sqlite_database, open_check, tmp_path):
    """The first page of each table in turn is overwritten with garbage."""
    file, found = tmp_path / "hullwatch.db", {}
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    pages = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    connection.close()
    whole, check = file.read_bytes(), open_check(sqlite_database.url)
    for table in Base.metadata.tables:
        begin = (pages[table] - 1) * size
        file.write_bytes(whole[:begin] + b"\xaa" * size + whole[begin + size :])
        found[table] = await check.run(NOW)
        for path in tmp_path.glob("hullwatch.db-*"):
            path.unlink()
    file.write_bytes(whole)

    assert found == dict.fromkeys(Base.metadata.tables, StorageFault.DAMAGED)
    assert await check.run(NOW) is None


async def test_damage_under_an_open_store_is_found(sqlite_database, open_check, tmp_path):
    """The connections of the store go on with the pages that they have in memory."""
    store = sqlite_database.open()
    await add_users(store, "asha")
    check = open_check(sqlite_database.url)
    assert await check.run(NOW) is None
    file = tmp_path / "hullwatch.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()

    with file.open("r+b") as opened:
        opened.write(b"\xaa" * file.stat().st_size)

    assert await check.run(NOW) is StorageFault.DAMAGED


async def test_a_database_of_another_version_is_found(sqlite_database, open_check, tmp_path):
    """A table is missing, as after an old copy was restored."""
    with sqlite3.connect(tmp_path / "hullwatch.db") as connection:
        connection.execute("DROP TABLE symbol_outages")
    connection.close()

    assert await open_check(sqlite_database.url).run(NOW) is StorageFault.WRONG_SCHEMA


async def test_a_check_that_hangs_is_not_started_again(sqlite_database, open_check, tmp_path):
    """Each attempt on a disk that hangs would occupy another thread; the next check joins the first."""
    check = open_check(sqlite_database.url, limit_s=0.01, lock_wait_s=PROCESS_LIMIT_S)
    with locked_by_another_process(tmp_path / "hullwatch.db"):
        for _ in range(3):
            assert await check.run(NOW) is StorageFault.NO_RESPONSE
        attempts = [task for task in asyncio.all_tasks() if task.get_name() == "storage check"]
        assert len(attempts) == 1
    await asyncio.wait(attempts)

    assert attempts[0].result() is None


async def test_a_server_that_cannot_be_reached_is_found(open_check):
    """Nothing listens at this address."""
    check = open_check("postgresql://user:password@127.0.0.1:1/none")

    assert await check.run(NOW) is StorageFault.NO_RESPONSE


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("fault", "begin", "end"),
    [
        (StorageFault.NO_RESPONSE, "ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        (
            StorageFault.READ_ONLY,
            "SET default_transaction_read_only = on",
            "RESET default_transaction_read_only",
        ),
    ],
)
async def test_faults_of_postgresql_are_found(postgres_url, open_check, fault, begin, end):
    """The server drops its connections, as at a restart, and accepts none or no writes until the fault is over."""
    database = make_url(postgres_url).database
    other = make_url(postgres_url).set(database="template1").render_as_string(hide_password=False)
    drop = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    check = open_check(postgres_url)
    assert await check.run(NOW) is None

    await run_sql(other, f"ALTER DATABASE {database} {begin}", drop)
    try:
        assert await check.run(NOW) is fault
    finally:
        await run_sql(other, f"ALTER DATABASE {database} {end}", drop)
    assert await check.run(NOW) is None
