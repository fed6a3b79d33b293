"""A store in memory that satisfies `StorePort`; passes the same cases as the databases in ``tests/storage/test_store_contract.py``."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from hullwatch.domain.accounts import ApiToken, FyersApp, PendingLogin, Role, User
from hullwatch.domain.channels import (
    Channel,
    ChannelHealth,
    Claimed,
    ClaimWish,
    Delivery,
    DeliveryResult,
    Destination,
    SetAside,
)
from hullwatch.domain.connection import Connection, LoginState
from hullwatch.domain.events import AuditEntry
from hullwatch.domain.failures import AlreadyExists, InvalidInput, NotFound, StorageUnavailable
from hullwatch.domain.incidents import Incident
from hullwatch.domain.instruments import Symbol
from hullwatch.domain.login_links import LoginLink
from hullwatch.domain.notifications import PAGE_ONLY, DeliveryState, Notification, NotificationKind
from hullwatch.domain.renewal import Renewal, RenewalKeys
from hullwatch.domain.renewal_outcomes import RenewalOutcome
from hullwatch.domain.secrets import AccessToken, Pin, RefreshToken
from hullwatch.domain.signals import Signal
from hullwatch.domain.watches import MonitoringWish, Watch

LONGEST_TEXT = 10_000


@dataclass(frozen=True)
class StoredDelivery:
    """One line of the outbox."""

    id: str
    notification_id: str
    channel_id: str
    user_id: str
    created_at: datetime
    due_at: datetime
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    claimed_until: datetime | None = None
    ended_at: datetime | None = None
    last_error: str | None = None


@dataclass
class Tables:
    """Everything that is stored, by its key."""

    users: dict[str, User] = field(default_factory=dict)
    password_hashes: dict[str, str] = field(default_factory=dict)
    browsers: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    api_tokens: dict[str, tuple[ApiToken, str]] = field(default_factory=dict)
    invites: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    tokens: dict[str, tuple[int, AccessToken]] = field(default_factory=dict)
    apps: dict[str, FyersApp] = field(default_factory=dict)
    pending: dict[str, PendingLogin] = field(default_factory=dict)
    login_links: dict[str, LoginLink] = field(default_factory=dict)
    renewals: dict[str, Renewal] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    wishes: dict[str, MonitoringWish] = field(default_factory=dict)
    signals: dict[tuple[str, datetime, str], Signal] = field(default_factory=dict)
    notifications: dict[str, Notification] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    destinations: dict[str, Destination] = field(default_factory=dict)
    deliveries: dict[str, StoredDelivery] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    beats: dict[str, datetime] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return tables that can be changed without changing these; the values in them are immutable."""
        return Tables(*(getattr(self, table.name).copy() for table in fields(self)))


def storable(*values: object) -> None:
    """Refuse texts that no database takes, wherever in a value they are."""
    for value in values:
        if isinstance(value, str):
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise InvalidInput("A text with a NUL or half a character cannot be stored.")
            if len(value) > LONGEST_TEXT:
                raise InvalidInput("A text that long cannot be stored.")
        elif is_dataclass(value):
            storable(*(getattr(value, part.name) for part in fields(value) if part.name != "evidence"))


def kept(value):
    """Return a dataclass as a database would give it back: its texts storable, its moments aware and in UTC."""
    storable(value)
    moments = {
        part.name: _in_utc(getattr(value, part.name))
        for part in fields(value)
        if isinstance(getattr(value, part.name), datetime)
    }
    return replace(value, **moments)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise TypeError("a moment to be stored must be aware of its zone")
    return moment.astimezone(UTC)


