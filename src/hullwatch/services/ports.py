"""What the services need from outside, as Protocols. Adapters in ``fyers/`` and ``storage/`` fit them by shape.

Storage is reached through a unit of work: ``async with store.begin() as work`` opens one transaction; it is kept by `commit()` and undone by
leaving without it. Every storage method may raise `StorageUnavailable`, after which nothing of the unit of work was kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

from hullwatch.domain.accounts import ApiToken, FyersApp, PendingLogin, Role, User
from hullwatch.domain.candles import Arranged
from hullwatch.domain.connection import Connection, Credential
from hullwatch.domain.events import AuditEntry
from hullwatch.domain.failures import BrokerResult
from hullwatch.domain.instruments import Instrument, Resolution, Symbol
from hullwatch.domain.notifications import Notification, NotificationKind
from hullwatch.domain.quotes import Quote
from hullwatch.domain.secrets import AccessToken, AuthCode
from hullwatch.domain.signals import Signal
from hullwatch.domain.watches import MonitoringWish, Watch


class BrokerPort(Protocol):
    """Fyers, as far as hullwatch needs it. No method raises for anything that Fyers or the network does."""

    quotes_per_call: int
    """How many symbols one quotes call may name (Fyers: 50)."""

    def history_span(self, resolution: Resolution) -> timedelta:
        """Return the longest range one history call may ask for (Fyers: 100 days of minutes, 366 days of days)."""
        ...

    def login_url(self, app: FyersApp, state: str) -> str:
        """Return the address of Fyers' login page."""
        ...

    async def exchange_auth_code(self, app: FyersApp, auth_code: AuthCode) -> BrokerResult[AccessToken]:
        """Exchange an auth code, which is good once."""
        ...

    async def profile_id(self, credential: Credential) -> BrokerResult[str]:
        """Return the Fyers id that the token belongs to, from ``/profile``."""
        ...

    async def check_trading(self, credential: Credential) -> BrokerResult[None]:
        """Make the lightest call that the trading service checks the token for."""
        ...

    async def check_data(self, credential: Credential) -> BrokerResult[None]:
        """Make the lightest call that the data service checks the token for."""
        ...

    async def is_market_open(self, credential: Credential) -> BrokerResult[bool]:
        """Return whether Fyers calls the NSE cash market open."""
        ...

    async def quotes(
        self, credential: Credential, symbols: Sequence[Symbol]
    ) -> BrokerResult[tuple[Quote, ...]]:
        """Return quotes for at most `quotes_per_call` symbols; a symbol that Fyers cannot quote is absent."""
        ...

    async def candles(
        self,
        credential: Credential,
        symbol: Symbol,
        resolution: Resolution,
        *,
        start: datetime,
        end: datetime,
    ) -> BrokerResult[Arranged]:
        """Return candles that open in [start, end], the forming one included, within `history_span`."""
        ...

    async def sign_out(self, credential: Credential) -> BrokerResult[None]:
        """End the session at Fyers."""
        ...

    async def instruments(self) -> BrokerResult[tuple[Instrument, ...]]:
        """Return the instruments of the NSE and BSE cash markets from Fyers' public symbol masters."""
        ...


class UserRepository(Protocol):
    """Users and their password hashes."""

    async def add(self, user: User, password_hash: str) -> None:
        """Store a user; raises `AlreadyExists` when the e-mail address is taken."""
        ...

    async def get(self, user_id: str) -> User | None: ...
    async def by_email(self, email: str) -> tuple[User, str] | None:
        """Return the user and the password hash."""
        ...

    async def password_hash(self, user_id: str) -> str | None: ...
    async def set_password_hash(self, user_id: str, password_hash: str) -> None: ...
    async def set_role(self, user_id: str, role: Role) -> None: ...
    async def set_full_name(self, user_id: str, full_name: str) -> None: ...
    async def list_all(self) -> list[User]:
        """Return all users, oldest first."""
        ...

    async def lock_registration(self) -> None:
        """Let no other registration begin until this unit of work ends; to be called before `count` decides who becomes admin."""
        ...

    async def count(self) -> int: ...
    async def remove(self, user_id: str) -> None:
        """Remove the user with everything that is the user's own; the audit trail stays."""
        ...


