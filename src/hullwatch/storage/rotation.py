"""Changes the encryption key while a server runs: ``hullwatch keys rotate``.

Every secret stays readable at every moment, even if the rotation is interrupted:

1. The key file gets a new first key; the old one stays behind it. Servers notice the change and encrypt with the new one.
2. Every stored secret is encrypted again, one batch per transaction.
3. While no server can store a secret, all are checked to be encrypted with the new key; then the old one is removed.

A second run finds two keys in the file and continues at step 2.
"""

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import BigInteger, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import KeysUnusable, Undecryptable
from hullwatch.storage.keys import EncryptionKey, FixedKeys, KeyFile
from hullwatch.storage.opening import opened
from hullwatch.storage.sealed import KEY_CHECK, KEY_CHECK_TEXT, SEALED_COLUMNS, SHARING_SALT, SealedSecret
from hullwatch.storage.transaction import KEYS_LOCK

_FROM_SETTING = (
    "The keys come from HULLWATCH_ENCRYPTION_KEYS: put a new key (32 random bytes in URL-safe base64) and a comma in front of the present "
    "one, restart every hullwatch process, run this command again, and then remove the old key."
)

_MOST_ROUNDS = 10
"""A login during a rewrite costs one round; this many mean a server with an old key file."""


@dataclass(frozen=True, slots=True)
class RotationReport:
    """The result of a rotation."""

    rewritten: int
    """Secrets that this run encrypted again."""
    unreadable: tuple[str, ...]
    """Secrets that no key decrypts, by column and row; they were unusable before."""
    advice: str | None = None
    """What the operator has to do next."""


async def rotate(
    url: str, keys: FixedKeys | KeyFile, *, progress: Callable[[str], None] = lambda _: None
) -> RotationReport:
    """Add a key, encrypt every secret with it and remove the old one; may be interrupted and repeated.

    Args:
        url: The database; it must have the schema of this version.
        keys: Where the present keys come from.
        progress: Called with a description of each step.

    Raises:
        KeysUnusable: The keys come from a setting that names only one, or another rotation is under way.
        DatabaseUnusable: The database cannot be used; run again later.
    """
    if isinstance(keys, KeyFile):
        with _folder_locked(keys.path.parent):
            return await _rotate_file(url, keys, progress)
    if len(keys.read()) == 1:
        raise KeysUnusable(_FROM_SETTING)
    rewritten = await _rewrite_all(url, Cipher(keys), progress)
    async with _encryption_locked(url) as connection:
        survey = await _survey(connection, Cipher(keys))
    if not survey.is_done:
        raise KeysUnusable(
            "A running hullwatch still uses an older key: restart it and run this command again."
        )
    advice = "All secrets are sealed with the first key: remove the others from HULLWATCH_ENCRYPTION_KEYS and restart."
    return RotationReport(rewritten, survey.unreadable, advice)


async def _rotate_file(url: str, file: KeyFile, progress: Callable[[str], None]) -> RotationReport:
    file.remove_drafts()
    async with opened(url, read_only=True):
        pass  # fails here if the database is unusable, before the keys change
    if not file.exists:
        file.ensure()
        progress("made a new key file, because the old one is missing")
    keys = file.read()
    if len(keys) == 1:
        file.replace([EncryptionKey.make(), *keys])
        progress("added a new key")
    cipher = Cipher(file)
    rewritten = 0
    for _ in range(_MOST_ROUNDS):
        rewritten += await _rewrite_all(url, cipher, progress)
        async with _encryption_locked(url) as connection:
            survey = await _survey(connection, cipher)
            if survey.is_done:
                progress("verified every secret")
                file.replace(file.read()[:1])
                progress("dropped the old key")
                return RotationReport(rewritten, survey.unreadable)
    raise KeysUnusable(
        "A hullwatch with a copy of the old key file keeps storing secrets: give it this one and run this again."
    )


@dataclass(frozen=True, slots=True)
class _Survey:
    is_done: bool
    unreadable: tuple[str, ...]


async def _rewrite_all(url: str, cipher: Cipher, progress: Callable[[str], None]) -> int:
    """Encrypt the secrets that the first key has not encrypted; return their number."""
    rewritten = 0
    for column in SEALED_COLUMNS:
        last = ""
        while True:
            async with opened(url) as connection:
                batch = await column.after(connection, last)
                for secret in batch:
                    rewritten += await _rewrite(connection, secret, cipher)
                await connection.commit()
            if not batch:
                break
            last = batch[-1].owner
            progress(f"rewrote {rewritten} secrets")
    return rewritten


async def _rewrite(connection: AsyncConnection, secret: SealedSecret, cipher: Cipher) -> int:
    if cipher.is_sealed_by_first(secret.sealed):
        return 0
    plain = _plain(secret, cipher)
    if plain is None:
        return 0
    column = secret.column
    done = await connection.execute(
        update(column.table)
        # Only the secret that was read: a login meanwhile stores a newer one, which stays.
        .where(column.table.c[column.key] == secret.owner, column.table.c[column.name] == secret.sealed)
        .values({column.name: cipher.seal(plain, secret.row_identity)})
    )
    return done.rowcount


def _plain(secret: SealedSecret, cipher: Cipher) -> str | None:
    try:
        return cipher.open(secret.sealed, secret.row_identity)
    except Undecryptable:
        # The key check is a known text and the salt can be new, so a lost key does not lock the installation forever.
        if secret.owner == SHARING_SALT:
            return secrets.token_hex(32)
        return KEY_CHECK_TEXT if secret.owner == KEY_CHECK else None


async def _survey(connection: AsyncConnection, cipher: Cipher) -> _Survey:
    is_done, unreadable = True, []
    for column in SEALED_COLUMNS:
        last = ""
        while batch := await column.after(connection, last):
            last = batch[-1].owner
            for secret in batch:
                if _plain(secret, cipher) is None:
                    unreadable.append(f"{column.what} {secret.owner}")
                elif not cipher.is_sealed_by_first(secret.sealed):
                    is_done = False
    return _Survey(is_done, tuple(unreadable))


@asynccontextmanager
async def _encryption_locked(url: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction during which no other process can store a secret."""
    async with opened(url) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(KEYS_LOCK, BigInteger))))
        yield connection


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Allow one rotation at a time; the system releases the lock with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeysUnusable("Another rotation of the keys is under way.") from None
        yield
    finally:
        os.close(descriptor)
