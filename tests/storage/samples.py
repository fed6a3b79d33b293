"""Values to store: one of each kind, changed by keyword."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.channels import (
    AddressProof,
    Channel,
    ChannelAddress,
    Destination,
    SigningSecret,
)
from hullwatch.domain.notifications.mail_codes import MailCode
from hullwatch.domain.notifications.notifications import ChannelKind, Notification, NotificationKind
from hullwatch.domain.sessions.connection import Connection, LoginState, VerificationState
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.domain.users.accounts import ApiToken, PendingLogin, Role, User

NOW = datetime(2026, 11, 23, 4, 0, 0, 123457, tzinfo=UTC)
SBIN = Symbol.parse("NSE:SBIN-EQ")
INFY = Symbol.parse("NSE:INFY-EQ")
FIVE = Resolution.parse("5")


def after(minutes: float) -> datetime:
    """Return a moment so many minutes after `NOW`."""
    return NOW + timedelta(minutes=minutes)


def user(user_id: str = "asha", **changes) -> User:
    """Return a user."""
    return replace(User(user_id, f"{user_id}@example.com", user_id.title(), Role.TRADER, NOW), **changes)


def connected(user_id: str = "asha", generation: int = 1, **changes) -> Connection:
    """Return a connection with a session, every field filled."""
    whole = Connection(
        user_id=user_id,
        state=LoginState.CONNECTED,
        verification_state=VerificationState.VERIFIED,
        generation=generation,
        fyers_id="XA00001",
        app_id="ABCD1234XY-100",
        expires_at=after(600),
        connected_at=NOW,
        last_validated_at=after(1),
        last_disconnect_at=after(-500),
        incident_id="incident-1",
    )
    return replace(whole, **changes)


def watch(watch_id: str = "w1", user_id: str = "asha", **changes) -> Watch:
    """Return a watch."""
    whole = Watch(
        id=watch_id,
        user_id=user_id,
        symbol=SBIN,
        resolution=FIVE,
        period=55,
        rule=Rule.CROSS,
        created_at=NOW,
        evaluated_through=NOW,
        signals_from=NOW,
    )
    return replace(whole, **changes)


def signal(minutes: int = 0, watch_id: str = "w1", user_id: str = "asha", **changes) -> Signal:
    """Return a signal on the candle that opened so many minutes after `NOW`."""
    whole = Signal(
        watch_id=watch_id,
        user_id=user_id,
        symbol=SBIN,
        resolution=FIVE,
        period=55,
        rule=Rule.CROSS,
        direction=Direction.UP,
        candle_opened_at=after(minutes),
        candle_closed_at=after(minutes + 5),
        close=812.35,
        hma=811.9000000000001,
        detected_at=after(minutes + 5.01),
        is_late=False,
    )
    return replace(whole, **changes)


def notification(notification_id: str = "n1", user_id: str = "asha", **changes) -> Notification:
    """Return a notification."""
    whole = Notification(
        notification_id,
        user_id,
        NotificationKind.SESSION_DISCONNECTED,
        "Log in again",
        "Your session ended.",
        NOW,
    )
    return replace(whole, **changes)


def channel(channel_id: str = "c1", user_id: str = "asha", **changes) -> Channel:
    """Return a webhook that delivers expired sessions and signals; an e-mail address is a confirmed one."""
    kinds = frozenset({NotificationKind.SESSION_DISCONNECTED, NotificationKind.SIGNAL})
    whole = Channel(
        channel_id,
        user_id,
        ChannelKind.WEBHOOK,
        "my hook",
        "https://x.in/…",
        kinds,
        is_on=True,
        created_at=NOW,
        proof=AddressProof.CODE if changes.get("kind") is ChannelKind.EMAIL else None,
    )
    return replace(whole, **changes)


def destination(**changes) -> Destination:
    """Return where a webhook leads."""
    whole = Destination(
        ChannelKind.WEBHOOK, ChannelAddress("https://x.in/hook?key=canary"), SigningSecret("canary-signing")
    )
    return replace(whole, **changes)


def mail_code(code_id: str = "m1", user_id: str = "asha", **changes) -> MailCode:
    """Return a code that was mailed to confirm an address."""
    return replace(MailCode(code_id, user_id, "c1", "recipient-hash", "code-hash", NOW), **changes)


def api_token(token_id: str = "t1", user_id: str = "asha", **changes) -> ApiToken:
    """Return an API token."""
    return replace(ApiToken(token_id, user_id, "laptop", NOW), **changes)


def pending(user_id: str = "asha", **changes) -> PendingLogin:
    """Return a pending login."""
    return replace(PendingLogin(user_id, "ABCD1234XY-100", after(10), "nonce-hash"), **changes)


def audit_entry(minutes: float = 0, **changes) -> AuditEntry:
    """Return a line of the audit trail."""
    whole = AuditEntry(at=after(minutes), user_id="asha", kind="connection.expired", actor="fyers")
    return replace(whole, **changes)


async def add_users(store, *user_ids: str) -> None:
    """Store these users."""
    async with store.begin() as work:
        for user_id in user_ids:
            await work.users.add(user(user_id), "argon2-hash")
        await work.commit()
