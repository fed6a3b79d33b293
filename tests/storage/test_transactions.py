"""Units of work: kept or undone as a whole, whatever is cancelled, locked or down."""

import asyncio
import contextlib
import os
import signal as signals
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from hullwatch.domain.failures import InvalidInput, NotFound, StorageUnavailable
from hullwatch.storage.failures import DatabaseFault
from storage.samples import NOW, add_users, connected, notification, signal, user, watch


async def names(store):
    """Return the ids of all users."""
    async with store.begin(read_only=True) as work:
        return [found.id for found in await work.users.list_all()]


async def test_what_is_not_committed_is_undone(store):
    """On leaving quietly and on leaving by an error alike."""
    async with store.begin() as work:
        await work.users.add(user("quiet"), "hash")
    with contextlib.suppress(ZeroDivisionError):
        async with store.begin() as work:
            await work.users.add(user("loud"), "hash")
            raise ZeroDivisionError

    assert await names(store) == []


async def test_what_was_committed_stays_whatever_follows(store):
    """An error after the commit takes nothing back, and what follows the commit needs one of its own."""
    with contextlib.suppress(ZeroDivisionError):
        async with store.begin() as work:
            await work.users.add(user("kept"), "hash")
            await work.commit()
            raise ZeroDivisionError

    assert await names(store) == ["kept"]


async def test_others_see_nothing_before_the_commit(store):
    """A reader neither waits for the writer nor sees half of its work."""
    async with store.begin() as work:
        await work.users.add(user(), "hash")
        assert await asyncio.create_task(names(store)) == []
        await work.commit()

    assert await names(store) == ["asha"]


async def test_many_writers_at_once_all_succeed(store):
    """No writer is refused, and none overwrites another."""

    async def add(number):
        async with store.begin() as work:
            count = await work.users.count()
            await work.users.add(user(f"user{number}"), "hash")
            await work.commit()
        return count

    await asyncio.gather(*(add(number) for number in range(25)))

    assert len(await names(store)) == 25


async def test_a_cancelled_unit_of_work_is_undone_and_lets_others_go_on(store):
    """Wherever the cancellation meets it."""

    async def add_and_wait():
        async with store.begin() as work:
            for number in range(10):
                await work.users.add(user(f"user{number}"), "hash")
            await asyncio.Event().wait()

    for rounds in range(0, 60, 3):
        task = asyncio.create_task(add_and_wait())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await names(store) == []
    await add_users(store, "asha")
    assert await names(store) == ["asha"]


async def test_a_cancelled_commit_has_finished_when_its_caller_goes_on(database):
    """The result no longer changes, and no other writer is blocked."""
    store = database.open()

    async def add(number):
        async with store.begin() as work:
            await work.users.add(user(f"user{number}"), "hash")
            await work.commit()

    expected = set()
    for number in range(25):
        task = asyncio.create_task(add(number))
        await asyncio.sleep(0.0004 * number)  # spreads the cancellations over opening, writing and committing
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        seen = set(await names(store))
        assert expected <= seen <= expected | {f"user{number}"}
        await add_users(store, f"later{number}")
        expected = seen | {f"later{number}"}
        assert set(await names(store)) == expected


async def test_a_second_writing_unit_in_the_same_task_is_a_bug(sqlite_database):
    """The error comes at once, because waiting would never end."""
    store = sqlite_database.open()
    async with store.begin():
        with pytest.raises(RuntimeError):
            async with store.begin():
                pass
        assert await names(store) == []


async def test_a_broken_rule_is_reported_without_its_values(database):
    """Neither the refusal nor anything it was raised from holds what was to be stored."""
    store = database.open()
    await add_users(store, "asha")

    async with store.begin() as work:
        await work.logins.add_browser("secret-cookie-hash", "asha", created_at=NOW, expires_at=NOW)
        with pytest.raises(Exception, match="exists already") as caught:
            await work.logins.add_browser("secret-cookie-hash", "asha", created_at=NOW, expires_at=NOW)

    chain = [caught.value, caught.value.__cause__]
    assert isinstance(chain[1], DatabaseFault)
    assert chain[1].code in ("SQLITE_CONSTRAINT_PRIMARYKEY", "23505")
    assert caught.value.__context__ is chain[1] or caught.value.__context__ is None
    assert chain[1].__cause__ is None
    assert chain[1].__context__ is None
    assert "secret" not in "".join(map(repr, chain)) + "".join(map(str, chain))


@pytest.mark.parametrize("period", [0, -5, 2**40, 2**80])
async def test_a_number_that_cannot_be_stored_is_refused(database, period):
    """By a rule of the table or by its range, on both databases."""
    store = database.open()
    await add_users(store, "asha")
    async with store.begin() as work:
        with pytest.raises(InvalidInput):
            await work.watches.add(watch(period=period))


async def test_a_naive_moment_is_a_bug_and_not_an_outage(store):
    """It is refused loudly before anything is sent."""
    async with store.begin() as work:
        with pytest.raises(TypeError):
            await work.users.add(user(created_at=NOW.replace(tzinfo=None)), "hash")


async def test_a_candle_that_closes_before_it_opens_is_refused(database):
    """The table knows that much."""
    store = database.open()
    await add_users(store, "asha")
    async with store.begin() as work:
        with pytest.raises(InvalidInput):
            await work.watches.add_signals([signal(candle_closed_at=NOW)])