class Repository:
    """What the repositories share."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def needs_user(self, user_id: str) -> None:
        """Do as a foreign key does."""
        if user_id not in self.tables.users:
            raise NotFound("What this belongs to no longer exists.")


class Users(Repository):
    """Users and their password hashes."""

    async def lock_registration(self) -> None:
        """Nothing to do: units of work come one after the other."""

    async def add(self, user: User, password_hash: str) -> None:
        """Store a user."""
        storable(password_hash)
        user = kept(user)
        if user.id in self.tables.users or await self.by_email(user.email):
            raise AlreadyExists("An account with this e-mail address exists already.")
        self.tables.users[user.id] = user
        self.tables.password_hashes[user.id] = password_hash

    async def get(self, user_id: str) -> User | None:
        """Return the user."""
        storable(user_id)
        return self.tables.users.get(user_id)

    async def by_email(self, email: str) -> tuple[User, str] | None:
        """Return the user and the password hash."""
        storable(email)
        found = next((user for user in self.tables.users.values() if user.email == email), None)
        return None if found is None else (found, self.tables.password_hashes[found.id])

    async def password_hash(self, user_id: str) -> str | None:
        """Return the password hash."""
        return self.tables.password_hashes.get(user_id)

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """Change it."""
        storable(password_hash)
        if user_id in self.tables.users:
            self.tables.password_hashes[user_id] = password_hash

    async def set_role(self, user_id: str, role: Role) -> None:
        """Change it."""
        if user_id in self.tables.users:
            self.tables.users[user_id] = replace(self.tables.users[user_id], role=role)

    async def set_full_name(self, user_id: str, full_name: str) -> None:
        """Change it."""
        storable(full_name)
        if user_id in self.tables.users:
            self.tables.users[user_id] = replace(self.tables.users[user_id], full_name=full_name)

    async def list_all(self) -> list[User]:
        """Return all users, oldest first."""
        return sorted(self.tables.users.values(), key=lambda user: (user.created_at, user.id))

    async def count(self) -> int:
        """Return how many there are."""
        return len(self.tables.users)

    async def remove(self, user_id: str) -> None:
        """Remove the user and what is the user's own."""
        held = self.tables
        for table in (
            held.users,
            held.password_hashes,
            held.connections,
            held.tokens,
            held.apps,
            held.renewals,
            held.pins,
            held.refresh_tokens,
            held.wishes,
        ):
            table.pop(user_id, None)
        _drop(held.browsers, lambda login: login[0] == user_id)
        _drop(held.invites, lambda invite: invite[0] == user_id)
        _drop(held.api_tokens, lambda entry: entry[0].user_id == user_id)
        own = (
            held.pending,
            held.login_links,
            held.watches,
            held.signals,
            held.notifications,
            held.channels,
            held.deliveries,
        )
        for table in own:
            _drop(table, lambda value: value.user_id == user_id)
        _drop_strays(held)


class Logins(Repository):
    """Browser logins and API tokens."""

    async def add_browser(
        self, value_hash: str, user_id: str, *, created_at: datetime, expires_at: datetime
    ) -> None:
        """Store a browser's login."""
        storable(value_hash, user_id)
        self.needs_user(user_id)
        if value_hash in self.tables.browsers:
            raise AlreadyExists("That exists already.")
        self.tables.browsers[value_hash] = (user_id, expires_at)

    async def browser_user(self, value_hash: str, *, now: datetime) -> str | None:
        """Return whose unexpired login this is."""
        user_id, expires_at = self.tables.browsers.get(value_hash, (None, now))
        return user_id if expires_at > now else None

    async def remove_browser(self, value_hash: str) -> None:
        """Remove one login."""
        self.tables.browsers.pop(value_hash, None)

    async def remove_browsers_of(self, user_id: str) -> None:
        """Remove all logins of a user."""
        _drop(self.tables.browsers, lambda login: login[0] == user_id)

    async def purge(self, *, now: datetime) -> None:
        """Remove what has expired."""
        _drop(self.tables.browsers, lambda login: login[1] <= now)
        _drop(self.tables.pending, lambda pending: pending.expires_at <= now)
        _drop(self.tables.invites, lambda invite: invite[1] <= now)

    async def add_invite(self, value_hash: str, *, created_by: str, expires_at: datetime) -> None:
        """Store an invite."""
        storable(value_hash, created_by)
        self.needs_user(created_by)
        if value_hash in self.tables.invites:
            raise AlreadyExists("That exists already.")
        self.tables.invites[value_hash] = (created_by, expires_at)

    async def take_invite(self, value_hash: str, *, now: datetime) -> bool:
        """Remove it and tell whether it was still good."""
        _, expires_at = self.tables.invites.pop(value_hash, (None, now))
        return expires_at > now

    async def add_token(self, token: ApiToken, value_hash: str) -> None:
        """Store an API token."""
        storable(value_hash)
        token = kept(token)
        self.needs_user(token.user_id)
        if token.id in self.tables.api_tokens or await self.token_by_hash(value_hash):
            raise AlreadyExists("That exists already.")
        self.tables.api_tokens[token.id] = (token, value_hash)

    async def token_by_hash(self, value_hash: str) -> ApiToken | None:
        """Return the token with this hash."""
        return next((token for token, of in self.tables.api_tokens.values() if of == value_hash), None)

    async def touch_token(self, token_id: str, *, used_at: datetime) -> None:
        """Note when it was used."""
        if token_id in self.tables.api_tokens:
            token, value_hash = self.tables.api_tokens[token_id]
            self.tables.api_tokens[token_id] = (replace(token, last_used_at=used_at), value_hash)

    async def tokens_of(self, user_id: str) -> list[ApiToken]:
        """Return a user's tokens, oldest first."""
        own = (token for token, _ in self.tables.api_tokens.values() if token.user_id == user_id)
        return sorted(own, key=lambda token: (token.created_at, token.id))

    async def remove_token(self, user_id: str, token_id: str) -> bool:
        """Remove the user's token."""
        found = self.tables.api_tokens.get(token_id)
        if found is None or found[0].user_id != user_id:
            return False
        del self.tables.api_tokens[token_id]
        return True


