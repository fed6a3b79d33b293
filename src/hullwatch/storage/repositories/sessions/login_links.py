"""Login links, by the hashes of their values."""

from datetime import datetime

from sqlalchemy import delete, func, literal, or_, select, update

from hullwatch.domain.sessions.login_links import LoginLink
from hullwatch.storage.columns import UtcMoment
from hullwatch.storage.models import LoginLinkRow
from hullwatch.storage.rows import row_of, table_of, value_of
from hullwatch.storage.transaction import Transaction


class LoginLinks:
    """Satisfies `LoginLinkRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, value_hash: str, link: LoginLink) -> bool:
        """Store a link; False when its user has been removed."""
        row = row_of(LoginLinkRow, link, value_hash=value_hash)
        insert = self._transaction.insert_for_user(row, link.user_id)
        done = await self._transaction.execute(insert.returning(LoginLinkRow.value_hash))
        return done.first() is not None

    async def get(self, value_hash: str) -> LoginLink | None:
        """Return the link with this hash, or None."""
        row = await self._transaction.row(select(LoginLinkRow).where(LoginLinkRow.value_hash == value_hash))
        return None if row is None else value_of(LoginLink, row)

    async def use(self, value_hash: str, *, browser_hash: str, now: datetime) -> LoginLink | None:
        """Bind a link to this browser. One statement, so that one of two browsers gets it."""
        table = table_of(LoginLinkRow)
        taken = await self._transaction.execute(
            update(table)
            .where(
                table.c.value_hash == value_hash,
                table.c.expires_at > now,
                or_(table.c.browser_hash.is_(None), table.c.browser_hash == browser_hash),
            )
            .values(
                browser_hash=browser_hash, used_at=func.coalesce(table.c.used_at, literal(now, UtcMoment))
            )
            .returning(table)
        )
        row = taken.first()
        return None if row is None else value_of(LoginLink, row)

    async def count_open(self, user_id: str, *, requested_by: str, now: datetime) -> int:
        """Count the user's unexpired links of one requester."""
        query = (
            select(func.count())
            .select_from(LoginLinkRow)
            .where(
                LoginLinkRow.user_id == user_id,
                LoginLinkRow.requested_by == requested_by,
                LoginLinkRow.expires_at > now,
            )
        )
        return await self._transaction.row(query) or 0

    async def remove_of(self, user_id: str) -> None:
        """Remove all links of a user."""
        await self._transaction.execute(delete(LoginLinkRow).where(LoginLinkRow.user_id == user_id))

    async def purge(self, *, expired_before: datetime) -> None:
        """Remove links that expired before that."""
        await self._transaction.execute(delete(LoginLinkRow).where(LoginLinkRow.expires_at < expired_before))
