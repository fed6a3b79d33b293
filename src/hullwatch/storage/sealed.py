"""All columns with encrypted secrets, for checks and key rotation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hullwatch.storage.cipher import (
    app_secret_identity,
    channel_address_identity,
    installation_identity,
    pin_identity,
    refresh_token_identity,
    signing_secret_identity,
    token_identity,
)
from hullwatch.storage.models import (
    BrokerConnectionRow,
    ChannelRow,
    FyersAppRow,
    InstallationRow,
    RenewalRow,
)
from hullwatch.storage.rows import table_of

BATCH = 200
KEY_CHECK: Final = "key_check"
SHARING_SALT: Final = "sharing_salt"
KEY_CHECK_TEXT: Final = "these are the keys of this database"
"""A known text, stored encrypted, that shows whether the keys fit the database."""


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """One stored secret; `repr` shows no ciphertext."""

    column: "SealedColumn"
    owner: str
    """The row's primary key."""
    row_identity: str
    sealed: str

    def __repr__(self) -> str:
        return f"SealedSecret({self.row_identity})"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """One column of encrypted secrets."""

    what: str
    """Its name in messages."""
    table: Table
    key: str
    name: str
    row_identity: Callable[[RowMapping], str]

    async def after(self, connection: AsyncConnection, owner: str) -> list[SealedSecret]:
        """Return the next batch of secrets, of rows whose keys follow this one."""
        key, sealed = self.table.c[self.key], self.table.c[self.name]
        query = select(self.table).where(sealed.is_not(None), key > owner).order_by(key).limit(BATCH)
        found = (await connection.execute(query)).mappings()
        return [SealedSecret(self, row[self.key], self.row_identity(row), row[self.name]) for row in found]


SEALED_COLUMNS: Final = (
    SealedColumn(
        "access token of user",
        table_of(BrokerConnectionRow),
        "user_id",
        "access_token",
        lambda row: token_identity(row["user_id"], row["token_generation"]),
    ),
    SealedColumn(
        "Fyers app secret of user",
        table_of(FyersAppRow),
        "user_id",
        "secret",
        lambda row: app_secret_identity(row["user_id"], row["app_id"]),
    ),
    SealedColumn(
        "address of channel",
        table_of(ChannelRow),
        "id",
        "address",
        lambda row: channel_address_identity(row["id"]),
    ),
    SealedColumn(
        "signing secret of channel",
        table_of(ChannelRow),
        "id",
        "signing_secret",
        lambda row: signing_secret_identity(row["id"]),
    ),
    SealedColumn(
        "PIN of user",
        table_of(RenewalRow),
        "user_id",
        "pin",
        lambda row: pin_identity(row["user_id"]),
    ),
    SealedColumn(
        "refresh token of user",
        table_of(RenewalRow),
        "user_id",
        "refresh_token",
        lambda row: refresh_token_identity(row["user_id"]),
    ),
    SealedColumn(
        "installation entry",
        table_of(InstallationRow),
        "name",
        "value",
        lambda row: installation_identity(row["name"]),
    ),
)
