"""What a person is told about a connection."""

from datetime import UTC, datetime, timedelta

from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.services.texts.connection import connection_message

SIX = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def ended(at: datetime) -> Connection:
    """Return a session with the regular end that expired at this moment."""
    return Connection(
        "u",
        state=LoginState.DISCONNECTED,
        reason=DisconnectReason.EXPIRED,
        expires_at=SIX,
        last_disconnect_at=at,
    )


def test_an_end_at_the_known_end_is_called_what_it_is():
    """The daily end sounds like one."""
    assert "06:00 IST on 24 November, as it does every day" in connection_message(ended(SIX))


def test_an_expiry_before_the_known_end_is_not_called_the_daily_one():
    """Fyers' word for an earlier end is passed on as such."""
    message = connection_message(ended(SIX - timedelta(hours=14)))

    assert "16:00 IST on 23 November, earlier than its regular end" in message
    assert "every day" not in message
