"""Messages and destinations for the tests of channels."""

from dataclasses import replace
from datetime import UTC, datetime

from hullwatch.domain.notifications.channels import ChannelAddress, Destination, Mail, Message, SigningSecret
from hullwatch.domain.notifications.notifications import ChannelKind, Notification, NotificationKind
from hullwatch.domain.secrets import SecretText

NOW = datetime(2026, 11, 23, 8, 35, tzinfo=UTC)
SECRET = "canary-signing-secret"
LINK = "https://hull.example/reconnect#canary-link"


def message(message_id: str = "ntc_1.chn_1", *, link: str = "", **changes) -> Message:
    """Return a message about an expired session."""
    notice = Notification(
        "ntc_1",
        "usr_a",
        NotificationKind.SESSION_DISCONNECTED,
        "Session <ended> ₹",
        "It is over & out.",
        NOW,
        "inc_1",
    )
    return Message(message_id, replace(notice, **changes), SecretText(link) if link else None)


def mail() -> Mail:
    """Return a mail that is no notice."""
    return Mail("cod_1", "A code", SecretText("canary 1234-5678"), NOW)


def destination(kind: ChannelKind, address: str) -> Destination:
    """Return a destination of a channel."""
    secret = SigningSecret(SECRET) if kind is ChannelKind.WEBHOOK else None
    return Destination(kind, ChannelAddress(address), secret)
