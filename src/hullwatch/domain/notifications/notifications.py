"""Notices addressed to one user, and the kinds of channels they are sent on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class NotificationKind(StrEnum):
    """What a notification is about."""

    SESSION_EXPIRING = "session_expiring"
    """The session will end before the market closes."""
    SESSION_DISCONNECTED = "session_disconnected"
    """The session is disconnected and monitoring has stopped."""
    CONNECTED_AGAIN = "login_renewed"
    """The recovery of a session that had ended."""
    NOT_READY = "not_ready"
    """Before the market opens something is missing that only the user can change."""
    NOW_READY = "now_ready"
    """The recovery of that."""
    SIGNAL = "signal"
    """A signal on the user's watchlist."""
    SIGNALS_CORRECTED = "signals_corrected"
    """Signals that the user was notified of were withdrawn or changed, because Fyers changed its history."""
    SYMBOLS_UNMONITORED = "symbols_unmonitored"
    """Some symbols of the watchlist are not monitored."""
    SYMBOLS_MONITORED = "symbols_monitored"
    """The recovery of that."""
    PERMISSION_MISSING = "permission_missing"
    """The user's Fyers app may not read market data."""
    PERMISSION_GRANTED = "permission_granted"
    """The recovery of that."""
    DAILY_SUMMARY = "daily_summary"
    """After the close: minutes watched and blind, and the day's signals."""
    BROKER_OUTAGE = "broker_outage"
    """For operators: Fyers refuses many logins at once, or does not serve this server."""
    BROKER_RECOVERED = "broker_recovered"
    """For operators: the outage or mass refusal has ended."""
    JOB_RESTARTING = "job_restarting"
    """For operators: a job of the server keeps failing and is restarted."""
    JOB_RECOVERED = "job_recovered"
    """For operators: the job works again."""
    STORAGE_UNAVAILABLE = "storage_unavailable"
    """For operators: the database cannot be written or read."""
    STORAGE_RECOVERED = "storage_recovered"
    """For operators: the database works again."""
    ACCOUNT_CHANGED = "account_changed"
    """For the safety of the user's account: a new API token, a new password, another role."""
    CALENDAR_ENDING = "calendar_ending"
    """For operators: the table of trading days runs out."""
    CALENDAR_KNOWN = "calendar_known"
    """For operators: the trading days are known again."""
    DELIVERY_FAILED = "delivery_failed"
    """For operators: a notice failed permanently."""
    CHANNEL_FAILING = "channel_failing"
    """A channel of the user has failed for long; shown in the page, which still works."""
    CHANNEL_RECOVERED = "channel_recovered"
    """The recovery of that."""
    TEST = "test"
    """The user asked for it, to see that a channel works."""


FOR_OPERATORS: Final = frozenset(
    {
        NotificationKind.BROKER_OUTAGE,
        NotificationKind.BROKER_RECOVERED,
        NotificationKind.JOB_RESTARTING,
        NotificationKind.JOB_RECOVERED,
        NotificationKind.STORAGE_UNAVAILABLE,
        NotificationKind.STORAGE_RECOVERED,
        NotificationKind.CALENDAR_ENDING,
        NotificationKind.CALENDAR_KNOWN,
        NotificationKind.DELIVERY_FAILED,
    }
)
"""Kinds that only admins get."""

PAGE_ONLY: Final = frozenset(
    {
        NotificationKind.DELIVERY_FAILED,
        NotificationKind.CHANNEL_FAILING,
        NotificationKind.CHANNEL_RECOVERED,
    }
)
"""Kinds about channels, which are sent on none: a failed delivery must not cause further ones."""

LEADS_TO_LOGIN: Final = frozenset(
    {NotificationKind.SESSION_EXPIRING, NotificationKind.SESSION_DISCONNECTED, NotificationKind.NOT_READY}
)
"""Kinds whose message, outside the page, carries a link to log in to Fyers again."""


DELIVERED_WITH: Final[Mapping[NotificationKind, NotificationKind]] = {
    NotificationKind.SIGNALS_CORRECTED: NotificationKind.SIGNAL,
    NotificationKind.SYMBOLS_UNMONITORED: NotificationKind.NOT_READY,
    NotificationKind.PERMISSION_MISSING: NotificationKind.NOT_READY,
    NotificationKind.SYMBOLS_MONITORED: NotificationKind.NOW_READY,
    NotificationKind.PERMISSION_GRANTED: NotificationKind.NOW_READY,
    NotificationKind.ACCOUNT_CHANGED: NotificationKind.SESSION_DISCONNECTED,
    NotificationKind.STORAGE_UNAVAILABLE: NotificationKind.JOB_RESTARTING,
    NotificationKind.STORAGE_RECOVERED: NotificationKind.JOB_RECOVERED,
}
"""Kinds that nobody chooses: a channel that delivers the other kind delivers them too.

Who was notified of a signal must be notified of its correction.
"""


class BrokerOutageNotice(StrEnum):
    """Why Fyers serves hardly any account."""

    NO_RESPONSE = "no_response"
    """It gives no response, or no usable one."""
    RATE_LIMITED = "rate_limited"
    """It asks most accounts to wait."""
    ADDRESS_BLOCKED = "address_blocked"
    """Cloudflare blocks the address of this server for all accounts."""


class ChannelKind(StrEnum):
    """Where notices are sent, beyond the page."""

    EMAIL = "email"
    """Through the operator's SMTP server."""
    WEBHOOK = "webhook"
    """A signed POST to a URL of the user."""
    TELEGRAM = "telegram"
    SLACK = "slack"
    APPRISE = "apprise"
    """Any other service, by its Apprise address."""


class DeliveryState(StrEnum):
    """The state of one notice on one channel."""

    WAITING = "waiting"
    """Not delivered yet; the next attempt is due at a set time."""
    SENT = "sent"
    """The receiver accepted it."""
    FAILED_PERMANENTLY = "failed"
    """It cannot be delivered; an admin can retry or discard it."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One notice; at most one of a kind exists per user and incident."""

    id: str
    user_id: str
    kind: NotificationKind
    title: str
    text: str
    created_at: datetime
    incident_id: str | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retraction:
    """The ids of notices whose unsent deliveries were cancelled."""

    sent: frozenset[str]
    """They reached a channel, or may have: a delivery that was claimed or tried can have arrived."""
    removed: frozenset[str]
    """They reached no channel and are no longer stored."""
