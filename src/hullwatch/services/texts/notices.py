"""The notices about sessions, requested logins and signals."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from hullwatch.domain.monitoring.obstacles import OF_DISCONNECT
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.services.texts.connection import disconnect_text
from hullwatch.services.texts.obstacles import OBSTACLE_TEXTS, ObstacleText
from hullwatch.services.texts.times import at_ist, in_ist

UNREADABLE_TOKEN = "unreadable_token"  # noqa: S105 - the kind of evidence, no password
"""Kind of evidence: the keys of this server cannot decrypt the stored access token."""
_UNREADABLE = ObstacleText(
    "your stored Fyers session cannot be read",
    "",
    detail="The encryption key of this server was changed or lost.",
)
_WHAT_NOW = "Log in to Fyers again. Monitoring then continues, and missed signals are added and marked late."


def compose_session_disconnected(
    change: ConnectionChange, *, new_id: Callable[[str], str], addition: str = ""
) -> Notification:
    """Return the notice of a disconnected session; `addition` is a sentence about this disconnect."""
    connection = change.after
    if connection.reason is None:
        raise ValueError("a connected session has no such notice")
    text = disconnect_text(connection)
    title = OBSTACLE_TEXTS[OF_DISCONNECT[connection.reason]].fill().title
    if change.evidence.kind == UNREADABLE_TOKEN:
        text, title = _UNREADABLE, _UNREADABLE.title
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.SESSION_DISCONNECTED,
        title=title,
        text=" ".join(filter(None, (text.sentence, text.detail, addition, _WHAT_NOW))),
        created_at=change.at,
        incident_id=connection.incident_id,
    )


def compose_connected_again(change: ConnectionChange, *, new_id: Callable[[str], str]) -> Notification:
    """Return the notice that the user is connected again and monitoring continues."""
    connection = change.after
    until = "" if connection.expires_at is None else f" until {in_ist(connection.expires_at)}"
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.CONNECTED_AGAIN,
        title="Connected to Fyers again",
        text=f"You are connected to Fyers{until}. Missed candles are being loaded; signals in them are marked late.",
        created_at=change.at,
        incident_id=connection.incident_id,
    )


def compose_session_held(
    user_id: str, *, since: datetime, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a session is held because Fyers refuses it without ending it."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.NOT_READY,
        "Fyers refuses your session without ending it",
        f"Since {in_ist(since)} Fyers has refused every call with your session, so monitoring is on hold. "
        "Log in to Fyers again, or wait: hullwatch checks every few minutes.",
        now,
        incident_id=new_id("inc"),
    )


def compose_session_accepted(user_id: str, *, now: datetime, new_id: Callable[[str], str]) -> Notification:
    """Return the notice that Fyers accepts a held session again; the incident is added when it is stored."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.NOW_READY,
        "Fyers accepts your session again",
        f"Monitoring continues since {in_ist(now)}. Missed candles are being loaded; signals in them are marked late.",
        now,
    )


def compose_broker_outage(
    user_id: str, *, incident_id: str, is_over: bool, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice to an operator that a mass refusal began or ended."""
    if is_over:
        kind, title = NotificationKind.BROKER_RECOVERED, "Fyers accepts the sessions again"
        text = f"The mass refusal ended {at_ist(now)}. Only the sessions that Fyers really ended are disconnected."
    else:
        kind, title = NotificationKind.BROKER_OUTAGE, "Fyers is refusing many accounts at once"
        text = (
            f"Since {in_ist(now)} Fyers refuses many sessions before they expire. Users stay connected, and hullwatch keeps "
            "checking until Fyers recovers."
        )
    return Notification(new_id("ntc"), user_id, kind, title, text, now, incident_id)


def compose_login_asked(
    user_id: str, *, incident_id: str, is_by_admin: bool, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that asks a user to log in, sent by an admin or after an expired login link was opened."""
    if is_by_admin:
        title = "An administrator asks you to log in to Fyers"
        text = f"Requested {at_ist(now)}. Log in to Fyers, and monitoring continues."
    else:
        title = "Your new login link"
        text = (
            f"An expired login link of yours was opened {at_ist(now)}, and a new one was requested. Log in to Fyers to continue. "
            "If that was not you, ignore this notice: the link was sent to you alone."
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


def describe_signal(signal: Signal) -> str:
    """Return what happened, such as ``NSE:SBIN-EQ crossed above its average``."""
    return f"{signal.symbol.text} {_DIRECTIONS[signal.rule, signal.direction]}"


def signal_notice_id(signal: Signal) -> str:
    """Return the id of a signal's notice, the same for each revision."""
    return f"ntc_{sha256(_identity(signal).encode()).hexdigest()[:20]}"


def _identity(signal: Signal) -> str:
    moment = int(signal.candle_opened_at.timestamp())
    return f"{signal.watch_id}.{moment}.{signal.rule.value}.{signal.resolution.code}"


def compose_signal(signal: Signal) -> Notification:
    """Return the notice of a signal, which counts as read because the page shows the signal itself.

    Its ids follow from the signal, so that a repeated notice is stored once.
    """
    happened = describe_signal(signal)
    text = (
        f"The candle closed at {signal.close:.2f} {at_ist(signal.candle_closed_at)}. "
        f"HMA({signal.period}) was {signal.hma:.2f} (resolution {signal.resolution.code})."
    )
    if signal.is_late:
        text += f" The signal was found late, {at_ist(signal.detected_at)}, when missed or corrected candles were loaded."
    return Notification(
        id=signal_notice_id(signal),
        user_id=signal.user_id,
        kind=NotificationKind.SIGNAL,
        title=f"Late: {happened}" if signal.is_late else happened,
        text=text,
        created_at=signal.detected_at,
        incident_id=_identity(signal),
        read_at=signal.detected_at,
    )
