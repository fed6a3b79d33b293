"""Tests of starts at which the database or the key file is missing or damaged."""

import sqlite3
from pathlib import Path

import pytest

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.storage.failures import DatabaseUnusable, KeysUnusable
from hullwatch.storage.keys import KEY_FILE, KeyFile
from hullwatch.storage.rotation import rotate
from hullwatch.storage.start import open_store
from hullwatch.storage.upgrade import upgrade
from storage.samples import add_users


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the address of a database file that does not exist yet."""
    return f"sqlite:///{tmp_path}/hullwatch.db"


async def first_start(url: str, folder: Path) -> None:
    """Start once and add a user."""
    store = await open_store(url, "", folder)
    await add_users(store, "asha")
    await store.close()


async def test_the_first_start_makes_a_database_and_a_key(url, tmp_path):
    """The second start uses both."""
    await first_start(url, tmp_path)
    key = (tmp_path / KEY_FILE).read_text()

    store = await open_store(url, "", tmp_path)
    async with store.begin(read_only=True) as work:
        assert await work.users.count() == 1
    await store.close()
    assert (tmp_path / KEY_FILE).read_text() == key


async def test_a_missing_key_file_is_not_replaced(url, tmp_path):
    """A new key file in its place would be copied by the next backup."""
    await first_start(url, tmp_path)
    (tmp_path / KEY_FILE).unlink()

    with pytest.raises(KeysUnusable, match="is missing: restore it"):
        await open_store(url, "", tmp_path)

    assert [path.name for path in tmp_path.iterdir() if "keys" in path.name] == []


async def test_a_lost_key_file_is_made_again_by_a_rotation(url, tmp_path):
    """The refusal names this command as the way out."""
    await first_start(url, tmp_path)
    (tmp_path / KEY_FILE).unlink()

    await rotate(url, KeyFile(tmp_path / KEY_FILE))

    await (await open_store(url, "", tmp_path)).close()


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
async def test_an_empty_database_beside_an_old_key_is_refused(url, tmp_path, content):
    """Otherwise the first to register would become admin of what looks like a new installation."""
    await first_start(url, tmp_path)
    for path in tmp_path.glob("hullwatch.db*"):
        path.unlink()
    if content is not None:
        (tmp_path / "hullwatch.db").write_bytes(content)

    for _ in range(2):  # a refused start does not create what the next one would accept
        with pytest.raises(DatabaseUnusable, match="move the key file away"):
            await open_store(url, "", tmp_path)

    (tmp_path / KEY_FILE).rename(tmp_path / "old.keys")
    await (await open_store(url, "", tmp_path)).close()


async def test_an_interrupted_first_start_can_be_repeated(url, tmp_path):
    """The database is made before the key, so neither half of a first start looks like a loss."""
    await upgrade(url)
    await (await open_store(url, "", tmp_path)).close()

    other = tmp_path / "other"
    other.mkdir()
    await upgrade(f"sqlite:///{other}/hullwatch.db")
    KeyFile(other / KEY_FILE).ensure()
    await (await open_store(f"sqlite:///{other}/hullwatch.db", "", other)).close()


async def test_damage_is_named_as_damage(url, tmp_path):
    """Whichever page is damaged, the sentence says what to do."""
    await first_start(url, tmp_path)
    file = tmp_path / "hullwatch.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
    connection.close()
    whole, sentences = file.read_bytes(), []
    for page in range(pages):
        file.write_bytes(whole[: page * size] + b"\xaa" * size + whole[(page + 1) * size :])
        try:
            await (await open_store(url, "", tmp_path)).close()
        except (DatabaseUnusable, StorageUnavailable) as problem:
            sentences.append(str(problem))
    assert len(sentences) >= 3
    assert {sentence for sentence in sentences if "damaged" not in sentence} <= {
        "The database file is not a database."
    }
