"""The sentences of notices: pure composing, no storing and no sending. Times are said in IST."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.sessions.connection import ConnectionChange, DisconnectReason
from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.signals import Direction, Rule, Signal

_WHAT_HAPPENED = {
    DisconnectReason.EXPIRED: (
        "Your Fyers session has expired",
        "Fyers ended your login session at {at}, as it does every day.",
    ),
    DisconnectReason.REJECTED: (
        "Fyers ended your session early",
        "Fyers refused your login session twice at {at}, before its regular end. That happens when it is signed out elsewhere.",
    ),
    DisconnectReason.SIGNED_OUT: ("You disconnected Fyers", "Your Fyers session was signed out at {at}."),
    DisconnectReason.BY_ADMIN: (
        "An administrator disconnected you",
        "An administrator ended your Fyers session at {at}.",
    ),
}
_EXPIRED_EARLY = (
    "Your Fyers session has expired",
    "Fyers said at {at} that your login session has expired, earlier than its regular end.",
)
UNREADABLE_TOKEN = "unreadable_token"  # noqa: S105 - the kind of evidence, no password
"""Kind of evidence: the stored token cannot be opened with the keys that this server has."""
_UNREADABLE = (
    "Your Fyers session cannot be read any more",
    "At {at} this server could not open your stored Fyers session, because its encryption key was changed or lost.",
)
_WHAT_NOW = "Your watchlist is kept. Log in to Fyers again and watching goes on by itself; what was missed is fetched then."


def in_ist(moment: datetime) -> str:
    """Return a moment as people in India read it: ``23 Nov 2026, 14:05 IST``."""
    return moment.astimezone(IST).strftime("%d %b %Y, %H:%M IST")


def compose_session_disconnected(
    change: ConnectionChange, *, new_id: Callable[[str], str], addition: str = ""
) -> Notification:
    """Return the notice of a disconnected session; `addition` is a sentence about this disconnect."""
    connection = change.after
    if connection.reason is None:
        raise ValueError("a session that did not end has no such notice")
    title, happened = _WHAT_HAPPENED[connection.reason]
    if connection.reason is DisconnectReason.EXPIRED and change.evidence.refusals:
        title, happened = _EXPIRED_EARLY
    if change.evidence.kind == UNREADABLE_TOKEN:
        title, happened = _UNREADABLE
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.SESSION_DISCONNECTED,
        title=title,
        text=" ".join(filter(None, (happened.format(at=in_ist(change.at)), addition, _WHAT_NOW))),
        created_at=change.at,
        incident_id=connection.incident_id,
    )


def compose_connected_again(change: ConnectionChange, *, new_id: Callable[[str], str]) -> Notification:
    """Tell a user that watching goes on."""
    connection = change.after
    until = "" if connection.expires_at is None else f" until {in_ist(connection.expires_at)} at the latest"
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.CONNECTED_AGAIN,
        title="Connected to Fyers again",
        text=f"Your new Fyers session lasts{until}. Candles that were missed are being fetched; signals in them are marked late.",
        created_at=change.at,
        incident_id=connection.incident_id,
    )


def compose_broker_outage(
    user_id: str, *, incident_id: str, is_over: bool, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that Fyers refuses many logins at once, or that it no longer does."""
    if is_over:
        kind, title = NotificationKind.BROKER_RECOVERED, "Fyers accepts logins again"
        text = f"Fyers answers again since {in_ist(now)}. The sessions that it had refused go on, except those it did end."
    else:
        kind, title = NotificationKind.BROKER_OUTAGE, "Fyers refuses many logins at once"
        text = (
            f"Since {in_ist(now)} Fyers refuses many sessions before their end. That is its trouble, not your users': nobody is "
            "logged out, and hullwatch asks slowly until Fyers answers."
        )
    return Notification(new_id("ntc"), user_id, kind, title, text, now, incident_id)


def compose_login_asked(
    user_id: str, *, incident_id: str, is_by_admin: bool, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell a user that somebody asks for a login at Fyers: an admin, or whoever opened a login link that was over."""
    if is_by_admin:
        title = "An administrator asks you to log in to Fyers"
        text = f"Asked for at {in_ist(now)}. Log in at Fyers, and watching goes on by itself."
    else:
        title = "A new way to log in to Fyers"
        text = (
            f"At {in_ist(now)} somebody opened a login link of yours that is good no longer, and asked for a new one. Log in at "
            "Fyers, and watching goes on by itself. If it was not you, nothing has to be done: nobody else was shown a link."
        )
    return Notification(
        new_id("ntc"), user_id, NotificationKind.NOT_READY, title, text, now, incident_id=incident_id
    )


_DIRECTIONS = {
    (Rule.CROSS, Direction.UP): "crossed above its average",
    (Rule.CROSS, Direction.DOWN): "crossed below its average",
    (Rule.TURN, Direction.UP): "has an average that turned up",
    (Rule.TURN, Direction.DOWN): "has an average that turned down",
}


def compose_signal(signal: Signal) -> Notification:
    """Tell a user of a signal. Its ids follow from the signal's identity, so that however often it is told it exists once.

    It counts as read: the page shows the signal itself.
    """
    moment = int(signal.candle_opened_at.timestamp())
    identity = f"{signal.watch_id}.{moment}.{signal.rule.value}.{signal.resolution.code}"
    happened = f"{signal.symbol.text} {_DIRECTIONS[signal.rule, signal.direction]}"
    closed = f"The candle that closed at {in_ist(signal.candle_closed_at)} ended at {signal.close:.2f}; HMA({signal.period}) was {signal.hma:.2f}"
    late = (
        f" It was noticed only at {in_ist(signal.detected_at)}, when missed candles were fetched."
        if signal.is_late
        else ""
    )
    return Notification(
        id=f"ntc_{sha256(identity.encode()).hexdigest()[:20]}",
        user_id=signal.user_id,
        kind=NotificationKind.SIGNAL,
        title=f"Late: {happened}" if signal.is_late else happened,
        text=f"{closed} (resolution {signal.resolution.code}).{late}",
        created_at=signal.detected_at,
        incident_id=identity,
        read_at=signal.detected_at,
    )


_STATUS_TEXTS = {
    WatchStatus.WATCHING: "Your watchlist is being watched.",
    WatchStatus.STARTING: "Watching begins with the next cycle.",
    WatchStatus.MARKET_CLOSED: "The market is closed; watching goes on by itself when it opens.",
    WatchStatus.NOT_WANTED: "You have not started monitoring.",
    WatchStatus.NO_WATCHES: "Your watchlist is empty: add a symbol to be watched.",
    WatchStatus.NO_SESSION: "There is no Fyers session: log in to Fyers and watching goes on by itself.",
    WatchStatus.CHECKING_LOGIN: "Fyers refused a call; your login is being checked a second time.",
    WatchStatus.FYERS_UNAVAILABLE: "Fyers does not answer properly at the moment; hullwatch keeps trying and you need do nothing.",
    WatchStatus.RATE_LIMITED: "Fyers asked us to wait; watching goes on by itself.",
}


def describe_status(status: WatchStatus) -> str:
    """Return the sentence for what monitoring does, and why not where it does not."""
    return _STATUS_TEXTS[status]
