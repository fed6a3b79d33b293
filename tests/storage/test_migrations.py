"""A database of the first release keeps its rows and secrets when it is upgraded."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import inspect, text

from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import DatabaseUnusable
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.maintenance import check
from hullwatch.storage.opening import opened
from hullwatch.storage.upgrade import is_current, upgrade
from storage.conftest import POSTGRES, SQLITE


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


@pytest.fixture
def cipher() -> Cipher:
    """The keys of the data folder."""
    return Cipher(FixedKeys([EncryptionKey.make()]))


async def test_a_database_before_0_1_0_is_refused(url, cipher):
    """The sentence says which version can upgrade it, and the database is left as it is."""
    async with opened(url) as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        await connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        await connection.commit()

    for call in (upgrade, is_current):
        with pytest.raises(DatabaseUnusable, match=r"run hullwatch db upgrade with version 0\.1\.0 first"):
            await call(url)
    assert "version 0.1.0 first" in (await check(url, cipher)).problems[0]
    async with opened(url, read_only=True) as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
