"""Browser logins, API tokens and invites, by the hashes of their values."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, update

from hullwatch.domain.users.accounts import ApiToken, BrowserSession, Role, ValidLogins
from hullwatch.storage.models import ApiTokenRow, BrowserLoginRow, InviteRow, PendingLoginRow, UserRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import Transaction


class Logins:
    """Satisfies `LoginRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add_browser(
        self, value_hash: str, user_id: str, *, created_at: datetime, expires_at: datetime
    ) -> None:
        """Store a browser's login."""
        row = BrowserLoginRow(
            value_hash=value_hash, user_id=user_id, created_at=created_at, expires_at=expires_at
        )
        await self._transaction.execute(self._transaction.insert_row(row))

    async def browser_user(self, value_hash: str, *, now: datetime) -> str | None:
        """Return the id of the user whose unexpired browser login this is."""
        return await self._transaction.row(
            select(BrowserLoginRow.user_id).where(
                BrowserLoginRow.value_hash == value_hash, BrowserLoginRow.expires_at > now
            )
        )

    async def valid_of(self, user_ids: Collection[str], *, now: datetime) -> dict[str, ValidLogins]:
        """Return what these users may use now; one who does not exist is left out."""
        wanted = sorted(user_ids)
        users = await self._transaction.execute(
            select(UserRow.id, UserRow.role).where(UserRow.id.in_(wanted))
        )
        hashes: defaultdict[str, set[str]] = defaultdict(set)
        for query in (
            select(BrowserLoginRow.user_id, BrowserLoginRow.value_hash).where(
                BrowserLoginRow.expires_at > now
            ),
            select(ApiTokenRow.user_id, ApiTokenRow.value_hash),
        ):
            user_id = query.selected_columns[0]
            for owner, value_hash in await self._transaction.execute(query.where(user_id.in_(wanted))):
                hashes[owner].add(value_hash)
        return {
            user_id: ValidLogins(Role(role), frozenset(hashes.get(user_id, ()))) for user_id, role in users
        }

    async def browsers_of(self, user_id: str, *, now: datetime) -> list[BrowserSession]:
        """Return a user's unexpired browser logins, newest first."""
        query = select(BrowserLoginRow).where(
            BrowserLoginRow.user_id == user_id, BrowserLoginRow.expires_at > now
        )
        newest = query.order_by(BrowserLoginRow.created_at.desc(), BrowserLoginRow.value_hash)
        return [value_of(BrowserSession, row) for row in await self._transaction.rows(newest)]

    async def remove_browser(self, value_hash: str) -> None:
        """Remove one browser's login."""
        await self._transaction.execute(
            delete(BrowserLoginRow).where(BrowserLoginRow.value_hash == value_hash)
        )

    async def remove_browsers_of(self, user_id: str) -> None:
        """Remove all browser logins of a user."""
        await self._transaction.execute(delete(BrowserLoginRow).where(BrowserLoginRow.user_id == user_id))

    async def purge(self, *, now: datetime) -> None:
        """Remove expired browser logins, pending logins and invites."""
        await self._transaction.execute(delete(BrowserLoginRow).where(BrowserLoginRow.expires_at <= now))
        await self._transaction.execute(delete(PendingLoginRow).where(PendingLoginRow.expires_at <= now))
        await self._transaction.execute(delete(InviteRow).where(InviteRow.expires_at <= now))

    async def add_invite(self, value_hash: str, *, created_by: str, expires_at: datetime) -> None:
        """Store an invite."""
        row = InviteRow(value_hash=value_hash, created_by=created_by, expires_at=expires_at)
        await self._transaction.execute(self._transaction.insert_row(row))

    async def has_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Whether the invite is valid."""
        query = select(InviteRow.value_hash).where(
            InviteRow.value_hash == value_hash, InviteRow.expires_at > now
        )
        return await self._transaction.row(query) is not None

    async def take_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Remove an invite; False unless it was valid. One statement, so that it is used once."""
        done = await self._transaction.execute(
            delete(InviteRow).where(InviteRow.value_hash == value_hash).returning(InviteRow.expires_at)
        )
        taken = done.first()
        return taken is not None and taken[0] > now

    async def add_token(self, token: ApiToken, value_hash: str) -> None:
        """Store an API token."""
        row = row_of(ApiTokenRow, token, value_hash=value_hash)
        await self._transaction.execute(self._transaction.insert_row(row))

    async def token_by_hash(self, value_hash: str) -> ApiToken | None:
        """Return the API token with this hash, or None."""
        row = await self._transaction.row(select(ApiTokenRow).where(ApiTokenRow.value_hash == value_hash))
        return None if row is None else value_of(ApiToken, row)

    async def touch_token(self, token_id: str, *, used_at: datetime) -> None:
        """Store when a token was last used."""
        await self._transaction.execute(
            update(ApiTokenRow).where(ApiTokenRow.id == token_id).values(last_used_at=used_at)
        )

    async def tokens_of(self, user_id: str) -> list[ApiToken]:
        """Return a user's tokens, oldest first."""
        query = select(ApiTokenRow).where(ApiTokenRow.user_id == user_id)
        rows = await self._transaction.rows(query.order_by(ApiTokenRow.created_at, ApiTokenRow.id))
        return [value_of(ApiToken, row) for row in rows]

    async def remove_token(self, user_id: str, token_id: str) -> bool:
        """Remove it; False when the user has no such token."""
        done = await self._transaction.execute(
            delete(ApiTokenRow)
            .where(ApiTokenRow.id == token_id, ApiTokenRow.user_id == user_id)
            .returning(ApiTokenRow.id)
        )
        return done.first() is not None