class LoginRepository(Protocol):
    """Browser logins, API tokens and invites: only hashes of their values."""

    async def add_browser(
        self, value_hash: str, user_id: str, *, created_at: datetime, expires_at: datetime
    ) -> None: ...
    async def browser_user(self, value_hash: str, *, now: datetime) -> str | None:
        """Return the id of the user whose unexpired browser login this is."""
        ...

    async def remove_browser(self, value_hash: str) -> None: ...
    async def remove_browsers_of(self, user_id: str) -> None: ...
    async def purge(self, *, now: datetime) -> None:
        """Remove expired browser logins, pending logins and invites."""
        ...

    async def add_invite(self, value_hash: str, *, created_by: str, expires_at: datetime) -> None: ...
    async def take_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Remove it; False unless it existed and had not ended: an invite is good once, even for two callers at the same moment."""
        ...

    async def add_token(self, token: ApiToken, value_hash: str) -> None: ...
    async def token_by_hash(self, value_hash: str) -> ApiToken | None: ...
    async def touch_token(self, token_id: str, *, used_at: datetime) -> None: ...
    async def tokens_of(self, user_id: str) -> list[ApiToken]: ...
    async def remove_token(self, user_id: str, token_id: str) -> bool:
        """Remove it; False when the user has no such token."""
        ...


class ConnectionRepository(Protocol):
    """Connections, their access tokens and Fyers apps; tokens and secrets are encrypted and bound to their row."""

    async def get(self, user_id: str) -> Connection | None: ...
    async def list_all(self) -> list[Connection]: ...
    async def save(self, connection: Connection) -> bool:
        """Store it unless a newer generation is stored already (then False). A connection without a session loses its token."""
        ...

    async def save_observed(self, connections: Sequence[Connection]) -> None:
        """Store what was observed of many sessions, in one call; one that ended or was followed by another meanwhile is left as it is."""
        ...

    async def save_login(self, connection: Connection, token: AccessToken) -> bool:
        """Store a new generation with its token; False when that generation or a newer one is stored already."""
        ...

    async def token(self, user_id: str, generation: int) -> AccessToken | None: ...
    async def tokens(self) -> dict[str, tuple[int, AccessToken]]:
        """Return user id → (generation, token) of all stored tokens; one that cannot be decrypted is left out."""
        ...

    async def app(self, user_id: str) -> FyersApp | None: ...
    async def put_app(self, user_id: str, app: FyersApp) -> None: ...
    async def remove_app(self, user_id: str) -> None: ...
    async def add_pending(self, state_hash: str, pending: PendingLogin) -> None: ...
    async def take_pending(self, state_hash: str) -> PendingLogin | None:
        """Remove and return it: a `state` is good once, even for two callers at the same moment."""
        ...


class WatchRepository(Protocol):
    """Watchlists, monitoring wishes and signals."""

    async def add(self, watch: Watch) -> None:
        """Store a watch; raises `AlreadyExists` for the same symbol, resolution, period and rule."""
        ...

    async def get(self, user_id: str, watch_id: str) -> Watch | None: ...
    async def of_user(self, user_id: str) -> list[Watch]: ...
    async def list_all(self) -> list[Watch]: ...
    async def update(self, watch: Watch) -> None: ...
    async def remove(self, user_id: str, watch_id: str) -> bool: ...
    async def advance(self, evaluated_through: Mapping[str, datetime]) -> None:
        """Move watches' `evaluated_through` forward, watch id → moment, in one statement; never backwards."""
        ...

    async def wishes(self) -> list[MonitoringWish]: ...
    async def wish(self, user_id: str) -> MonitoringWish | None: ...
    async def put_wish(self, wish: MonitoringWish) -> None: ...
    async def add_signals(self, signals: Sequence[Signal]) -> list[Signal]:
        """Store signals and return those that were not stored before: one per watch, candle, rule and resolution."""
        ...

    async def signals(
        self,
        user_id: str,
        *,
        symbol: Symbol | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[Signal]:
        """Return a user's signals, newest candle first."""
        ...

    async def count_signals(self, *, since: datetime, before: datetime) -> dict[str, tuple[int, int]]:
        """Return user id → signals in time and signals late whose candle opened in [since, before), in one statement."""
        ...

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal, in one statement."""
        ...


class NotificationRepository(Protocol):
    """Stored notifications."""

    async def add(self, notification: Notification) -> bool:
        """Store it; False when one of this kind exists for the user's incident already."""
        ...

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        ...

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool: ...
    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return who has a channel that is on and carries notices of this kind."""
        ...


class AuditRepository(Protocol):
    """The audit trail: appended, never changed."""

    async def add(self, entries: Iterable[AuditEntry]) -> None: ...
    async def entries(
        self,
        *,
        user_id: str | None = None,
        kind_prefix: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 200,
    ) -> list[AuditEntry]:
        """Return newest first."""
        ...

    async def latest_by_user(
        self, *, kind_prefix: str, before: datetime | None = None
    ) -> dict[str, AuditEntry]:
        """Return user id → that user's newest entry whose kind begins so, from before a moment if one is given, in one statement."""
        ...

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of exactly this kind from [since, before), one user's or everybody's, oldest first."""
        ...

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server's own life from `since` on and the last one before, oldest first."""
        ...

    async def beat(self, at: datetime) -> None:
        """Remember that the server ran at this moment, in place of the last one."""
        ...

    async def last_beat(self) -> datetime | None:
        """Return when the server was last known to run, or `None` before the first time."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Properties, so that an adapter may have repositories of its own types."""

    @property
    def users(self) -> UserRepository: ...
    @property
    def logins(self) -> LoginRepository: ...
    @property
    def connections(self) -> ConnectionRepository: ...
    @property
    def watches(self) -> WatchRepository: ...
    @property
    def notifications(self) -> NotificationRepository: ...
    @property
    def audit(self) -> AuditRepository: ...
    async def commit(self) -> None: ...


class StorePort(Protocol):
    """The database."""

    def begin(self, *, read_only: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work; one that is `read_only` waits for no writer. A task that has one open to write must not open a second."""
        ...

    async def ping(self) -> None:
        """Raise `StorageUnavailable` unless the database answers."""
        ...
