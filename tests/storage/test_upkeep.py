"""Upgrades, copies and checks of databases, and the sentence for each unusable one."""

import asyncio
import contextlib
import shutil
import sqlite3
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from hullwatch.domain.secrets import AccessToken
from hullwatch.storage.address import read_url
from hullwatch.storage.engine import open_engine
from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.maintenance import backup, check
from hullwatch.storage.models import Base
from hullwatch.storage.opening import opened
from hullwatch.storage.upgrade import is_current, upgrade
from storage.conftest import run_apart
from storage.samples import add_users, connected, user


async def test_the_migrations_create_the_tables_of_the_models(database):
    """Tables, columns, indices, unique constraints and foreign keys on both databases."""

    def difference(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)

    async with opened(database.url, read_only=True) as connection:
        assert await connection.run_sync(difference) == []


async def test_the_migrations_create_the_constraints_of_the_models(sqlite_database, tmp_path):
    """CHECK constraints, ON DELETE rules and partial indices, which Alembic does not compare."""

    def rules(connection):
        found = inspect(connection)
        indices = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        )
        return {
            name: (
                sorted((rule["name"], rule["sqltext"]) for rule in found.get_check_constraints(name)),
                sorted(map(str, found.get_foreign_keys(name))),
            )
            for name in Base.metadata.tables
        }, sorted(tuple(index) for index in indices)

    engine = open_engine(f"sqlite:///{tmp_path}/models.db", pooled=False)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        by_models = await connection.run_sync(rules)
    async with opened(sqlite_database.url, read_only=True) as connection:
        by_migrations = await connection.run_sync(rules)

    assert by_migrations == by_models
    tables, indices = by_models
    assert sum(len(checks) for checks, _ in tables.values()) > 10
    assert len(indices) > 10


async def test_an_upgrade_creates_a_database_and_leaves_a_current_one_alone(tmp_path):
    """The second run changes nothing."""
    url = f"sqlite:///{tmp_path}/deep/down/new.db"
    assert not await is_current(url)

    await upgrade(url)
    assert await is_current(url)

    before = (tmp_path / "deep/down/new.db").read_bytes()
    await upgrade(url)
    assert (tmp_path / "deep/down/new.db").read_bytes() == before


async def test_two_servers_that_start_together_upgrade_once(tmp_path):
    """The second one waits for the first."""
    url = f"sqlite:///{tmp_path}/new.db"

    await asyncio.gather(upgrade(url), upgrade(url), upgrade(url))

    assert await is_current(url)


@pytest.mark.postgres
async def test_two_servers_that_start_together_upgrade_postgresql_once(postgres_server):
    """PostgreSQL uses an advisory lock."""
    async with opened(postgres_server) as connection:
        await connection.rollback()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("DROP DATABASE IF EXISTS fresh"))
        await connection.execute(text("CREATE DATABASE fresh"))
    url = postgres_server.replace("/postgres?", "/fresh?")

    await asyncio.gather(upgrade(url), upgrade(url))

    assert await is_current(url)


async def test_a_database_from_a_newer_version_is_refused(database):
    """It is left as it is."""
    async with opened(database.url) as connection:
        newest = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await connection.commit()

    try:
        for call in (upgrade, is_current):
            with pytest.raises(DatabaseUnusable, match="newer version"):
                await call(database.url)
        assert "newer version" in (await check(database.url, database.cipher)).problems[0]
    finally:
        async with opened(database.url) as connection:
            await connection.execute(
                text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest}
            )
            await connection.commit()


def other_programs_database(file):
    """Make a database that is not hullwatch's."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def damaged_database(file):
    """Spoil pages in the middle of the present database."""
    content = bytearray(file.read_bytes())
    content[8192 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 8192)
    content[100:110] = b"\xff" * 10
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.write_text("These are my notes. " * 500), "is not a database"),
        (lambda file: file.write_bytes(file.read_bytes()[:5_000]), "damaged"),
        (damaged_database, "damaged"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be opened"),
        (lambda file: (file.unlink(), other_programs_database(file)), "another program"),
    ],
    ids=["not-a-database", "truncated", "damaged", "folder", "other-program"],
)
async def test_an_unusable_file_is_reported_in_a_sentence(sqlite_database, tmp_path, spoil, sentence):
    """The upgrade and the check report it alike, without the text of the driver's error."""
    spoil(tmp_path / "hullwatch.db")

    with pytest.raises(DatabaseUnusable, match=sentence):
        await upgrade(sqlite_database.url)
    assert not (await check(sqlite_database.url, sqlite_database.cipher)).is_good


