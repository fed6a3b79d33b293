"""Changing the encryption key while a server runs: ``hullwatch keys rotate``. Keys themselves are in ``keys.py``.

The order keeps every secret readable at every moment, wherever the work is interrupted:

1. The key file gets a new first key; the old one stays behind it. Servers notice and seal with the new one from then on.
2. Every stored secret is sealed anew, a batch a transaction.
3. While nobody can store a secret, all are seen to be sealed with the new key; then the old one leaves the file.

Run again, it finds two keys in the file and goes on at step 2.
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
"""Logins that fall between a rewrite and its verification cost a round each; so many in a row mean a stranger."""


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What a rotation did."""

    rewritten: int
    """Secrets sealed anew by this run."""
    unreadable: tuple[str, ...]
    """Secrets that no key opens, by what and whose they are; they were unusable before and still are."""
    advice: str | None = None
    """What is left for a person to do."""


async def rotate(
    url: str, keys: FixedKeys | KeyFile, *, progress: Callable[[str], None] = lambda _: None
) -> RotationReport:
    """Bring a new key into use, seal every stored secret with it and drop the old one; may be interrupted anywhere and run again.

    Args:
        url: The database; it has to be in its newest form.
        keys: Where the present keys come from.
        progress: Told of each step, in words.

    Raises:
        KeysUnusable: The keys come from a setting that names only one, or another rotation is under way.
        DatabaseUnusable: The database cannot be used; run again later.
    """
    if isinstance(keys, KeyFile):
        with _alone(keys.path.parent):
            return await _rotate_file(url, keys, progress)
    if len(keys.read()) == 1:
        raise KeysUnusable(_FROM_SETTING)
    rewritten = await _rewrite_all(url, Cipher(keys), progress)
    async with _nobody_sealing(url) as connection:
        survey = await _survey(connection, Cipher(keys))
    if not survey.is_done:
        raise KeysUnusable(
            "A running hullwatch still uses an older key: restart it and run this command again."
        )
    advice = "All secrets are sealed with the first key: remove the others from HULLWATCH_ENCRYPTION_KEYS and restart."
    return RotationReport(rewritten, survey.unreadable, advice)


async def _rotate_file(url: str, file: KeyFile, progress: Callable[[str], None]) -> RotationReport:
    file.remove_drafts()
    keys = file.read()
    async with opened(url, read_only=True):
        pass  # an unusable database is better met before the keys change
    if len(keys) == 1:
        file.replace([EncryptionKey.make(), *keys])
        progress("added a new key")
    cipher = Cipher(file)
    rewritten = 0
    for _ in range(_MOST_ROUNDS):
        rewritten += await _rewrite_all(url, cipher, progress)
        async with _nobody_sealing(url) as connection:
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
    """Seal what is not sealed with the first key; return how many were."""
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
        # Only what was read: a login that happens meanwhile stores a newer secret, which is left alone.
        .where(column.table.c[column.key] == secret.owner, column.table.c[column.name] == secret.sealed)
        .values({column.name: cipher.seal(plain, secret.place)})
    )
    return done.rowcount


def _plain(secret: SealedSecret, cipher: Cipher) -> str | None:
    try:
        return cipher.open(secret.sealed, secret.place)
    except Undecryptable:
        # The key check holds nothing but a known text, and any salt will do that is nobody's yet, so that a lost key does not keep the
        # house shut for ever.
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
async def _nobody_sealing(url: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction during which nobody seals: on SQLite it holds the only write lock, on PostgreSQL the lock on keys."""
    async with opened(url) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(KEYS_LOCK, BigInteger))))
        yield connection


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of keys, so that one rotation runs at a time; the system drops it with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeysUnusable("Another rotation of the keys is under way.") from None
        yield
    finally:
        os.close(descriptor)