class Connections(Repository):
    """Connections, tokens, apps and pending logins."""

    async def get(self, user_id: str) -> Connection | None:
        """Return a user's connection."""
        return self.tables.connections.get(user_id)

    async def list_all(self) -> list[Connection]:
        """Return all connections."""
        return [self.tables.connections[user_id] for user_id in sorted(self.tables.connections)]

    async def save(self, connection: Connection) -> bool:
        """Store it unless a newer generation is stored, or this one has ended."""
        connection = kept(connection)
        stored = self.tables.connections.get(connection.user_id)
        if connection.user_id not in self.tables.users:
            return False
        if stored is not None and stored.generation >= connection.generation:
            is_over = stored.state is LoginState.DISCONNECTED and connection.has_session
            if stored.generation > connection.generation or is_over:
                return False
        self.tables.connections[connection.user_id] = connection
        generation, _ = self.tables.tokens.get(connection.user_id, (None, None))
        if not connection.has_session or generation != connection.generation:
            self.tables.tokens.pop(connection.user_id, None)
        return True

    async def save_observed(self, connections: Sequence[Connection]) -> None:
        """Store what was observed of sessions that are still the stored ones."""
        for connection in map(kept, connections):
            stored = self.tables.connections.get(connection.user_id)
            if (
                stored is None
                or stored.generation != connection.generation
                or stored.state is LoginState.DISCONNECTED
            ):
                continue
            self.tables.connections[connection.user_id] = replace(
                stored,
                standing=connection.standing,
                last_validated_at=connection.last_validated_at,
                last_disconnect_at=connection.last_disconnect_at,
                incident_id=connection.incident_id,
            )

    async def save_login(self, connection: Connection, token: AccessToken) -> bool:
        """Store a new generation with its token."""
        connection = kept(connection)
        stored = self.tables.connections.get(connection.user_id)
        if connection.user_id not in self.tables.users:
            return False
        if stored is not None and stored.generation >= connection.generation:
            return False
        self.tables.connections[connection.user_id] = connection
        self.tables.tokens[connection.user_id] = (connection.generation, token)
        return True

    async def token(self, user_id: str, generation: int) -> AccessToken | None:
        """Return the token of this generation."""
        found = self.tables.tokens.get(user_id)
        return found[1] if found is not None and found[0] == generation else None

    async def tokens(self) -> dict[str, tuple[int, AccessToken]]:
        """Return all tokens."""
        return dict(self.tables.tokens)

    async def app(self, user_id: str) -> FyersApp | None:
        """Return the user's own app."""
        return self.tables.apps.get(user_id)

    async def put_app(self, user_id: str, app: FyersApp) -> None:
        """Store it."""
        storable(user_id, app)
        self.needs_user(user_id)
        self.tables.apps[user_id] = app

    async def remove_app(self, user_id: str) -> None:
        """Remove it."""
        self.tables.apps.pop(user_id, None)

    async def add_pending(self, state_hash: str, pending: PendingLogin) -> None:
        """Store a login that was begun."""
        storable(state_hash)
        pending = kept(pending)
        self.needs_user(pending.user_id)
        if state_hash in self.tables.pending:
            raise AlreadyExists("That exists already.")
        self.tables.pending[state_hash] = pending

    async def take_pending(self, state_hash: str) -> PendingLogin | None:
        """Remove and return it."""
        return self.tables.pending.pop(state_hash, None)


class LoginLinks(Repository):
    """Login links."""

    async def add(self, value_hash: str, link: LoginLink) -> bool:
        """Store it unless its user has been removed."""
        storable(value_hash)
        link = kept(link)
        if link.user_id not in self.tables.users:
            return False
        if value_hash in self.tables.login_links:
            raise AlreadyExists("That exists already.")
        self.tables.login_links[value_hash] = link
        return True

    async def get(self, value_hash: str) -> LoginLink | None:
        """Return the link with this hash."""
        return self.tables.login_links.get(value_hash)

    async def take(self, value_hash: str, *, browser_hash: str, now: datetime) -> LoginLink | None:
        """Take it for the first browser that asks."""
        storable(browser_hash)
        link = self.tables.login_links.get(value_hash)
        if link is None or now >= link.expires_at or link.browser_hash not in (None, browser_hash):
            return None
        taken = kept(replace(link, taken_at=link.taken_at or now, browser_hash=browser_hash))
        self.tables.login_links[value_hash] = taken
        return taken

    async def count_open(self, user_id: str, *, asked_by: str, now: datetime) -> int:
        """Count links that have not expired."""
        return sum(
            (link.user_id, link.asked_by) == (user_id, asked_by) and link.expires_at > now
            for link in self.tables.login_links.values()
        )

    async def purge(self, *, ended_before: datetime) -> None:
        """Remove those that expired before that."""
        _drop(self.tables.login_links, lambda link: link.expires_at < ended_before)


