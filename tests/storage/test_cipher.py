"""Encrypted secrets: decrypted only whole, for their row and with their key, and never shown."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.secrets import AccessToken, AppSecret
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.storage.cipher import Cipher, app_secret_identity, token_identity
from hullwatch.storage.failures import KeysUnusable, Undecryptable
from hullwatch.storage.keys import EncryptionKey, FixedKeys, load_keys
from storage.samples import add_users, connected

OLD, NEW = EncryptionKey.make(), EncryptionKey.make()
CIPHER = Cipher(FixedKeys([NEW, OLD]))
CANARY = "canary-7f3c9a-token"
ROW_IDENTITY = token_identity("asha", 1)


@given(st.text(), st.text())
def test_an_encrypted_text_is_decrypted_for_its_row(plain, row_identity):
    """For any text and any identity of a row."""
    assert CIPHER.open(CIPHER.seal(plain, row_identity), row_identity) == plain


@given(st.text(min_size=1), st.text(), st.text())
def test_the_identity_of_another_row_does_not_decrypt_it(plain, row_identity, other):
    """An encrypted text that was copied to another row, column or generation is refused."""
    if row_identity == other:
        return
    with pytest.raises(Undecryptable):
        CIPHER.open(CIPHER.seal(plain, row_identity), other)


@given(st.data())
def test_any_flipped_bit_is_noticed(data):
    """In version, key id, nonce, ciphertext or tag, and in the bits that base64 leaves unused."""
    sealed = bytearray(CIPHER.seal(data.draw(st.text(max_size=20)), ROW_IDENTITY).encode())
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 6))

    with pytest.raises(Undecryptable):
        CIPHER.open(sealed.decode("latin-1"), ROW_IDENTITY)


@given(st.text())
def test_a_text_that_was_never_encrypted_is_refused(garbage):
    """Whatever it is, the answer is the same failure."""
    with pytest.raises(Undecryptable):
        CIPHER.open(garbage, ROW_IDENTITY)


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_truncated_secret_does_not_open(cut):
    """Nor one with something behind it."""
    sealed = CIPHER.seal("plain text", ROW_IDENTITY)

    for changed in (sealed[:-cut], sealed + "A" * cut, sealed + "=" * cut):
        with pytest.raises(Undecryptable):
            CIPHER.open(changed, ROW_IDENTITY)


def test_the_first_key_seals_and_all_open():
    """A key that left opens nothing any more."""
    by_old = Cipher(FixedKeys([OLD])).seal("plain", ROW_IDENTITY)
    by_both = CIPHER.seal("plain", ROW_IDENTITY)

    assert CIPHER.open(by_old, ROW_IDENTITY) == "plain"
    assert not CIPHER.is_sealed_by_first(by_old)
    assert CIPHER.is_sealed_by_first(by_both)
    assert Cipher(FixedKeys([NEW])).open(by_both, ROW_IDENTITY) == "plain"
    with pytest.raises(Undecryptable):
        Cipher(FixedKeys([NEW])).open(by_old, ROW_IDENTITY)


def test_a_text_is_never_encrypted_to_the_same_ciphertext():
    """So equal tokens do not show as equal."""
    assert len({CIPHER.seal("plain", ROW_IDENTITY) for _ in range(100)}) == 100


def test_identities_differ_by_user_generation_and_column():
    """No two of them are the same."""
    identities = {
        token_identity("a", 1),
        token_identity("a", 11),
        token_identity("a:1", 1),
        app_secret_identity("a", "1"),
    }

    assert len(identities) == 4


def test_keys_and_ciphers_do_not_show_keys():
    """Neither do the failures."""
    shown = "".join(map(repr, (OLD, FixedKeys([OLD, NEW]), CIPHER))) + f"{OLD} {CIPHER}"

    assert OLD.text() not in shown
    assert repr(OLD.reveal()) not in shown
    with pytest.raises(KeysUnusable) as caught:
        FixedKeys.parse(f"{OLD.text()}, {NEW.text()}x")
    assert NEW.text()[:8] not in str(caught.value)
    assert OLD.text()[:8] not in str(caught.value)


def test_a_running_cipher_follows_its_key_file(tmp_path):
    """It reads the key file again: it encrypts with the new key and drops the old one."""
    file = load_keys("", tmp_path)
    running = Cipher(file)
    (old,) = file.read()
    by_old = running.seal("plain", ROW_IDENTITY)

    file.replace([NEW, old])
    by_new = Cipher(file).seal("plain", ROW_IDENTITY)
    assert running.open(by_new, ROW_IDENTITY) == "plain"
    assert running.open(by_old, ROW_IDENTITY) == "plain"
    assert running.is_sealed_by_first(running.seal("plain", ROW_IDENTITY))
    assert running.key_ids == (NEW.id, old.id)

    file.replace([NEW])
    assert running.open(by_new, ROW_IDENTITY) == "plain"
    with pytest.raises(Undecryptable):
        running.open(by_old, ROW_IDENTITY)


def test_without_its_key_file_a_cipher_opens_but_does_not_seal(tmp_path):
    """After a restart no key could decrypt a secret that it encrypted."""
    file = load_keys("", tmp_path)
    running = Cipher(file)
    sealed = running.seal("plain", ROW_IDENTITY)
    file.path.unlink()

    assert running.open(sealed, ROW_IDENTITY) == "plain"
    with pytest.raises(StorageUnavailable):
        running.seal("plain", ROW_IDENTITY)


async def test_secrets_never_reach_the_disk_or_the_logs(sqlite_database, tmp_path, caplog):
    """No file of the database holds the token or the app secret, nor does any log line down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    store = sqlite_database.open()
    await add_users(store, "asha")
    async with store.begin() as work:
        await work.connections.save_login(connected(), AccessToken(CANARY))
        await work.connections.put_app("asha", FyersApp("ABCD1234XY-100", AppSecret(CANARY), "http://x/"))
        await work.commit()
    async with store.begin() as work:
        assert (await work.connections.token("asha", 1)).reveal() == CANARY
        assert (await work.connections.app("asha")).secret.reveal() == CANARY
        shown = repr(await work.connections.tokens()) + repr(vars(work.connections))

    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert "hullwatch.db-wal" in files
    assert not [name for name, content in files.items() if CANARY.encode() in content]
    assert CANARY not in caplog.text
    assert "argon2-hash" not in caplog.text
    assert CANARY not in shown


