"""Reset links, by the hashes of their values."""

from datetime import datetime

from sqlalchemy import delete, select

from hullwatch.domain.users.password_resets import PasswordReset
from hullwatch.storage.models import PasswordResetRow
from hullwatch.storage.rows import row_of, table_of, value_of
from hullwatch.storage.transaction import Transaction


class PasswordResets:
    """Satisfies `PasswordResetRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, value_hash: str, reset: PasswordReset) -> None:
        """Store a link."""
        row = row_of(PasswordResetRow, reset, value_hash=value_hash)
        await self._transaction.execute(self._transaction.insert_row(row))

    async def get(self, value_hash: str, *, now: datetime) -> PasswordReset | None:
        """Return the unexpired link with this hash, or None."""
        row = await self._transaction.row(
            select(PasswordResetRow).where(
                PasswordResetRow.value_hash == value_hash, PasswordResetRow.expires_at > now
            )
        )
        return None if row is None else value_of(PasswordReset, row)

    async def take(self, value_hash: str, *, now: datetime) -> PasswordReset | None:
        """Remove and return an unexpired link. One statement, so that it is used once."""
        table = table_of(PasswordResetRow)
        done = await self._transaction.execute(
            delete(table).where(table.c.value_hash == value_hash, table.c.expires_at > now).returning(table)
        )
        row = done.first()
        return None if row is None else value_of(PasswordReset, row)

    async def remove_of(self, user_id: str) -> None:
        """Remove all links of a user."""
        await self._transaction.execute(delete(PasswordResetRow).where(PasswordResetRow.user_id == user_id))

    async def purge(self, *, now: datetime) -> None:
        """Remove expired links."""
        await self._transaction.execute(delete(PasswordResetRow).where(PasswordResetRow.expires_at <= now))