class Renewals(Repository):
    """Who wants sessions renewed, and what with."""

    async def get(self, user_id: str) -> Renewal | None:
        """Return a user's consent."""
        return self.tables.renewals.get(user_id)

    async def list_all(self) -> list[Renewal]:
        """Return all, by user id."""
        return [self.tables.renewals[user_id] for user_id in sorted(self.tables.renewals)]

    async def opt_in(self, user_id: str, pin: Pin, *, at: datetime) -> bool:
        """Store the consent, or another PIN."""
        if user_id not in self.tables.users:
            return False
        known = self.tables.renewals.get(user_id)
        renewal = Renewal(user_id, at) if known is None else replace(known, last_outcome=None)
        self.tables.renewals[user_id] = kept(renewal)
        self.tables.pins[user_id] = pin
        return True

    async def keep_token(
        self,
        user_id: str,
        token: RefreshToken | None,
        *,
        app_id: str,
        generation: int,
        ends_at: datetime | None,
    ) -> bool:
        """Store the refresh token of a login in place of the last one."""
        if token is None:
            return self._change(user_id, **_NO_TOKEN)
        if user_id in self.tables.renewals:
            self.tables.refresh_tokens[user_id] = token
        return self._change(
            user_id,
            has_refresh_token=True,
            app_id=app_id,
            login_generation=generation,
            refresh_token_ends_at=ends_at,
        )

    async def drop_token(self, user_id: str, *, generation: int | None) -> None:
        """Remove the refresh token of this login."""
        known = self.tables.renewals.get(user_id)
        if known is not None and known.login_generation == generation:
            self._change(user_id, **_NO_TOKEN)

    async def keys(self, user_id: str) -> RenewalKeys | None:
        """Return both secrets."""
        if user_id not in self.tables.refresh_tokens:
            return None
        return RenewalKeys(self.tables.pins[user_id], self.tables.refresh_tokens[user_id])

    async def note_try(self, user_id: str, *, generation: int, at: datetime, outcome: RenewalOutcome) -> bool:
        """Store how the last try stands."""
        return self._change(user_id, tried_generation=generation, last_tried_at=at, last_outcome=outcome)

    async def remove(self, user_id: str) -> bool:
        """Remove everything of it."""
        self.tables.pins.pop(user_id, None)
        self.tables.refresh_tokens.pop(user_id, None)
        return self.tables.renewals.pop(user_id, None) is not None

    def _change(self, user_id: str, **changes: object) -> bool:
        known = self.tables.renewals.get(user_id)
        if known is None:
            return False
        self.tables.renewals[user_id] = kept(replace(known, **changes))
        if not self.tables.renewals[user_id].has_refresh_token:
            self.tables.refresh_tokens.pop(user_id, None)
        return True


_NO_TOKEN = {
    "has_refresh_token": False,
    "app_id": None,
    "login_generation": None,
    "refresh_token_ends_at": None,
}


