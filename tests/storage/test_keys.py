"""Where encryption keys come from, and how they change under a running server without losing a secret."""

import asyncio
import contextlib
import fcntl
import os
import threading

import pytest
from sqlalchemy import text

from hullwatch.domain.renewal.rules import RenewalKeys
from hullwatch.domain.secrets import AccessToken, AppSecret, Pin, RefreshToken, SecretText
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import KeysUnusable
from hullwatch.storage.keys import EncryptionKey, FixedKeys, KeyFile, load_keys
from hullwatch.storage.maintenance import check
from hullwatch.storage.rotation import rotate
from storage.samples import NOW, add_users, connected

USERS = [f"user{number}" for number in range(5)]


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    """In a folder that is made too; the next start finds the same key."""
    before = os.umask(0)
    try:
        first = load_keys("", tmp_path / "data").read()
    finally:
        os.umask(before)

    file = tmp_path / "data" / "encryption.keys"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert load_keys("", tmp_path / "data").read() == first
    assert len(list(file.parent.iterdir())) == 1


def test_starts_at_the_same_moment_share_one_key(tmp_path):
    """The second process reads the file of the first."""
    found = []
    together = threading.Barrier(8)

    def start():
        together.wait()
        found.append(load_keys("", tmp_path).read()[0].text())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_key_file_that_others_may_read_is_refused(tmp_path, mode):
    """With a sentence that says what to do."""
    load_keys("", tmp_path).path.chmod(mode)

    with pytest.raises(KeysUnusable, match="chmod 600"):
        load_keys("", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"# only a comment\n", b"short\n", b"\xff\xfe\n", b"A" * 43 + b"!\n", b"A" * 400]
)
def test_a_damaged_key_file_is_refused(tmp_path, content):
    """It is neither used nor replaced, and nothing of it is shown."""
    file = load_keys("", tmp_path)
    file.path.write_bytes(content)

    with pytest.raises(KeysUnusable, match="damaged") as caught:
        load_keys("", tmp_path)
    assert "AAAA" not in str(caught.value)
    assert file.path.read_bytes() == content


