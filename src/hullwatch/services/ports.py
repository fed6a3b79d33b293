"""What the services need from outside, as Protocols. Adapters in ``fyers/`` and ``storage/`` fit them by shape.

Storage is reached through a unit of work: ``async with store.begin() as work`` opens one transaction; it is kept by `commit()` and undone by
leaving without it. Every storage method may raise `StorageUnavailable`, after which nothing of the unit of work was kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

from hullwatch.domain.accounts import ApiToken, FyersApp, PendingLogin, Role, User
from hullwatch.domain.candles import Arranged
from hullwatch.domain.channels import (
    Channel,
    ChannelHealth,
    Claimed,
    ClaimWish,
    Delivery,
    DeliveryResult,
    Destination,
    Message,
    SendOutcome,
    SetAside,
)
from hullwatch.domain.connection import Connection, Credential
from hullwatch.domain.events import AuditEntry
from hullwatch.domain.failures import BrokerResult
from hullwatch.domain.incidents import Incident
from hullwatch.domain.instruments import Instrument, Resolution, Symbol
from hullwatch.domain.login_links import LoginLink
from hullwatch.domain.notifications import ChannelKind, Notification, NotificationKind
from hullwatch.domain.quotes import Quote
from hullwatch.domain.renewal import Renewal, RenewalKeys
from hullwatch.domain.renewal_outcomes import RenewalOutcome
from hullwatch.domain.secrets import AccessToken, AuthCode, Pin, RefreshToken, SecretText
from hullwatch.domain.shared_checks import SharedAnswer, SharingReport, Turn
from hullwatch.domain.signals import Signal
from hullwatch.domain.tokens import FreshLogin
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

    async def exchange_auth_code(self, app: FyersApp, auth_code: AuthCode) -> BrokerResult[FreshLogin]:
        """Exchange an auth code, which is good once."""
        ...

    async def renew_access_token(
        self, app: FyersApp, refresh_token: RefreshToken, pin: Pin
    ) -> BrokerResult[AccessToken]:
        """Ask for a new session with a refresh token and its owner's PIN; sent once, whatever comes of it."""
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


class LoginLinkRepository(Protocol):
    """Login links, by the hashes of their values."""

    async def add(self, value_hash: str, link: LoginLink) -> bool:
        """Store it; False when its user has been removed."""
        ...

    async def get(self, value_hash: str) -> LoginLink | None: ...
    async def take(self, value_hash: str, *, browser_hash: str, now: datetime) -> LoginLink | None:
        """Take it for this browser; None when it is unknown, has expired, or another browser was first, even at the same moment."""
        ...

    async def count_open(self, user_id: str, *, asked_by: str, now: datetime) -> int:
        """Count the user's links that somebody asked for and that have not expired."""
        ...

    async def purge(self, *, ended_before: datetime) -> None:
        """Remove links that expired before that."""
        ...