class Watches(Repository):
    """Watchlists, wishes and signals."""

    async def add(self, watch: Watch) -> None:
        """Store a watch."""
        watch = kept(watch)
        if watch.id in self.tables.watches or self._is_taken(watch):
            raise AlreadyExists("This symbol is watched already.")
        self.needs_user(watch.user_id)
        self.tables.watches[watch.id] = watch

    async def get(self, user_id: str, watch_id: str) -> Watch | None:
        """Return one of the user's watches."""
        storable(user_id, watch_id)
        found = self.tables.watches.get(watch_id)
        return found if found is not None and found.user_id == user_id else None

    async def of_user(self, user_id: str) -> list[Watch]:
        """Return a user's watches, oldest first."""
        return [watch for watch in await self.list_all() if watch.user_id == user_id]

    async def list_all(self) -> list[Watch]:
        """Return everybody's watches."""
        return sorted(self.tables.watches.values(), key=lambda of: (of.user_id, of.created_at, of.id))

    async def update(self, watch: Watch) -> None:
        """Store what changed."""
        watch = kept(watch)
        if await self.get(watch.user_id, watch.id) is None:
            return
        if self._is_taken(watch):
            raise AlreadyExists("This symbol is watched already.")
        self.tables.watches[watch.id] = watch

    async def remove(self, user_id: str, watch_id: str) -> bool:
        """Remove the user's watch."""
        if await self.get(user_id, watch_id) is None:
            return False
        del self.tables.watches[watch_id]
        return True

    async def advance(self, evaluated_through: Mapping[str, datetime]) -> None:
        """Move watches forward."""
        for watch_id, moment in evaluated_through.items():
            watch = self.tables.watches.get(watch_id)
            if watch is not None and watch.evaluated_through < moment:
                self.tables.watches[watch_id] = replace(watch, evaluated_through=moment)

    async def wishes(self) -> list[MonitoringWish]:
        """Return all wishes."""
        return [self.tables.wishes[user_id] for user_id in sorted(self.tables.wishes)]

    async def wish(self, user_id: str) -> MonitoringWish | None:
        """Return a user's wish."""
        return self.tables.wishes.get(user_id)

    async def put_wish(self, wish: MonitoringWish) -> None:
        """Store it."""
        wish = kept(wish)
        self.needs_user(wish.user_id)
        self.tables.wishes[wish.user_id] = wish

    async def add_signals(self, signals: Sequence[Signal]) -> list[Signal]:
        """Store those that are new and return them."""
        new = []
        for signal in map(kept, signals):
            key = (signal.watch_id, signal.candle_opened_at, signal.rule.value, signal.resolution.code)
            if signal.user_id in self.tables.users and key not in self.tables.signals:
                self.tables.signals[key] = signal
                new.append(signal)
        return new

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
        found = [
            signal
            for signal in self.tables.signals.values()
            if signal.user_id == user_id
            and (symbol is None or signal.symbol == symbol)
            and _is_between(signal.candle_opened_at, since, before)
        ]
        found.sort(key=lambda signal: (signal.watch_id, signal.rule))
        return sorted(found, key=lambda signal: signal.candle_opened_at, reverse=True)[:limit]

    async def count_signals(
        self, user_ids: Sequence[str], *, since: datetime, before: datetime
    ) -> dict[str, tuple[int, int]]:
        """Count these users' signals in time and late."""
        counts: dict[str, tuple[int, int]] = {}
        for signal in self.tables.signals.values():
            if signal.user_id in user_ids and _is_between(signal.candle_opened_at, since, before):
                fresh, late = counts.get(signal.user_id, (0, 0))
                counts[signal.user_id] = (fresh + (not signal.is_late), late + signal.is_late)
        return counts

    async def last_signals(self, user_id: str) -> dict[str, Signal]:
        """Return watch id → its newest signal."""
        newest = await self.signals(user_id, limit=len(self.tables.signals) or 1)
        return {signal.watch_id: signal for signal in reversed(newest)}

    def _is_taken(self, watch: Watch) -> bool:
        what = (watch.user_id, watch.symbol, watch.resolution, watch.period, watch.rule)
        return any(
            (other.user_id, other.symbol, other.resolution, other.period, other.rule) == what
            for other in self.tables.watches.values()
            if other.id != watch.id
        )


class Notifications(Repository):
    """Stored notifications."""

    async def add(self, notification: Notification) -> bool:
        """Store it unless its incident has one of its kind."""
        notification = kept(notification)
        told = {
            (other.user_id, other.kind, other.incident_id)
            for other in self.tables.notifications.values()
            if other.incident_id is not None
        }
        key = (notification.user_id, notification.kind, notification.incident_id)
        if notification.user_id not in self.tables.users or notification.id in self.tables.notifications:
            return False
        if key in told:
            return False
        self.tables.notifications[notification.id] = notification
        self._fan_out(notification)
        return True

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store those that some channel of their user carries, and return those that were not stored before."""
        return [one for one in notifications if self._carriers(one) and await self.add(one)]

    async def is_told(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether the user has had a notice of this kind about the incident."""
        return any(
            (one.user_id, one.kind, one.incident_id) == (user_id, kind, incident_id)
            for one in self.tables.notifications.values()
        )

    def _carriers(self, notification: Notification) -> list[Channel]:
        if notification.kind in PAGE_ONLY:
            return []
        return [
            channel
            for channel in self.tables.channels.values()
            if channel.user_id == notification.user_id
            and channel.is_on
            and notification.kind in channel.kinds
        ]

    def _fan_out(self, notification: Notification) -> None:
        for channel in self._carriers(notification):
            put_delivery(self.tables, notification, channel.id)

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        own = [
            notification
            for notification in self.tables.notifications.values()
            if notification.user_id == user_id and not (unread_only and notification.read_at)
        ]
        return sorted(own, key=lambda of: (of.created_at, of.id), reverse=True)[:limit]

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool:
        """Note when it was read first."""
        found = self.tables.notifications.get(notification_id)
        if found is None or found.user_id != user_id:
            return False
        self.tables.notifications[notification_id] = replace(found, read_at=found.read_at or at)
        return True

    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return who has a channel that is on and carries notices of this kind."""
        return {one.user_id for one in self.tables.channels.values() if one.is_on and kind in one.kinds}

    async def users_told(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notification of this kind about an incident."""
        return {
            found.user_id
            for found in self.tables.notifications.values()
            if found.kind is kind and found.incident_id == incident_id
        }


