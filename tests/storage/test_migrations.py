"""Steps of the database's form, with rows in it: nothing is lost on the way up, and the way back leads somewhere."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.opening import opened
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import _config, is_current, upgrade
from storage.conftest import POSTGRES, SQLITE
from storage.samples import NOW, channel, destination, notification

FIRST, NEWEST = "0001", "head"
OLD_KINDS = ("session_ended", "login_renewed", "signal", "broker_trouble", "broker_recovered")


@pytest.fixture(params=[SQLITE, POSTGRES])
async def url(request, tmp_path) -> AsyncIterator[str]:
    """The address of an empty database of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/stepwise.db"
        return
    server = request.getfixturevalue("postgres_server")
    async with opened(server) as connection:
        await connection.rollback()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("DROP DATABASE IF EXISTS stepwise"))
        await connection.execute(text("CREATE DATABASE stepwise"))
    yield server.replace("/postgres?", "/stepwise?")


async def step(url: str, direction, target: str) -> None:
    """Bring a database to a step."""

    def run(connection) -> None:
        config: Config = _config()
        config.attributes["connection"] = connection
        direction(config, target)

    async with opened(url) as connection:
        await connection.run_sync(run)
        await connection.commit()


async def run(url: str, statement: str, **values) -> list:
    """Run a statement; return its rows."""
    async with opened(url) as connection:
        done = await connection.execute(text(statement), values)
        rows = [tuple(row) for row in done] if done.returns_rows else []
        await connection.commit()
    return rows


async def test_a_database_of_the_first_form_keeps_every_row(url):
    """Its notices above all, whose table is made anew on one of the databases; then new kinds fit, and unknown ones do not."""
    await step(url, command.upgrade, FIRST)
    at = NOW.replace(tzinfo=None).isoformat(sep=" ") if url.startswith("sqlite") else NOW
    insert_user = "INSERT INTO users VALUES ('asha', 'a@b.in', 'Asha', 'trader', 'hash', :at)"
    await run(url, insert_user, at=at)
    insert = (
        "INSERT INTO notifications (id, user_id, kind, title, text, created_at, incident_id, read_at)"
        " VALUES (:id, 'asha', :kind, 'Title', 'Text', :at, :incident, NULL)"
    )
    for number, kind in enumerate(OLD_KINDS):
        await run(url, insert, id=f"n{number}", kind=kind, at=at, incident=f"i{number}")
    pending = "INSERT INTO pending_logins VALUES ('hash', 'asha', 'APP', :at, 'nonce', :no)"
    await run(url, pending, at=at, no=False)
    before = await run(url, "SELECT * FROM notifications ORDER BY id")

    await upgrade(url)

    assert await is_current(url)
    assert await run(url, "SELECT * FROM notifications ORDER BY id") == before
    assert await run(url, "SELECT user_id, link_generation FROM pending_logins") == [("asha", None)]
    store = Store(url, Cipher(FixedKeys([EncryptionKey.make()])))
    async with store.begin() as work:
        await work.channels.add(channel(), destination())
        await work.notifications.add(notification("new", incident_id="i9"))
        assert not await work.notifications.add(notification("again", incident_id="i0"))
        await work.commit()
    async with store.begin(read_only=True) as work:
        assert len(await work.notifications.of_user("asha")) == len(OLD_KINDS) + 1
        assert [one.id for one in await work.outbox.of_user("asha")] == ["new.c1"]
    await store.close()
    with pytest.raises(DatabaseUnusable, match=r"(?i)check"):
        await run(url, insert, id="bad", kind="nonsense", at=at, incident="i")


async def test_the_way_back_forgets_only_what_is_new(url):
    """Notices of old kinds stay, and the way up is open again."""
    await upgrade(url)
    store = Store(url, Cipher(FixedKeys([EncryptionKey.make()])))
    at = NOW.replace(tzinfo=None).isoformat(sep=" ") if url.startswith("sqlite") else NOW
    await run(url, "INSERT INTO users VALUES ('asha', 'a@b.in', 'Asha', 'trader', 'hash', :at)", at=at)
    async with store.begin() as work:
        await work.channels.add(channel(), destination())
        await work.notifications.add(notification("old"))
        await work.notifications.add(notification("new", kind="not_ready"))
        await work.commit()
    await store.close()

    await step(url, command.downgrade, FIRST)
    assert await run(url, "SELECT id FROM notifications") == [("old",)]
    with pytest.raises(DatabaseUnusable, match=r"SQLITE_ERROR|42P01"):
        await run(url, "SELECT * FROM channels")

    await step(url, command.upgrade, NEWEST)
    assert await is_current(url)
    assert await run(url, "SELECT id FROM notifications") == [("old",)]
