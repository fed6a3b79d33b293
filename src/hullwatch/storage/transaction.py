"""The statements of one transaction, each with a time limit and with its errors translated."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import BigInteger, CursorResult, Executable, Select, exists, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from hullwatch.storage.engine import answer_of
from hullwatch.storage.models import Base, UserRow
from hullwatch.storage.rows import table_of, values_of

T = TypeVar("T")
R = TypeVar("R")
Values = Sequence[dict[str, Any]]

REGISTRATION_LOCK = 0x68756C6C_0001
KEYS_LOCK = 0x68756C6C_0002
UPGRADE_LOCK = 0x68756C6C_0003
MAIL_CODES_LOCK = 0x68756C6C_0004
"""PostgreSQL advisory locks; the upper half spells the product and keeps them apart from others."""

# Rows that are read again in a transaction include the changes of its bulk statements.
_OPTIONS = {"populate_existing": True, "synchronize_session": False}


class Transaction:
    """Runs the statements of repositories."""

    def __init__(
        self,
        db_session: AsyncSession,
        *,
        is_postgresql: bool,
        limit_s: float,
        interrupt: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._db_session = db_session
        self._limit_s = limit_s
        self._interrupt = interrupt
        self.is_postgresql = is_postgresql
        self.has_deliveries = False
        """Whether deliveries were created."""

    async def rows(self, query: Select[T]) -> list[T]:
        """Return the first column, or the row object, of all rows."""
        return list(await self._answer_of(self._scalars(query)))

    async def row(self, query: Select[T]) -> T | None:
        """Return the first row, or None."""
        found = await self.rows(query)
        return found[0] if found else None

    async def execute(
        self, statement: Executable, values: Values | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run a statement, once for each of the values if there are any."""
        running = self._db_session.execute(statement, values, execution_options=_OPTIONS)
        return cast("CursorResult[*tuple[Any, ...]]", await self._answer_of(running))

    async def execute_many(self, statement: Executable, values: Values) -> None:
        """Run a statement with named parameters for each of the values, in one call to the driver."""
        if values:
            await self._answer_of(self._execute_many(statement, values))

    def insert(self, row: type[Base]) -> postgresql.Insert:
        """Return an INSERT with ON CONFLICT in the dialect of this database."""
        table = table_of(row)
        if self.is_postgresql:
            return postgresql.insert(table)
        # Both dialects have the same on_conflict methods, but SQLAlchemy gives them no common type.
        return cast("postgresql.Insert", sqlite.insert(table))

    def insert_row(self, row: Base) -> postgresql.Insert:
        """Return an INSERT of this row."""
        return self.insert(type(row)).values(values_of(row))

    def insert_for_user(self, row: Base, user_id: str) -> postgresql.Insert:
        """Return an INSERT of this row that does nothing when the user has been removed.

        A foreign key error would undo the whole transaction, with the rows of all other users.
        """
        columns = table_of(type(row)).columns
        values = values_of(row)
        constants = [literal(value, columns[name].type).label(name) for name, value in values.items()]
        of_user = select(*constants).where(exists().where(UserRow.id == user_id))
        return self.insert(type(row)).from_select(list(values), of_user)

    async def lock(self, number: int, *, shared: bool = False) -> None:
        """Hold a lock until the transaction ends; on SQLite a writer holds the only lock already."""
        if self.is_postgresql:
            take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
            await self.execute(select(take(literal(number, BigInteger))))

    async def _answer_of(self, operation: Coroutine[Any, Any, R]) -> R:
        return await answer_of(operation, limit_s=self._limit_s, interrupt=self._interrupt)

    async def _scalars(self, query: Select[T]) -> Sequence[T]:
        return (await self._db_session.execute(query, execution_options=_OPTIONS)).scalars().all()

    async def _execute_many(self, statement: Executable, values: Values) -> None:
        connection = await self._db_session.connection()
        await connection.execute(statement, values)