def put_delivery(tables: Tables, notification: Notification, channel_id: str) -> None:
    """Put a notice into the outbox for a channel."""
    made = StoredDelivery(
        id=f"{notification.id}.{channel_id}",
        notification_id=notification.id,
        channel_id=channel_id,
        user_id=notification.user_id,
        created_at=notification.created_at,
        due_at=notification.created_at,
    )
    tables.deliveries.setdefault(made.id, made)


class Channels(Repository):
    """Users' channels."""

    async def lock(self, user_id: str) -> None:
        """Nothing to do: units of work come one after the other."""

    async def add(self, channel: Channel, destination: Destination) -> None:
        """Store a channel with where it leads."""
        channel = kept(channel)
        self.needs_user(channel.user_id)
        if channel.id in self.tables.channels:
            raise AlreadyExists("That exists already.")
        self.tables.channels[channel.id] = channel
        self.tables.destinations[channel.id] = destination

    async def get(self, user_id: str, channel_id: str) -> Channel | None:
        """Return one of the user's channels."""
        found = self.tables.channels.get(channel_id)
        return found if found is not None and found.user_id == user_id else None

    async def of_user(self, user_id: str) -> list[Channel]:
        """Return a user's channels, oldest first."""
        own = [channel for channel in self.tables.channels.values() if channel.user_id == user_id]
        return sorted(own, key=lambda channel: (channel.created_at, channel.id))

    async def update(self, channel: Channel) -> None:
        """Store its label, its kinds and whether it is on."""
        storable(channel.label)
        stored = await self.get(channel.user_id, channel.id)
        if stored is None:
            return
        self.tables.channels[channel.id] = replace(
            stored, label=channel.label, kinds=channel.kinds, is_on=channel.is_on
        )
        if not channel.is_on:
            _drop(
                self.tables.deliveries,
                lambda one: one.channel_id == channel.id and one.state is DeliveryState.WAITING,
            )

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove it with its deliveries."""
        if await self.get(user_id, channel_id) is None:
            return False
        del self.tables.channels[channel_id]
        _drop_strays(self.tables)
        return True


class Outbox(Repository):
    """The outbox."""

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Put a stored notice into the outbox for this one channel."""
        if notification.id not in self.tables.notifications or channel_id not in self.tables.channels:
            raise NotFound("What this belongs to no longer exists.")
        put_delivery(self.tables, notification, channel_id)

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether anything could be claimed."""
        return any(self._is_due(one, now) for one in self.tables.deliveries.values())

    async def claim(self, wish: ClaimWish, *, now: datetime, until: datetime) -> list[Claimed]:
        """Take on what is due, in turns between channels."""
        turns: dict[str, int] = {}
        due = []
        for one in sorted(self.tables.deliveries.values(), key=lambda one: (one.due_at, one.id)):
            channel = self.tables.channels[one.channel_id]
            if self._is_due(one, now) and channel.kind in wish.kinds:
                turns[channel.id] = turns.get(channel.id, 0) + 1
                due.append((channel.health.is_proven, turns[channel.id], one.due_at, one.id, channel.id))
        picked = wish.picked([(line[3], line[4], line[0]) for line in sorted(due)])
        for delivery_id in picked:
            line = self.tables.deliveries[delivery_id]
            self.tables.deliveries[delivery_id] = replace(line, claimed_until=until)
        taken = sorted((self.tables.deliveries[one] for one in picked), key=lambda one: (one.due_at, one.id))
        return [self._claimed(one) for one in taken]

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store how attempts ended, and how channels do now."""
        for result in results:
            stored = self.tables.deliveries.get(result.id)
            if stored is None or stored.state is not DeliveryState.WAITING:
                continue
            self.tables.deliveries[result.id] = replace(
                stored,
                state=result.state,
                attempts=stored.attempts + 1,
                due_at=result.due_at,
                claimed_until=None,
                ended_at=None if result.state is DeliveryState.WAITING else result.at,
                last_error=result.error,
            )
        for channel_id, health in healths.items():
            if channel_id in self.tables.channels:
                channel = self.tables.channels[channel_id]
                self.tables.channels[channel_id] = replace(channel, health=kept(health))

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return a user's deliveries, newest first."""
        own = [one for one in self.tables.deliveries.values() if one.user_id == user_id]
        own.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        return [self._delivery(one) for one in own[:limit]]

    async def set_aside(self, *, limit: int = 200) -> list[SetAside]:
        """Return what could not be delivered, except tests, newest first."""
        found = [
            one
            for one in sorted(self.tables.deliveries.values(), key=lambda one: one.id)
            if one.state is DeliveryState.SET_ASIDE
            and self.tables.notifications[one.notification_id].kind is not NotificationKind.TEST
        ]
        found.sort(key=lambda one: one.ended_at, reverse=True)
        return [self._set_aside(one) for one in found[:limit]]

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Let one that was set aside wait again."""
        found = self.tables.deliveries.get(delivery_id)
        if found is None or found.state is not DeliveryState.SET_ASIDE:
            return False
        self.tables.deliveries[delivery_id] = replace(
            found,
            state=DeliveryState.WAITING,
            created_at=now,
            due_at=now,
            attempts=0,
            ended_at=None,
            claimed_until=None,
        )
        channel = self.tables.channels[found.channel_id]
        health = replace(channel.health, paused_until=None)
        self.tables.channels[channel.id] = replace(channel, health=health)
        return True

    async def discard(self, delivery_id: str) -> bool:
        """Remove one that was set aside."""
        found = self.tables.deliveries.get(delivery_id)
        if found is None or found.state is not DeliveryState.SET_ASIDE:
            return False
        del self.tables.deliveries[delivery_id]
        return True

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove old deliveries, and old notices that were read and wait on no channel."""
        before = {DeliveryState.SENT: sent_before, DeliveryState.SET_ASIDE: others_before}
        old = [
            one.id
            for one in self.tables.deliveries.values()
            if one.state in before and one.ended_at < before[one.state]
        ][:limit]
        for delivery_id in old:
            del self.tables.deliveries[delivery_id]
        wanted = {
            one.notification_id
            for one in self.tables.deliveries.values()
            if one.state is not DeliveryState.SENT
        }
        read = [
            one.id
            for one in self.tables.notifications.values()
            if one.read_at is not None and one.created_at < others_before and one.id not in wanted
        ][:limit]
        for notification_id in read:
            del self.tables.notifications[notification_id]
        _drop_strays(self.tables)
        return len(old) + len(read)

    def _is_due(self, one: StoredDelivery, now: datetime) -> bool:
        channel = self.tables.channels[one.channel_id]
        paused_until = channel.health.paused_until
        is_open = channel.is_on and (paused_until is None or paused_until <= now)
        is_test = self.tables.notifications[one.notification_id].kind is NotificationKind.TEST
        return (
            one.state is DeliveryState.WAITING
            and one.due_at <= now
            and (one.claimed_until is None or one.claimed_until <= now)
            and (is_open or is_test)
        )

    def _claimed(self, one: StoredDelivery) -> Claimed:
        channel = self.tables.channels[one.channel_id]
        return Claimed(
            id=one.id,
            attempts=one.attempts,
            created_at=one.created_at,
            notification=self.tables.notifications[one.notification_id],
            channel_id=channel.id,
            channel_kind=channel.kind,
            channel_label=channel.label,
            health=channel.health,
            destination=self.tables.destinations.get(channel.id),
        )

    def _delivery(self, one: StoredDelivery) -> Delivery:
        notification = self.tables.notifications[one.notification_id]
        return Delivery(
            id=one.id,
            notification_id=notification.id,
            channel_id=one.channel_id,
            channel_label=self.tables.channels[one.channel_id].label,
            kind=notification.kind,
            title=notification.title,
            state=one.state,
            created_at=one.created_at,
            attempts=one.attempts,
            ended_at=one.ended_at,
            last_error=one.last_error,
        )

    def _set_aside(self, one: StoredDelivery) -> SetAside:
        channel = self.tables.channels[one.channel_id]
        email = self.tables.users[one.user_id].email
        return SetAside(self._delivery(one), one.user_id, email, channel.kind, channel.hint)