async def test_a_database_that_another_process_holds_is_unavailable(sqlite_database, tmp_path):
    """Only after the lock wait. When the other process releases it, the store writes again."""
    store = sqlite_database.open(lock_wait_s=0.05)
    other = sqlite3.connect(tmp_path / "hullwatch.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageUnavailable) as caught:
        await add_users(store, "asha")
    assert caught.value.__cause__.code == "SQLITE_BUSY"
    assert await names(store) == []

    other.execute("ROLLBACK")
    other.close()
    await add_users(store, "asha")
    assert await names(store) == ["asha"]


async def test_waiting_for_the_write_lock_has_a_limit(sqlite_database):
    """A writer that never leaves does not hold up the others for ever."""
    store = sqlite_database.open(limit_s=0.05)

    await store._write_lock.acquire()

    with pytest.raises(StorageUnavailable):
        await add_users(store, "asha")


async def test_a_statement_has_a_time_limit(sqlite_database):
    """One that takes longer is given up, and the store goes on with a new connection."""
    store = sqlite_database.open(limit_s=0.2)
    endless = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT max(i) FROM n"
    )

    with pytest.raises(StorageUnavailable):
        async with store.begin() as work:
            await work.users._transaction.execute(endless)

    with_usual_limit = sqlite_database.open()
    await add_users(with_usual_limit, "asha")
    assert await names(with_usual_limit) == ["asha"]


@pytest.mark.parametrize(
    "url",
    ["postgresql://user:hidden-password@127.0.0.1:1/none", "sqlite:////proc/no/such/folder/x.db"],
)
async def test_a_database_that_is_not_there_is_unavailable(sqlite_database, url):
    """The error is without its password."""
    store = replace(sqlite_database, url=url).open(limit_s=5)

    with pytest.raises(StorageUnavailable) as caught:
        async with store.begin():
            pass

    assert "hidden" not in repr(caught.value) + repr(caught.value.__cause__)


async def test_a_database_without_tables_is_unavailable(sqlite_database, tmp_path):
    """It was never brought to its form; the sentence speaks of the form."""
    store = replace(sqlite_database, url=f"sqlite:///{tmp_path}/empty.db").open()

    with pytest.raises(StorageUnavailable, match="schema"):
        await names(store)


async def test_a_new_database_file_is_its_owners_alone(sqlite_database, tmp_path):
    """The file, its log and its shared memory, whatever the umask."""
    before = os.umask(0)
    try:
        store = replace(sqlite_database, url=f"sqlite:///{tmp_path}/private/new.db").open()
        async with store.begin():
            modes = [file.stat().st_mode & 0o777 for file in (tmp_path / "private").iterdir()]
    finally:
        os.umask(before)

    assert modes == [0o600] * 3


async def test_acknowledged_work_survives_a_kill(sqlite_database, tmp_path):
    """A process that is killed right after its commit returned has lost nothing."""
    program = textwrap.dedent(
        """
        import asyncio, sys
        from storage.samples import user
        from hullwatch.storage.cipher import Cipher
        from hullwatch.storage.keys import EncryptionKey, FixedKeys
        from hullwatch.storage.store import Store

        async def main():
            store = Store(sys.argv[1], Cipher(FixedKeys([EncryptionKey.make()])))
            for number in range(3):
                async with store.begin() as work:
                    await work.users.add(user(f"user{number}"), "hash")
                    await work.commit()
            async with store.begin() as work:
                await work.users.add(user("unfinished"), "hash")
                print("acknowledged", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    tests = str(Path(__file__).parent.parent)
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
        [sys.executable, "-c", program, sqlite_database.url],
        env={**os.environ, "PYTHONPATH": tests},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout.readline() == b"acknowledged\n"
        os.kill(process.pid, signals.SIGKILL)

    store = sqlite_database.open()
    assert await names(store) == ["user0", "user1", "user2"]
    await add_users(store, "later")
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "hullwatch.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_commits_are_written_through(sqlite_database):
    """Every connection runs with the log, full synchronisation and foreign keys on."""
    store = sqlite_database.open()
    async with store.begin() as work:
        transaction = work.users._transaction
        found = {
            name: (await transaction.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_read_only_unit_of_work_cannot_write(database):
    """The database itself refuses, so that a reader is never mistaken for a writer."""
    store = database.open()
    async with store.begin(read_only=True) as work:
        with pytest.raises(StorageUnavailable):
            await work.users.add(user(), "hash")
    async with store.begin(read_only=True) as work:
        await work.commit()
    await add_users(store, "ravi")

    assert await names(store) == ["ravi"]


async def test_signals_of_many_users_need_few_statements(database):
    """A thousand signals and a thousand advances stay one transaction on both databases."""
    store = database.open()
    await add_users(store, "asha")
    async with store.begin() as work:
        for number in range(100):
            await work.watches.add(watch(f"w{number}", period=2 + number))
        await work.watches.advance({f"w{number}": signal(5).candle_closed_at for number in range(1_000)})
        assert (
            len(await work.watches.add_signals([signal(5, f"w{number}") for number in range(1_000)])) == 1_000
        )
        await work.connections.save(connected())
        await work.notifications.add(notification())
        await work.commit()

    async with store.begin(read_only=True) as work:
        moved = {line.evaluated_through for line in await work.watches.list_all()}
        assert moved == {signal(5).candle_closed_at}


async def test_a_row_of_an_unknown_user_is_not_found(database):
    """A foreign key says which kind of refusal it is."""
    store = database.open()
    async with store.begin() as work:
        with pytest.raises(NotFound):
            await work.watches.add(watch(user_id="nobody"))