def test_a_key_file_that_cannot_be_made_is_reported(tmp_path):
    """The sentence names the file."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(KeysUnusable, match=r"encryption\.keys"):
        load_keys("", tmp_path / "file")


def test_a_folder_with_the_name_of_the_key_file_is_refused(tmp_path):
    """It is no key file."""
    (tmp_path / "encryption.keys").mkdir(mode=0o700)

    with pytest.raises(KeysUnusable):
        load_keys("", tmp_path)


def test_keys_can_come_from_a_setting(tmp_path):
    """Several, the first one sealing; no file is made then."""
    first, second = EncryptionKey.make(), EncryptionKey.make()
    setting = f" {first.text()} ,{second.text()},"

    assert list(load_keys(setting, tmp_path).read()) == [first, second]
    assert list(load_keys(SecretText(setting), tmp_path).read()) == [first, second]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ["hunter2", ",", "A" * 44 + "=", "ключ", "QUFB" * 10])
def test_a_setting_that_holds_no_keys_is_refused(tmp_path, setting):
    """The sentence names the setting and does not quote it."""
    with pytest.raises(KeysUnusable, match="HULLWATCH_ENCRYPTION_KEYS") as caught:
        load_keys(setting, tmp_path)
    assert len(setting) < 3 or setting not in str(caught.value)


@pytest.fixture
async def installation(database, tmp_path):
    """Return a database with secrets, whose keys are in a file."""
    database.cipher = Cipher(load_keys("", tmp_path / "keys"))
    store = database.open()
    await store.check_keys()
    await add_users(store, *USERS)
    async with store.begin() as work:
        for name in USERS:
            await work.connections.save_login(connected(name), AccessToken(f"token of {name}"))
            await work.connections.put_app(name, FyersApp("ABCD1234XY-100", AppSecret(name), "http://x/"))
            await work.renewals.opt_in(name, Pin(f"pin of {name}"), at=NOW)
            await work.renewals.keep_token(
                name, RefreshToken(f"refresh {name}"), app_id="ABCD1234XY-100", generation=1, expires_at=None
            )
        await work.commit()
    return database


@pytest.fixture
def key_file(tmp_path) -> KeyFile:
    """Return the key file of the installation."""
    return KeyFile(tmp_path / "keys" / "encryption.keys")


async def assert_all_readable(store):
    """See that every secret opens to what it was."""
    await store.check_keys()
    async with store.begin(read_only=True) as work:
        assert await work.connections.tokens() == {
            name: (1, AccessToken(f"token of {name}")) for name in USERS
        }
        for name in USERS:
            assert (await work.connections.app(name)).secret == AppSecret(name)
            renewal_keys = RenewalKeys(Pin(f"pin of {name}"), RefreshToken(f"refresh {name}"))
            assert await work.renewals.keys(name) == renewal_keys


async def test_a_rotation_encrypts_every_secret_again_and_drops_the_old_key(installation, key_file):
    """A running server and a new one both read everything, and the old key opens nothing."""
    running = installation.open()
    (old,) = key_file.read()

    report = await rotate(installation.url, key_file)

    (new,) = key_file.read()
    assert new != old
    assert report.rewritten == 4 * len(USERS) + 1
    assert report.unreadable == ()
    await assert_all_readable(running)
    assert (await check(installation.url, Cipher(FixedKeys([new])))).is_good
    assert len((await check(installation.url, Cipher(FixedKeys([old])))).problems) == report.rewritten
    assert key_file.path.stat().st_mode & 0o777 == 0o600


class Interrupted(Exception):  # noqa: N818 - an event, not an error of the program
    """Simulates the end of the process."""


async def test_a_rotation_can_be_interrupted_at_every_step_and_run_again(installation, key_file):
    """After each interruption every secret is readable, and the next run finishes the rotation."""
    running = installation.open()
    (old,) = key_file.read()
    steps, stop_at = 0, 0

    def progress(_):
        nonlocal steps
        steps += 1
        if steps == stop_at:
            raise Interrupted

    while True:
        steps, stop_at = 0, stop_at + 1
        try:
            await rotate(installation.url, key_file, progress=progress)
            break
        except Interrupted:
            await assert_all_readable(running)
            assert (await check(installation.url, Cipher(key_file))).is_good

    assert stop_at > 5
    await assert_all_readable(running)
    assert len(key_file.read()) == 1
    assert old not in key_file.read()


async def test_an_interrupted_rotation_leaves_no_key_behind(installation, key_file):
    """The next run removes a leftover draft of the key file and adds no second new key."""
    (key_file.path.parent / ".encryption.keys.0123456789abcdef").write_text(EncryptionKey.make().text())
    old, new = key_file.read()[0], EncryptionKey.make()
    key_file.replace([new, old])

    await rotate(installation.url, key_file)

    assert list(key_file.read()) == [new]
    assert [file.name for file in key_file.path.parent.iterdir()] == ["encryption.keys"]


async def test_logins_during_a_rotation_are_not_lost(installation, key_file):
    """A server stores tokens at every step of a rotation and finds all of them afterwards."""
    running = installation.open()
    step, generation = asyncio.Event(), 1

    async def log_in_at_every_step():
        nonlocal generation
        while True:
            await step.wait()
            step.clear()
            async with running.begin() as work:
                for name in USERS:
                    token = AccessToken(f"{name} {generation + 1}")
                    assert await work.connections.save_login(connected(name, generation + 1), token)
                await work.commit()
            generation += 1

    logins = asyncio.create_task(log_in_at_every_step())
    for _ in range(3):
        await rotate(installation.url, key_file, progress=lambda _: step.set())
    await asyncio.sleep(0)
    logins.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await logins

    assert generation > 5
    async with running.begin() as work:
        found = await work.connections.tokens()
    assert set(found) == set(USERS)
    for name, (stored, token) in found.items():
        assert stored >= generation
        assert token == AccessToken(f"{name} {stored}")
    assert (await check(installation.url, Cipher(key_file))).is_good


async def test_an_undecryptable_secret_does_not_stop_a_rotation(installation, key_file):
    """It is named in the report and left as it was."""
    store = installation.open()
    async with store.begin() as work:
        spoil = text(
            "UPDATE broker_connections SET access_token = 'v1:000000000000:AAAA' WHERE user_id = 'user2'"
        )
        await work.users._transaction.execute(spoil)
        await work.commit()

    report = await rotate(installation.url, key_file)

    assert report.unreadable == ("access token of user user2",)
    assert len(key_file.read()) == 1


async def test_a_lost_key_can_be_replaced(installation, key_file):
    """After a rotation the installation starts with another key; only the old secrets are lost."""
    key_file.replace([EncryptionKey.make()])
    with pytest.raises(KeysUnusable):
        await installation.open().check_keys()

    report = await rotate(installation.url, key_file)

    assert len(report.unreadable) == 4 * len(USERS)
    await installation.open().check_keys()


async def test_all_processes_share_one_salt_which_a_rotation_keeps(installation, key_file):
    """The first process creates it; a rotation encrypts it again and keeps its value."""
    stores = [installation.open(), installation.open()]
    salt, *others = await asyncio.gather(*(store.sharing_salt() for store in stores * 3))

    await rotate(installation.url, key_file)

    assert [*others, await stores[0].sharing_salt(), await installation.open().sharing_salt()] == [salt] * 7
    async with stores[0].begin(read_only=True) as work:
        assert salt.reveal() not in (await work.installation.value("sharing_salt"))


async def test_a_lost_key_replaces_the_salt(installation, key_file):
    """The rotation creates a new salt, so that an installation with Redis starts and its check passes."""
    before = await installation.open().sharing_salt()
    key_file.replace([EncryptionKey.make()])
    with pytest.raises(KeysUnusable):
        await installation.open().sharing_salt()

    report = await rotate(installation.url, key_file)

    after = await installation.open().sharing_salt()
    assert after != before
    assert len(after.reveal()) == len(before.reveal())
    assert after == await installation.open().sharing_salt()
    assert not any("sharing_salt" in one for one in report.unreadable)


async def test_two_rotations_do_not_run_at_once(installation, key_file):
    """The second is refused before it changes anything."""
    folder = os.open(key_file.path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    before = key_file.read()

    with pytest.raises(KeysUnusable, match="under way"):
        await rotate(installation.url, key_file)

    os.close(folder)
    assert key_file.read() == before


async def test_keys_from_a_setting_are_rotated_by_hand_and_command(installation, key_file):
    """One key: the error says what to do. Two: all use the first, and the report names the last step."""
    (old,) = key_file.read()
    new = EncryptionKey.make()

    with pytest.raises(KeysUnusable, match="in front of"):
        await rotate(installation.url, FixedKeys([old]))

    report = await rotate(installation.url, FixedKeys([new, old]))
    assert report.rewritten == 4 * len(USERS) + 1
    assert "remove the others" in report.advice
    assert (await check(installation.url, Cipher(FixedKeys([new])))).is_good
