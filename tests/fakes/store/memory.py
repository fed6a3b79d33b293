"""The store and its units of work."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fakes.store.audit import Audit, Incidents
from fakes.store.monitoring import SymbolOutages, Watches
from fakes.store.notifications import Channels, MailCodes, Notifications
from fakes.store.outbox import Outbox
from fakes.store.sessions import CallPaces, Connections, LoginLinks, Renewals
from fakes.store.tables import Tables
from fakes.store.users import Logins, PasswordResets, Users
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.notifications import DeliveryState
from hullwatch.domain.storage import StorageFault


class FakeUnitOfWork:
    """One transaction on a copy of the tables; `commit` puts the copy in place."""

    def __init__(self, store: "FakeStore") -> None:
        self._store = store
        self.tables = store.tables.copy()
        self.users = Users(self.tables)
        self.logins = Logins(self.tables)
        self.password_resets = PasswordResets(self.tables)
        self.connections = Connections(self.tables)
        self.login_links = LoginLinks(self.tables)
        self.renewals = Renewals(self.tables)
        self.call_paces = CallPaces(self.tables)
        self.watches = Watches(self.tables)
        self.symbol_outages = SymbolOutages(self.tables)
        self.notifications = Notifications(self.tables)
        self.channels = Channels(self.tables)
        self.mail_codes = MailCodes(self.tables)
        self.outbox = Outbox(self.tables)
        self.audit = Audit(self.tables)
        self.incidents = Incidents(self.tables)

    async def commit(self) -> None:
        """Keep everything."""
        self._store.refuse_if_down()
        known = self._store.tables.deliveries
        has_deliveries = any(
            one.state is DeliveryState.WAITING and one.attempts == 0 and known.get(one.id) != one
            for one in self.tables.deliveries.values()
        )
        self._store.tables = self.tables.copy()
        self._store.commits += 1
        if has_deliveries:
            self._store.ring()


class FakeStore:
    """The database, in memory. It refuses everything while `is_down` is set, because of `fault`; `commits` counts commits."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.commits = 0
        self.is_down = False
        self.fault = StorageFault.NO_RESPONSE
        self.checks = 0
        self.ring: Callable[[], None] = lambda: None
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task | None = None

    @asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[FakeUnitOfWork]:
        """Open a unit of work; only one may write at a time."""
        if read_only:
            self.refuse_if_down()
            yield FakeUnitOfWork(self)
            return
        if self._writer is not None and self._writer is asyncio.current_task():
            raise RuntimeError("this task has a unit of work open already")
        async with self._write_lock:
            self.refuse_if_down()
            self._writer = asyncio.current_task()
            try:
                yield FakeUnitOfWork(self)
            finally:
                self._writer = None

    def on_deliveries(self, callback: Callable[[], None]) -> None:
        """Call this after each commit that created deliveries."""
        self.ring = callback

    async def check(self, now: datetime) -> StorageFault | None:
        """Return a fault while the store is down."""
        self.checks += 1
        return self.fault if self.is_down else None

    async def close(self) -> None:
        """Nothing is open."""

    def refuse_if_down(self) -> None:
        """Refuse while the store is down."""
        if self.is_down:
            raise StorageUnavailable("The database does not answer at the moment.")
