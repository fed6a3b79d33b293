"""The message about a connection for its user."""

from datetime import datetime

from hullwatch.domain.monitoring.obstacles import OF_DISCONNECT, Obstacle, obstacle_of_verification
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.services.texts.obstacles import EXPIRED_EARLY, OBSTACLE_TEXTS, ObstacleText, describe_obstacle
from hullwatch.services.texts.times import at_ist, in_ist


def connection_message(connection: Connection) -> str:
    """Return what the user should know of the connection and do about it."""
    match connection.state:
        case LoginState.NEVER_CONNECTED:
            return describe_obstacle(Obstacle.NEVER_CONNECTED)
        case LoginState.DISCONNECTED:
            text = disconnect_text(connection)
            return " ".join(filter(None, (text.sentence, text.detail, text.action)))
        case LoginState.EXPIRING:
            return _expiring(connection)
        case LoginState.CONNECTED:
            return _connected(connection)


def disconnect_text(connection: Connection) -> ObstacleText:
    """Return the texts of a disconnected session, the time included."""
    reason = connection.reason or DisconnectReason.EXPIRED
    disconnected_at, expires_at = _disconnected_at(connection), connection.expires_at
    text = OBSTACLE_TEXTS[OF_DISCONNECT[reason]]
    if (
        reason is DisconnectReason.EXPIRED
        and disconnected_at is not None
        and expires_at is not None
        and disconnected_at < expires_at
    ):
        text = EXPIRED_EARLY
    return text.fill(at=at_ist(disconnected_at) if disconnected_at else "")


def _connected(connection: Connection) -> str:
    until = f" until {in_ist(connection.expires_at)}" if connection.expires_at else ""
    obstacle = obstacle_of_verification(connection.verification_state, connection.hold_reason)
    if obstacle is None:
        return f"You are connected to Fyers{until}. Fyers confirmed the session."
    text = OBSTACLE_TEXTS[obstacle]
    return f"You are connected to Fyers{until}, but {text.because}. {text.action}"


def _expiring(connection: Connection) -> str:
    at = f", {at_ist(connection.expires_at)}" if connection.expires_at else ""
    obstacle = obstacle_of_verification(connection.verification_state, connection.hold_reason)
    also = f" {OBSTACLE_TEXTS[obstacle].sentence}" if obstacle else ""
    return f"Your Fyers session expires soon{at}.{also} You can log in again now."


def _disconnected_at(connection: Connection) -> datetime | None:
    """Return when the session stopped; an expiry that was noticed late, as after a restart, counts from `expires_at`."""
    noticed_at, expires_at = connection.last_disconnect_at, connection.expires_at
    if (
        connection.reason is DisconnectReason.EXPIRED
        and expires_at is not None
        and (noticed_at is None or expires_at < noticed_at)
    ):
        return expires_at
    return noticed_at