async def test_a_locked_or_read_only_file_is_reported_in_a_sentence(sqlite_database, tmp_path):
    """The sentence names the cause, so that its owner can remove it."""
    with contextlib.closing(sqlite3.connect(tmp_path / "hullwatch.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnusable, match="locked"):
            async with opened(sqlite_database.url, lock_wait_s=0.05):
                pass
    with pytest.raises(DatabaseUnusable, match="read-only"):
        async with opened(sqlite_database.url, read_only=True) as connection:
            await connection.execute(text("DELETE FROM users"))


@pytest.mark.parametrize("url", ["postgresql://asha:hidden@127.0.0.1:1/none", "postgresql://h.invalid/none"])
async def test_an_unreachable_server_is_reported_in_a_sentence(url):
    """Neither the error nor its cause holds the password."""
    with pytest.raises(DatabaseUnusable, match="cannot be reached") as caught:
        await upgrade(url)
    assert "hidden" not in repr(caught.value) + repr(caught.value.__cause__)


@pytest.mark.postgres
async def test_an_unknown_postgresql_database_is_reported_in_a_sentence(postgres_server):
    """The server exists, but its database has another name."""
    with pytest.raises(DatabaseUnusable, match="no database of the name"):
        await upgrade(postgres_server.replace("/postgres?", "/elsewhere?"))


@pytest.mark.parametrize(
    ("url", "driver", "query"),
    [
        ("sqlite:///data/x.db", "sqlite+aiosqlite", {}),
        ("sqlite+aiosqlite:////data/x.db", "sqlite+aiosqlite", {}),
        ("postgres://u:p@h/d", "postgresql+asyncpg", {}),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql+asyncpg", {"ssl": "require"}),
        ("postgresql+asyncpg://u@/d?host=/run/pg", "postgresql+asyncpg", {"host": "/run/pg"}),
    ],
)
def test_an_address_gets_its_async_driver(url, driver, query):
    """Whichever of the usual forms it is written in."""
    assert read_url(url).drivername == driver
    assert dict(read_url(url).query) == query


@pytest.mark.parametrize(
    "url",
    ["", "hidden", "sqlite://", "sqlite:///:memory:", "mysql://u:hidden@h/d", "postgresql://u:hidden@h/d?hidden=1",
     "postgresql://u:hidden@h:port/d"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused(url):
    """With a sentence that names the setting and holds no password."""
    with pytest.raises(DatabaseUnusable, match="HULLWATCH_DATABASE_URL") as caught:
        read_url(url)
    assert ":hidden" not in str(caught.value)


async def test_a_copy_is_consistent_while_the_database_is_written(sqlite_database, tmp_path):
    """It holds whole transactions only, belongs to its owner alone, and opens like the original."""
    store = sqlite_database.open()
    is_done, has_begun = False, asyncio.Event()

    async def register_in_pairs():
        number = 0
        while not is_done:
            async with store.begin() as work:
                await work.users.add(user(f"left{number}"), "hash")
                await work.users.add(user(f"right{number}"), "hash")
                await work.connections.save_login(connected(f"left{number}"), AccessToken("token"))
                await work.commit()
            number += 1
            has_begun.set()
            await asyncio.sleep(0)

    writing = asyncio.create_task(register_in_pairs())
    await has_begun.wait()
    file = tmp_path / "copy.db"
    await backup(sqlite_database.url, file)
    is_done = True
    await writing

    assert file.stat().st_mode & 0o777 == 0o600
    copy = replace(sqlite_database, url=f"sqlite:///{file}")
    async with copy.open().begin(read_only=True) as work:
        names = [found.id for found in await work.users.list_all()]
        tokens = await work.connections.tokens()
    assert len(names) >= 2
    assert len(names) == 2 * len(tokens)
    assert (await check(copy.url, copy.cipher)).is_good


async def test_a_copy_never_replaces_a_file(sqlite_database, tmp_path):
    """A refused copy leaves no file behind."""
    (tmp_path / "copies").mkdir()
    file = tmp_path / "copies" / "copy.db"
    file.write_text("precious")

    with pytest.raises(DatabaseUnusable, match="exists already"):
        await backup(sqlite_database.url, file)
    with pytest.raises(DatabaseUnusable, match="cannot be written"):
        await backup(sqlite_database.url, tmp_path / "nowhere" / "copy.db")
    (tmp_path / "hullwatch.db").write_text("These are my notes. " * 500)
    with pytest.raises(DatabaseUnusable, match="not a database"):
        await backup(sqlite_database.url, tmp_path / "copies" / "other.db")

    assert file.read_text() == "precious"
    assert [found.name for found in (tmp_path / "copies").iterdir()] == ["copy.db"]


async def test_postgresql_is_copied_by_its_own_tool(tmp_path):
    """The sentence names it."""
    with pytest.raises(DatabaseUnusable, match="pg_dump"):
        await backup("postgresql://h/d", tmp_path / "copy.db")


async def test_a_sound_database_passes_its_check(database):
    """With the number of secrets that were opened."""
    store = database.open()
    await store.check_keys()
    await add_users(store, "asha")
    async with store.begin() as work:
        await work.connections.save_login(connected(), AccessToken("token"))
        await work.commit()

    report = await check(database.url, database.cipher)

    assert report.is_good
    assert report.problems == ()
    assert report.secrets == 2


async def test_an_empty_database_fails_its_check(tmp_path, sqlite_database):
    """It has to be upgraded first."""
    report = await check(f"sqlite:///{tmp_path}/empty.db", sqlite_database.cipher)

    assert report.problems == (
        "The database does not have the schema of this version: run hullwatch db upgrade.",
    )


async def test_a_row_without_its_owner_fails_the_check(sqlite_database, tmp_path):
    """The sentence names table and row."""
    with contextlib.closing(sqlite3.connect(tmp_path / "hullwatch.db")) as other:
        other.execute("INSERT INTO monitoring_wishes VALUES ('ghost', 1, '2026-11-23 04:00:00.000000')")
        other.commit()

    report = await check(sqlite_database.url, sqlite_database.cipher)

    assert report.problems == ("Row 1 of monitoring_wishes belongs to a row of users that does not exist.",)


async def test_a_damaged_index_fails_the_check(sqlite_database, tmp_path):
    """The file itself still opens."""
    store = sqlite_database.open()
    await add_users(store, *(f"user{number}" for number in range(50)))
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "hullwatch.db")) as other:
        other.execute("PRAGMA writable_schema=ON")
        other.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_users_1')"
            " WHERE name = 'sqlite_autoindex_users_2'"
        )
        other.commit()

    report = await check(sqlite_database.url, sqlite_database.cipher)

    assert not report.is_good


def test_a_moved_database_opens_where_it_is(sqlite_template, tmp_path):
    """The file does not contain its own path."""
    shutil.copy(sqlite_template, tmp_path / "moved.db")

    assert run_apart(is_current(f"sqlite:///{tmp_path}/moved.db"))
