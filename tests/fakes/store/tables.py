"""The tables in memory, and the checks that a database makes on their values."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import InvalidInput, NotFound
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.domain.monitoring.watches import MonitoringWish, Watch
from hullwatch.domain.notifications.channels import Channel, Destination
from hullwatch.domain.notifications.incidents import Incident
from hullwatch.domain.notifications.mail_codes import MailCode
from hullwatch.domain.notifications.notifications import DeliveryState, Notification
from hullwatch.domain.renewal.rules import Renewal
from hullwatch.domain.secrets import AccessToken, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.login_links import LoginLink
from hullwatch.domain.signals.signals import Signal
from hullwatch.domain.users.accounts import ApiToken, FyersApp, PendingLogin, User
from hullwatch.domain.users.password_resets import PasswordReset

LONGEST_TEXT = 10_000


@dataclass(frozen=True)
class StoredDelivery:
    """A row of the outbox."""

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
    browsers: dict[str, tuple[str, datetime, datetime]] = field(default_factory=dict)
    api_tokens: dict[str, tuple[ApiToken, str]] = field(default_factory=dict)
    invites: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    password_resets: dict[str, PasswordReset] = field(default_factory=dict)
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
    mail_codes: dict[str, MailCode] = field(default_factory=dict)
    deliveries: dict[str, StoredDelivery] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    beats: dict[str, datetime] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    symbol_outages: dict[str, SymbolOutage] = field(default_factory=dict)
    call_paces: dict[tuple[str, str], CallPace] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return tables that can be changed without changing these; the values in them are immutable."""
        return Tables(*(getattr(self, table.name).copy() for table in fields(self)))


def storable(*values: object) -> None:
    """Refuse texts that no database can store, anywhere in a value."""
    for value in values:
        if isinstance(value, str):
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise InvalidInput("A text with a NUL or half a character cannot be stored.")
            if len(value) > LONGEST_TEXT:
                raise InvalidInput("A text that long cannot be stored.")
        elif is_dataclass(value):
            storable(*(getattr(value, part.name) for part in fields(value) if part.name != "evidence"))


def kept(value):
    """Return a dataclass as a database returns it, with its moments in UTC."""
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
    """The base class of the repositories."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def needs_user(self, user_id: str) -> None:
        """Check the foreign key to the user."""
        if user_id not in self.tables.users:
            raise NotFound("What this belongs to no longer exists.")


def drop(table: dict, is_gone) -> None:
    """Remove the rows whose value matches."""
    for key in [key for key, value in table.items() if is_gone(value)]:
        del table[key]


def drop_strays(tables: Tables) -> None:
    """Remove the deliveries of removed notices and channels, as foreign keys do."""
    drop(tables.deliveries, lambda one: one.channel_id not in tables.channels)
    drop(tables.deliveries, lambda one: one.notification_id not in tables.notifications)
    for channel_id in tables.destinations.keys() - tables.channels.keys():
        del tables.destinations[channel_id]


def is_between(moment: datetime, since: datetime | None, before: datetime | None) -> bool:
    """Whether the moment lies in [since, before), each open where it is `None`."""
    moment = moment.astimezone(UTC)
    return (since is None or moment >= since) and (before is None or moment < before)
