"""Units of work on the database, and the repositories in each.

``async with store.begin() as work`` opens one transaction. `commit()` keeps it; leaving without it undoes it. Every method of a repository
can raise `StorageUnavailable`, after which nothing of the unit of work is kept.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from hullwatch.domain.storage import StorageFault
from hullwatch.services.ports.audit import AuditRepository, IncidentRepository
from hullwatch.services.ports.monitoring import SymbolOutageRepository, WatchRepository
from hullwatch.services.ports.notifications import (
    ChannelRepository,
    MailCodeRepository,
    NotificationRepository,
    OutboxRepository,
)
from hullwatch.services.ports.renewal import RenewalRepository
from hullwatch.services.ports.sessions import CallPaceRepository, ConnectionRepository, LoginLinkRepository
from hullwatch.services.ports.users import LoginRepository, PasswordResetRepository, UserRepository


class UnitOfWork(Protocol):
    """One transaction. Properties, so that an adapter can have repositories of its own types."""

    @property
    def users(self) -> UserRepository: ...
    @property
    def logins(self) -> LoginRepository: ...
    @property
    def password_resets(self) -> PasswordResetRepository: ...
    @property
    def connections(self) -> ConnectionRepository: ...
    @property
    def login_links(self) -> LoginLinkRepository: ...
    @property
    def call_paces(self) -> CallPaceRepository: ...
    @property
    def renewals(self) -> RenewalRepository: ...
    @property
    def watches(self) -> WatchRepository: ...
    @property
    def symbol_outages(self) -> SymbolOutageRepository: ...
    @property
    def notifications(self) -> NotificationRepository: ...
    @property
    def channels(self) -> ChannelRepository: ...
    @property
    def mail_codes(self) -> MailCodeRepository: ...
    @property
    def outbox(self) -> OutboxRepository: ...
    @property
    def audit(self) -> AuditRepository: ...
    @property
    def incidents(self) -> IncidentRepository: ...
    async def commit(self) -> None: ...


class StorePort(Protocol):
    """The database."""

    def begin(self, *, read_only: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work. A `read_only` one waits for no writer. A task must not open two that write."""
        ...

    def on_deliveries(self, callback: Callable[[], None]) -> None:
        """Call this after each commit that created deliveries."""
        ...

    async def check(self, now: datetime) -> StorageFault | None:
        """Write and read; return why that fails, within a few real seconds, or `None`."""
        ...