class Audit(Repository):
    """The audit trail."""

    async def add(self, entries: Iterable[AuditEntry]) -> None:
        """Append entries."""
        self.tables.audit.extend(kept(entry) for entry in entries)

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
        newest_first = self.tables.audit[::-1]
        newest_first.sort(key=lambda entry: entry.at, reverse=True)
        found = (
            entry
            for entry in newest_first
            if (user_id is None or entry.user_id == user_id)
            and (kind_prefix is None or entry.kind.startswith(kind_prefix))
            and _is_between(entry.at, since, before)
        )
        return list(islice(found, limit))

    async def lines(
        self, kind: str, *, since: datetime, before: datetime, user_id: str | None = None
    ) -> list[AuditEntry]:
        """Return all entries of a kind, oldest first."""
        found = await self.entries(user_id=user_id, since=since, before=before, limit=len(self.tables.audit))
        return [entry for entry in reversed(found) if entry.kind == kind]

    async def server_lines(self, *, since: datetime) -> list[AuditEntry]:
        """Return the entries about the server from `since` on and the last one before, oldest first."""
        found = await self.entries(kind_prefix="server.", limit=len(self.tables.audit))
        own = [entry for entry in reversed(found) if entry.user_id is None]
        before = [entry for entry in own if entry.at < since.astimezone(UTC)]
        return before[-1:] + own[len(before) :]

    async def beat(self, at: datetime) -> None:
        """Remember that the server ran."""
        self.tables.beats["server"] = at.astimezone(UTC)

    async def last_beat(self) -> datetime | None:
        """Return when the server was last known to run."""
        return self.tables.beats.get("server")

    async def latest_by_user(
        self, *, kind_prefix: str, before: datetime | None = None
    ) -> dict[str, AuditEntry]:
        """Return each present user's newest entry of the kind."""
        latest: dict[str, AuditEntry] = {}
        for entry in await self.entries(kind_prefix=kind_prefix, before=before, limit=len(self.tables.audit)):
            if entry.user_id in self.tables.users:
                latest.setdefault(entry.user_id, entry)
        return latest


