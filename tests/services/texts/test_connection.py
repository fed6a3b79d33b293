"""Tests the message about a connection."""

from datetime import UTC, datetime, timedelta

from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.services.texts.connection import connection_message

SIX = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def expired(at: datetime) -> Connection:
    """Return a session that was to expire at `SIX` and expired at this moment."""
    return Connection(
        "u",
        state=LoginState.DISCONNECTED,
        reason=DisconnectReason.EXPIRED,
        expires_at=SIX,
        last_disconnect_at=at,
    )


def test_the_daily_expiry_is_explained():
    """A user who reads it for the first time sees that it is usual."""
    assert connection_message(expired(SIX)) == (
        "Your Fyers session expired on 24 Nov 2026, 06:00 IST. Fyers sessions expire every day. Log in to Fyers again."
    )


def test_an_early_expiry_is_not_called_the_daily_one():
    """Fyers can report an expiry before the time in the access token."""
    message = connection_message(expired(SIX - timedelta(hours=14)))

    assert (
        message
        == "Your Fyers session expired on 23 Nov 2026, 16:00 IST, earlier than expected. Log in to Fyers again."
    )