async def test_a_refused_login_does_not_show_its_token(database):
    """Not in the refusal, its causes or the rows it speaks of."""
    store = database.open()
    await add_users(store, "asha")

    async with store.begin() as work:
        with pytest.raises(Exception, match="rule of the database") as caught:
            await work.connections.save_login(connected(generation=-1), AccessToken(CANARY))

    shown = ""
    error = caught.value
    while error is not None:
        shown += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert CANARY not in shown
    assert "v1:" not in shown


async def test_a_secret_moved_to_another_row_is_not_used(database):
    """Ciphertext swapped between users counts as no token; the others are still read."""
    store = database.open()
    await add_users(store, "asha", "ravi", "mala")
    async with store.begin() as work:
        for name in ("asha", "ravi", "mala"):
            await work.connections.save_login(connected(name), AccessToken(f"token of {name}"))
            await work.connections.put_app(name, FyersApp("ABCD1234XY-100", AppSecret("secret"), "http://x/"))
        for table, column in (("broker_connections", "access_token"), ("fyers_apps", "secret")):
            execute = work.users._transaction.execute
            sealed = dict((await execute(text(f"SELECT user_id, {column} FROM {table}"))).all())
            for to, of in (("asha", "ravi"), ("ravi", "asha")):
                move = text(f"UPDATE {table} SET {column} = :sealed WHERE user_id = :to")
                await execute(move.bindparams(sealed=sealed[of], to=to))
        await work.commit()

    async with store.begin() as work:
        assert await work.connections.tokens() == {"mala": (1, AccessToken("token of mala"))}
        assert await work.connections.token("asha", 1) is None
        assert await work.connections.app("asha") is None
        assert await work.connections.app("mala") is not None


async def test_other_keys_than_those_of_the_database_are_noticed(database):
    """A new database takes the first keys it sees; others are refused with a sentence, added ones are not."""
    await database.open().check_keys()
    await database.open().check_keys()
    (mine,) = database.cipher._source.read()

    database.cipher = Cipher(FixedKeys([NEW]))
    with pytest.raises(KeysUnusable, match="key file"):
        await database.open().check_keys()

    database.cipher = Cipher(FixedKeys([NEW, mine]))
    await database.open().check_keys()