class RenewalRepository(Protocol):
    """Who wants sessions renewed, and what with: PIN and refresh token are encrypted and bound to their row."""

    async def get(self, user_id: str) -> Renewal | None: ...
    async def list_all(self) -> list[Renewal]:
        """Return all, by user id."""
        ...

    async def opt_in(self, user_id: str, pin: Pin, *, at: datetime) -> bool:
        """Store the consent, or the new PIN of one who consented before; False when the user has been removed."""
        ...

    async def keep_token(
        self,
        user_id: str,
        token: RefreshToken | None,
        *,
        app_id: str,
        generation: int,
        ends_at: datetime | None,
    ) -> bool:
        """Store the refresh token that a login brought in place of the last one; False when the user has not opted in."""
        ...

    async def drop_token(self, user_id: str, *, generation: int | None) -> None:
        """Remove the refresh token that this login brought; a newer login's stays."""
        ...

    async def keys(self, user_id: str) -> RenewalKeys | None:
        """Return PIN and refresh token; None when one is missing or cannot be decrypted."""
        ...

    async def note_try(self, user_id: str, *, generation: int, at: datetime, outcome: RenewalOutcome) -> bool:
        """Store how the last try stands; False when the user has not opted in."""
        ...

    async def remove(self, user_id: str) -> bool:
        """Remove the consent with both secrets; False when there was none."""
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

    async def count_signals(
        self, user_ids: Sequence[str], *, since: datetime, before: datetime
    ) -> dict[str, tuple[int, int]]:
        """Return user id → these users' signals in time and late whose candle opened in [since, before), in one statement; who has none is left out."""
        ...

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal, in one statement."""
        ...


class NotificationRepository(Protocol):
    """Stored notifications. Storing one puts it into the outbox too, once for each channel of its user that carries its kind."""

    async def add(self, notification: Notification) -> bool:
        """Store it; False when one of this kind exists for the user's incident already."""
        ...

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store those that some channel of their user carries, and return those that were not stored before."""
        ...

    async def is_told(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether the user has had a notice of this kind about the incident."""
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

    async def users_told(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notification of this kind about an incident that many share."""
        ...


class ChannelRepository(Protocol):
    """Users' channels; where they lead is encrypted and bound to the row."""

    async def lock(self, user_id: str) -> None:
        """Let no other unit of work add a channel for the user until this one ends; to be called before counting them."""
        ...

    async def add(self, channel: Channel, destination: Destination) -> None: ...
    async def get(self, user_id: str, channel_id: str) -> Channel | None: ...
    async def of_user(self, user_id: str) -> list[Channel]:
        """Return oldest first."""
        ...

    async def update(self, channel: Channel) -> None:
        """Store its label, its kinds and whether it is on; one that is turned off loses what waits for it."""
        ...

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove it with its deliveries; False when the user has no such channel."""
        ...


class OutboxRepository(Protocol):
    """The outbox: one delivery per notice and channel."""

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Put a stored notice into the outbox for this one channel, whatever kinds it carries."""
        ...

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether anything could be claimed."""
        ...

    async def claim(self, wish: ClaimWish, *, now: datetime, until: datetime) -> list[Claimed]:
        """Take on what is due, in turns between channels; nobody else gets it before `until`."""
        ...

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store how attempts ended, and channel id → how it does now; what was removed meanwhile is passed over."""
        ...

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return newest first."""
        ...

    async def set_aside(self, *, limit: int = 200) -> list[SetAside]:
        """Return what could not be delivered, except tests, newest first."""
        ...

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Let one that was set aside wait again, at once and as if new; False when there is none."""
        ...

    async def discard(self, delivery_id: str) -> bool:
        """Remove one that was set aside; False when there is none."""
        ...

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove old deliveries, and old notices that were read and wait on no channel: at most so many of each; return how many."""
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


class IncidentRepository(Protocol):
    """What is wrong with the server at present; one open incident a subject."""

    async def all_open(self) -> list[Incident]:
        """Return all, by subject."""
        ...

    async def get(self, subject: str) -> Incident | None: ...
    async def begin(self, incident: Incident) -> Incident:
        """Store it, unless one about its subject is open; return the one that is."""
        ...

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Note that it still was wrong at this moment; never backwards."""
        ...

    async def tell(self, subject: str, *, at: datetime) -> bool:
        """Note that operators are told; False when they have been, even by another process at the same moment."""
        ...

    async def end(self, incident_id: str) -> bool:
        """Remove it; False when it has ended already, even by another process at the same moment."""
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
    def login_links(self) -> LoginLinkRepository: ...
    @property
    def renewals(self) -> RenewalRepository: ...
    @property
    def watches(self) -> WatchRepository: ...
    @property
    def notifications(self) -> NotificationRepository: ...
    @property
    def channels(self) -> ChannelRepository: ...
    @property
    def outbox(self) -> OutboxRepository: ...
    @property
    def audit(self) -> AuditRepository: ...
    @property
    def incidents(self) -> IncidentRepository: ...
    async def commit(self) -> None: ...


class LinkMaker(Protocol):
    """Makes the login links that notices carry; satisfied by `LoginLinkService`."""

    async def link_for(self, user_id: str, *, asked_by: str = "hullwatch") -> SecretText | None:
        """Return the address of a new link, or `None` when none makes sense: the session lives on, nothing is linked, the user is gone.

        Raises:
            StorageUnavailable: none was made.
        """
        ...


class StorePort(Protocol):
    """The database."""

    def begin(self, *, read_only: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work; one that is `read_only` waits for no writer. A task that has one open to write must not open a second."""
        ...

    def on_deliveries(self, callback: Callable[[], None]) -> None:
        """Have this called whenever a unit of work was kept that put something into the outbox."""
        ...

    async def ping(self) -> None:
        """Raise `StorageUnavailable` unless the database answers."""
        ...


class SharedChecks(Protocol):
    """Confirmations of sessions that several processes share, by user and generation. No method raises, and each answers soon."""

    async def look(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation that is not outdated."""
        ...

    async def take_turn(self, user_id: str, generation: int) -> Turn:
        """Say who asks Fyers about this session now; a turn ends with `end_turn`, or by itself when its process dies."""
        ...

    async def end_turn(self, user_id: str, generation: int) -> None:
        """Let another process ask, if this one had the turn."""
        ...

    async def confirm(self, user_id: str, generation: int) -> None:
        """Write down that Fyers has just confirmed the session."""
        ...

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        ...

    def report(self) -> SharingReport:
        """Return how sharing stands."""
        ...


class ChannelPort(Protocol):
    """The ways beyond the page. No method raises for anything that receivers or the network do."""

    can_mail: bool
    """Whether the operator has set up a mail server."""

    async def check(self, destination: Destination) -> None:
        """Look at an address that a user gives before it is stored; sends nothing.

        Raises:
            InvalidInput: It cannot be used, or leads to a private network.
        """
        ...

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send once, in bounded time."""
        ...

    def limit_s(self, kind: ChannelKind) -> float:
        """Return after how many seconds a sending that has not ended is given up."""
        ...


class NotificationMetrics(Protocol):
    """What counts the notices that travel."""

    def notification(self, channel: str, outcome: str) -> None: ...
