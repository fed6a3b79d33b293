"""Users and their password hashes."""

from sqlalchemy import delete, func, select, update

from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.users.accounts import Role, User
from hullwatch.storage.models import UserRow
from hullwatch.storage.rows import row_of, value_of
from hullwatch.storage.transaction import REGISTRATION_LOCK, Transaction


class Users:
    """Satisfies `UserRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def lock_registration(self) -> None:
        """Lock registration until the transaction ends, so that two users cannot both become the first."""
        await self._transaction.lock(REGISTRATION_LOCK)

    async def add(self, user: User, password_hash: str) -> None:
        """Store a user; raises `AlreadyExists` when the e-mail address is taken."""
        insert = self._transaction.insert_row(row_of(UserRow, user, password_hash=password_hash))
        done = await self._transaction.execute(insert.on_conflict_do_nothing().returning(UserRow.id))
        if done.first() is None:
            raise AlreadyExists("An account with this e-mail address exists already.")

    async def get(self, user_id: str) -> User | None:
        """Return the user, or None."""
        row = await self._transaction.row(select(UserRow).where(UserRow.id == user_id))
        return None if row is None else value_of(User, row)

    async def by_email(self, email: str) -> tuple[User, str] | None:
        """Return the user and the password hash."""
        row = await self._transaction.row(select(UserRow).where(UserRow.email == email))
        return None if row is None else (value_of(User, row), row.password_hash)

    async def password_hash(self, user_id: str) -> str | None:
        """Return the user's password hash, or None without such a user."""
        return await self._transaction.row(select(UserRow.password_hash).where(UserRow.id == user_id))

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """Change it; nothing happens without such a user."""
        await self._transaction.execute(
            update(UserRow).where(UserRow.id == user_id).values(password_hash=password_hash)
        )

    async def set_role(self, user_id: str, role: Role) -> None:
        """Change it; nothing happens without such a user."""
        await self._transaction.execute(update(UserRow).where(UserRow.id == user_id).values(role=role))

    async def set_full_name(self, user_id: str, full_name: str) -> None:
        """Change it; nothing happens without such a user."""
        await self._transaction.execute(
            update(UserRow).where(UserRow.id == user_id).values(full_name=full_name)
        )

    async def list_all(self) -> list[User]:
        """Return all users, oldest first."""
        query = select(UserRow).order_by(UserRow.created_at, UserRow.id)
        return [value_of(User, row) for row in await self._transaction.rows(query)]

    async def count(self) -> int:
        """Return how many users there are."""
        return await self._transaction.row(select(func.count()).select_from(UserRow)) or 0

    async def remove(self, user_id: str) -> None:
        """Remove the user and, by foreign keys, all rows of the user; the audit trail stays."""
        await self._transaction.execute(delete(UserRow).where(UserRow.id == user_id))