class Incidents(Repository):
    """Open incidents."""

    async def all_open(self) -> list[Incident]:
        """Return all, by subject."""
        return [self.tables.incidents[subject] for subject in sorted(self.tables.incidents)]

    async def get(self, subject: str) -> Incident | None:
        """Return what is open about the subject."""
        storable(subject)
        return self.tables.incidents.get(subject)

    async def begin(self, incident: Incident) -> Incident:
        """Store it, unless one is open; return the one that is."""
        return self.tables.incidents.setdefault(incident.subject, kept(incident))

    async def note_bad(self, subject: str, *, at: datetime) -> None:
        """Note that it still was wrong."""
        known = self.tables.incidents.get(subject)
        if known is not None and known.bad_at < at:
            self.tables.incidents[subject] = kept(replace(known, bad_at=at))

    async def tell(self, subject: str, *, at: datetime) -> bool:
        """Note that operators are told."""
        known = self.tables.incidents.get(subject)
        if known is None or known.told_at is not None:
            return False
        self.tables.incidents[subject] = kept(replace(known, told_at=at))
        return True

    async def end(self, incident_id: str) -> bool:
        """Remove it."""
        found = [one.subject for one in self.tables.incidents.values() if one.id == incident_id]
        _drop(self.tables.incidents, lambda one: one.id == incident_id)
        return bool(found)


class FakeUnitOfWork:
    """One transaction on a copy of the tables; `commit` puts the copy in place."""

    def __init__(self, store: "FakeStore") -> None:
        self._store = store
        self.tables = store.tables.copy()
        self.users = Users(self.tables)
        self.logins = Logins(self.tables)
        self.connections = Connections(self.tables)
        self.login_links = LoginLinks(self.tables)
        self.renewals = Renewals(self.tables)
        self.watches = Watches(self.tables)
        self.notifications = Notifications(self.tables)
        self.channels = Channels(self.tables)
        self.outbox = Outbox(self.tables)
        self.audit = Audit(self.tables)
        self.incidents = Incidents(self.tables)

    async def commit(self) -> None:
        """Keep everything."""
        self._store.check()
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
    """The database, in memory. Set `is_down` to have it refuse; `commits` counts what was kept."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.commits = 0
        self.is_down = False
        self.ring: Callable[[], None] = lambda: None
        self._turn = asyncio.Lock()
        self._writer: asyncio.Task | None = None

    @asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[FakeUnitOfWork]:
        """Open a unit of work; those that may write come one after the other."""
        if read_only:
            self.check()
            yield FakeUnitOfWork(self)
            return
        if self._writer is not None and self._writer is asyncio.current_task():
            raise RuntimeError("this task has a unit of work open already")
        async with self._turn:
            self.check()
            self._writer = asyncio.current_task()
            try:
                yield FakeUnitOfWork(self)
            finally:
                self._writer = None

    def on_deliveries(self, callback: Callable[[], None]) -> None:
        """Have this called when something was put into the outbox."""
        self.ring = callback

    async def ping(self) -> None:
        """Refuse while the store is down."""
        self.check()

    async def close(self) -> None:
        """Nothing is open."""

    def check(self) -> None:
        """Refuse while the store is down."""
        if self.is_down:
            raise StorageUnavailable("The database does not answer at the moment.")


def _drop(table: dict, is_gone) -> None:
    for key in [key for key, value in table.items() if is_gone(value)]:
        del table[key]


def _drop_strays(tables: Tables) -> None:
    """Do as foreign keys do: a delivery goes with its notice and with its channel."""
    _drop(tables.deliveries, lambda one: one.channel_id not in tables.channels)
    _drop(tables.deliveries, lambda one: one.notification_id not in tables.notifications)
    for channel_id in tables.destinations.keys() - tables.channels.keys():
        del tables.destinations[channel_id]


def _is_between(moment: datetime, since: datetime | None, before: datetime | None) -> bool:
    moment = moment.astimezone(UTC)
    return (since is None or moment >= since) and (before is None or moment < before)
