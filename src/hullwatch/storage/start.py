"""Opens the store of an installation, and makes database and key file on the first start."""

from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import select

from hullwatch.domain.secrets import SecretText
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import KeysUnusable
from hullwatch.storage.keys import FixedKeys, KeyFile, keys_of
from hullwatch.storage.models import InstallationRow
from hullwatch.storage.opening import opened
from hullwatch.storage.sealed import KEY_CHECK
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import upgrade


async def open_store(url: str, encryption_keys: str | SecretText, data_dir: Path) -> Store:
    """Return the store on a database of this version.

    The database is created before the key file. So an empty database beside a key file, or a missing key file beside a used
    database, means that something was lost, also when an earlier start was interrupted.

    Raises:
        DatabaseUnusable: The database cannot be used, or is empty beside an old key file.
        KeysUnusable: The keys cannot be used, or the key file of a used database is missing.
        StorageUnavailable: The database does not answer.
    """
    keys = keys_of(encryption_keys, data_dir)
    if_empty = None
    if isinstance(keys, KeyFile) and keys.exists:
        if_empty = (
            f"The database is empty, but {keys.path} is the key of an earlier one: restore a copy made with "
            "hullwatch db backup, or move the key file away to begin with an empty database."
        )
    await upgrade(url, if_empty=if_empty)
    await _prepare(keys, url)
    async with AsyncExitStack() as stack:
        store = Store(url, Cipher(keys))
        stack.push_async_callback(store.close)
        await store.check_keys()  # with the keys of another database no stored session could be read
        stack.pop_all()
    return store


async def _prepare(keys: FixedKeys | KeyFile, url: str) -> None:
    if not isinstance(keys, KeyFile):
        return
    if not keys.exists and await _is_used(url):
        raise KeysUnusable(
            f"The key file {keys.path} is missing: restore it. If it is lost, run hullwatch keys rotate; all users then log "
            "in at Fyers again."
        )
    keys.ensure()
    keys.read()


async def _is_used(url: str) -> bool:
    """Whether the database was opened with a key before."""
    async with opened(url, read_only=True) as connection:
        return (
            await connection.scalar(select(InstallationRow.value).where(InstallationRow.name == KEY_CHECK))
        ) is not None
