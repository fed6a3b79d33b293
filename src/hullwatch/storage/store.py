"""The store of the services: units of work on one database. Satisfies `StorePort`."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.storage import StorageFault
from hullwatch.storage.check import StorageCheck
from hullwatch.storage.cipher import Cipher, installation_identity
from hullwatch.storage.engine import LIMIT_S, READ_ONLY, SQLITE_LOCK_WAIT_S, answer_of, open_engine
from hullwatch.storage.failures import KeysUnusable, Undecryptable
from hullwatch.storage.repositories.audit import Audit
from hullwatch.storage.repositories.installation import Installation
from hullwatch.storage.repositories.monitoring.symbol_outages import SymbolOutages
from hullwatch.storage.repositories.monitoring.watches import Watches
from hullwatch.storage.repositories.notifications.channels import Channels
from hullwatch.storage.repositories.notifications.incidents import Incidents
from hullwatch.storage.repositories.notifications.mail_codes import MailCodes
from hullwatch.storage.repositories.notifications.notifications import Notifications
from hullwatch.storage.repositories.notifications.outbox import Outbox
from hullwatch.storage.repositories.renewal.renewals import Renewals
from hullwatch.storage.repositories.sessions.call_paces import CallPaces
from hullwatch.storage.repositories.sessions.connections import Connections
from hullwatch.storage.repositories.sessions.login_links import LoginLinks
from hullwatch.storage.repositories.users.logins import Logins
from hullwatch.storage.repositories.users.password_resets import PasswordResets
from hullwatch.storage.repositories.users.users import Users
from hullwatch.storage.sealed import KEY_CHECK, KEY_CHECK_TEXT, SHARING_SALT
from hullwatch.storage.transaction import Transaction


class UnitOfWork:
    """One transaction. `commit` keeps it; leaving without `commit` undoes it."""

    def __init__(
        self,
        db_session: AsyncSession,
        transaction: Transaction,
        cipher: Cipher,
        limit_s: float,
        on_deliveries: Callable[[], None],
    ) -> None:
        self._db_session = db_session
        self._transaction = transaction
        self._on_deliveries = on_deliveries
        self._limit_s = limit_s
        self.users = Users(transaction)
        self.logins = Logins(transaction)
        self.password_resets = PasswordResets(transaction)
        self.connections = Connections(transaction, cipher)
        self.login_links = LoginLinks(transaction)
        self.call_paces = CallPaces(transaction)
        self.incidents = Incidents(transaction)
        self.renewals = Renewals(transaction, cipher)
        self.watches = Watches(transaction)
        self.symbol_outages = SymbolOutages(transaction)
        self.notifications = Notifications(transaction)
        self.channels = Channels(transaction, cipher)
        self.mail_codes = MailCodes(transaction)
        self.outbox = Outbox(transaction, cipher)
        self.audit = Audit(transaction)
        self.installation = Installation(transaction)

    async def commit(self) -> None:
        """Keep everything; it is on the disk when this returns.

        A cancelled caller waits until a started commit has finished, so that its result is never unknown.

        Raises:
            StorageUnavailable: Nothing was kept, unless the connection broke while the database was confirming.
        """
        await answer_of(self._db_session.commit(), limit_s=self._limit_s)
        if self._transaction.has_deliveries:
            self._on_deliveries()


class Store:
    """Opens units of work; connects when the first one is opened."""

    def __init__(
        self,
        url: str,
        cipher: Cipher,
        *,
        pool_size: int = 5,
        limit_s: float = LIMIT_S,
        lock_wait_s: float = SQLITE_LOCK_WAIT_S,
    ) -> None:
        self._engine = open_engine(url, pool_size=pool_size, limit_s=limit_s, lock_wait_s=lock_wait_s)
        self._check = StorageCheck(url)
        self._cipher = cipher
        self._limit_s = limit_s
        self._is_postgresql = self._engine.dialect.name == "postgresql"
        # SQLite allows one writer and makes the others poll. This lock is fair and wakes the next writer at once.
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task[object] | None = None
        self._on_deliveries: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work. A `read_only` one waits for no writer, and the database refuses its writes.

        Raises:
            StorageUnavailable: The database does not answer, or another process locks it too long.
        """
        if self._is_postgresql or read_only:
            async with self._open(read_only=read_only) as work:
                yield work
            return
        await self._acquire_write_lock()
        try:
            async with self._open(read_only=False) as work:
                yield work
        finally:
            self._writer = None
            self._write_lock.release()

    def on_deliveries(self, callback: Callable[[], None]) -> None:
        """Call this after each commit that created deliveries."""
        self._on_deliveries = callback

    async def check(self, now: datetime) -> StorageFault | None:
        """Write and read; return why that fails, within `CHECK_LIMIT_S`, or `None`."""
        return await self._check.run(now)

    async def check_keys(self) -> None:
        """Check that the keys fit the database; store the encrypted key check in a new one.

        Raises:
            KeysUnusable: They do not fit.
            StorageUnavailable: The database does not answer.
        """
        async with self.begin() as work:
            sealed = await work.installation.value(KEY_CHECK)
            if sealed is None:
                await work.installation.put(
                    KEY_CHECK, self._cipher.seal(KEY_CHECK_TEXT, installation_identity(KEY_CHECK))
                )
                await work.commit()
                return
        try:
            self._cipher.open(sealed, installation_identity(KEY_CHECK))
        except Undecryptable:
            raise KeysUnusable(
                "The encryption keys do not fit this database: restore its key file. If it is lost, run hullwatch keys "
                "rotate; all users then log in at Fyers again."
            ) from None

    async def sharing_salt(self) -> SecretText:
        """Return the salt of the hashed names that processes share; the first caller creates it.

        Raises:
            KeysUnusable: It was encrypted with another key.
            StorageUnavailable: The database does not answer.
        """
        row_identity = installation_identity(SHARING_SALT)
        async with self.begin() as work:
            if await work.installation.value(SHARING_SALT) is None:
                await work.installation.put(
                    SHARING_SALT, self._cipher.seal(secrets.token_hex(32), row_identity)
                )
                await work.commit()
        async with self.begin(read_only=True) as work:  # another process can have stored its salt first
            sealed = await work.installation.value(SHARING_SALT)
        try:
            return SecretText(self._cipher.open(sealed or "", row_identity))
        except Undecryptable:
            raise KeysUnusable("The encryption keys do not fit this database.") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._check.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _open(self, *, read_only: bool) -> AsyncIterator[UnitOfWork]:
        options = {READ_ONLY: True, "postgresql_readonly": True} if read_only else {}
        db_session = AsyncSession(self._engine, expire_on_commit=False, autoflush=False)
        try:
            interrupt = await answer_of(self._begin(db_session, options), limit_s=self._limit_s)
            transaction = Transaction(
                db_session, is_postgresql=self._is_postgresql, limit_s=self._limit_s, interrupt=interrupt
            )
            yield UnitOfWork(db_session, transaction, self._cipher, self._limit_s, self._on_deliveries)
        finally:
            try:
                await answer_of(db_session.close(), limit_s=self._limit_s)
            except StorageUnavailable:  # the earlier error counts; this connection is not used again
                await answer_of(db_session.invalidate(), limit_s=self._limit_s)

    async def _begin(
        self, db_session: AsyncSession, options: dict[str, Any]
    ) -> Callable[[], Awaitable[None]] | None:
        """Connect and begin; return the function that interrupts a running statement on SQLite."""
        connection = await db_session.connection(execution_options=options)
        if self._is_postgresql:
            return None  # asyncpg has its own time limit
        driver_connection: Any = (await connection.get_raw_connection()).driver_connection
        return cast("Callable[[], Awaitable[None]]", driver_connection.interrupt)

    async def _acquire_write_lock(self) -> None:
        if self._writer is not None and self._writer is asyncio.current_task():
            raise RuntimeError("this task already has an open unit of work: SQLite would wait for it forever")
        try:
            async with asyncio.timeout(self._limit_s):
                await self._write_lock.acquire()
        except TimeoutError:
            raise StorageUnavailable("The database is busy. Nothing was changed; please try again.") from None
        self._writer = asyncio.current_task()
