"""The tables. Rows never leave the storage room: repositories turn them into domain values.

Every CHECK, index and foreign key here is in a migration too; a test compares both, so change them together.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.notifications.notifications import ChannelKind, DeliveryState, NotificationKind
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, Rule
from hullwatch.domain.users.accounts import LONGEST_EMAIL, LONGEST_NAME, Role
from hullwatch.storage.columns import JsonText, PlainText, ResolutionText, SymbolText, UtcMoment, word_of

LONGEST_ID = 64
LONGEST_HASH = 128
LONGEST_PASSWORD_HASH = 256
LONGEST_CIPHERTEXT = 60_000
"""Characters: `LONGEST_TEXT` in UTF-8, sealed, in base64."""


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """What all tables share: names for constraints, so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _owner() -> ForeignKey:
    return ForeignKey("users.id", ondelete="CASCADE")


class UserRow(Base):
    """A person using hullwatch."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    email: Mapped[str] = mapped_column(PlainText(LONGEST_EMAIL), unique=True)
    full_name: Mapped[str] = mapped_column(PlainText(LONGEST_NAME))
    role: Mapped[Role] = mapped_column(word_of(Role, "role"))
    password_hash: Mapped[str] = mapped_column(PlainText(LONGEST_PASSWORD_HASH), repr=False)
    created_at: Mapped[datetime] = mapped_column(UtcMoment)


class BrowserLoginRow(Base):
    """A browser's login, by the hash of its cookie."""

    __tablename__ = "browser_logins"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)


class ApiTokenRow(Base):
    """A program's way in, by the hash of its token."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    name: Mapped[str] = mapped_column(PlainText(LONGEST_NAME))
    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), unique=True, repr=False)
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcMoment)


class InviteRow(Base):
    """An admin's leave for one person to register, by the hash of what the link holds."""

    __tablename__ = "invites"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    created_by: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)


class BrokerConnectionRow(Base):
    """A user's session with Fyers and its sealed access token."""

    __tablename__ = "broker_connections"
    __table_args__ = (
        CheckConstraint("generation >= 0", name="generation"),
        CheckConstraint(
            "access_token IS NULL OR (state IN ('connected', 'expiring') AND token_generation = generation)",
            name="token_of_this_session",
        ),
    )

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), primary_key=True)
    state: Mapped[LoginState] = mapped_column(word_of(LoginState, "state"))
    verification_state: Mapped[VerificationState] = mapped_column(
        word_of(VerificationState, "verification_state")
    )
    generation: Mapped[int]
    reason: Mapped[DisconnectReason | None] = mapped_column(word_of(DisconnectReason, "reason"))
    fyers_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    app_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    expires_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    connected_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    last_validated_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    last_disconnect_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    incident_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    access_token: Mapped[str | None] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False, default=None)
    token_generation: Mapped[int | None] = mapped_column(default=None)


class FyersAppRow(Base):
    """A user's own Fyers app and its sealed secret."""

    __tablename__ = "fyers_apps"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), primary_key=True)
    app_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    secret: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    redirect_uri: Mapped[str] = mapped_column(PlainText(512))


class PendingLoginRow(Base):
    """A login at Fyers that was begun here, by the hash of its `state`."""

    __tablename__ = "pending_logins"

    state_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    app_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)
    browser_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), repr=False)
    may_switch_account: Mapped[bool]
    link_generation: Mapped[int | None] = mapped_column(default=None)
    """The generation that the login link was made for with which it was begun, if it was."""


class LoginLinkRow(Base):
    """A link to log one account in at Fyers, by the hash of what the link holds."""

    __tablename__ = "login_links"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    generation: Mapped[int]
    """The account's generation when it was made: a later login makes the link void."""
    requested_by: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    """Who asked for it: ``hullwatch`` for a notice, or a user id."""
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When its button was pressed; after that no other browser may."""
    browser_hash: Mapped[str | None] = mapped_column(PlainText(LONGEST_HASH), repr=False, default=None)
    """Hash of the nonce that the browser which pressed the button holds in a cookie."""


class RenewalRow(Base):
    """What renews a session without its user, where Fyers offers that and the user has opted in; both secrets are sealed."""

    __tablename__ = "renewals"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), primary_key=True)
    pin: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    opted_in_at: Mapped[datetime] = mapped_column(UtcMoment)
    app_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID), default=None)
    """The app that the refresh token belongs to."""
    login_generation: Mapped[int | None] = mapped_column(default=None)
    """The login that brought the refresh token."""
    refresh_token: Mapped[str | None] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False, default=None)
    refresh_token_expires_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    tried_generation: Mapped[int | None] = mapped_column(default=None)
    """The session for which the last try was made, noted before it is made."""
    last_tried_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    last_outcome: Mapped[RenewalOutcome | None] = mapped_column(
        word_of(RenewalOutcome, "last_outcome"), default=None
    )


class WatchRow(Base):
    """One line of a watchlist."""

    __tablename__ = "watches"
    __table_args__ = (
        UniqueConstraint("user_id", "symbol", "resolution", "period", "rule"),
        CheckConstraint(f"period BETWEEN {MIN_PERIOD} AND {MAX_PERIOD}", name="period"),
    )

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner())
    symbol: Mapped[Symbol] = mapped_column(SymbolText)
    resolution: Mapped[Resolution] = mapped_column(ResolutionText)
    period: Mapped[int]
    rule: Mapped[Rule] = mapped_column(word_of(Rule, "rule"))
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    evaluated_through: Mapped[datetime] = mapped_column(UtcMoment)


class MonitoringWishRow(Base):
    """Whether a user wants monitoring."""

    __tablename__ = "monitoring_wishes"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), primary_key=True)
    is_wanted: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(UtcMoment)


class SignalRow(Base):
    """A dated fact; outlives its watch, hence no foreign key to it. The primary key makes each one exist once."""

    __tablename__ = "signals"
    __table_args__ = (
        Index(None, "user_id", "candle_opened_at"),
        CheckConstraint("candle_closed_at > candle_opened_at", name="candle"),
    )

    watch_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    candle_opened_at: Mapped[datetime] = mapped_column(UtcMoment, primary_key=True)
    rule: Mapped[Rule] = mapped_column(word_of(Rule, "rule"), primary_key=True)
    resolution: Mapped[Resolution] = mapped_column(ResolutionText, primary_key=True)
    """A watch whose resolution was changed meets candles that open like ones it judged before, and are others."""
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner())
    symbol: Mapped[Symbol] = mapped_column(SymbolText)
    period: Mapped[int]
    direction: Mapped[Direction] = mapped_column(word_of(Direction, "direction"))
    candle_closed_at: Mapped[datetime] = mapped_column(UtcMoment)
    close: Mapped[float]
    hma: Mapped[float]
    detected_at: Mapped[datetime] = mapped_column(UtcMoment)
    is_late: Mapped[bool]


class NotificationRow(Base):
    """A notice to one user; one of a kind per incident."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index(
            "uq_notifications_user_id_kind_incident_id",
            "user_id",
            "kind",
            "incident_id",
            unique=True,
            sqlite_where=text("incident_id IS NOT NULL"),
            postgresql_where=text("incident_id IS NOT NULL"),
        ),
        Index(None, "user_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner())
    kind: Mapped[NotificationKind] = mapped_column(word_of(NotificationKind, "kind"))
    title: Mapped[str] = mapped_column(PlainText(500))
    text: Mapped[str] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    incident_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    read_at: Mapped[datetime | None] = mapped_column(UtcMoment)


class ChannelRow(Base):
    """A way by which a user's notices travel beyond the page; where it leads is sealed, since such addresses hold passwords and keys."""

    __tablename__ = "channels"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    kind: Mapped[ChannelKind] = mapped_column(word_of(ChannelKind, "kind"))
    label: Mapped[str] = mapped_column(PlainText(LONGEST_NAME))
    address: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    hint: Mapped[str] = mapped_column(PlainText(LONGEST_EMAIL))
    """What may be shown of the address."""
    signing_secret: Mapped[str | None] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    is_on: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    last_sent_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    failures: Mapped[int] = mapped_column(default=0)
    """Failures in a row."""
    failing_since: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When the first of them was."""
    last_error: Mapped[str | None] = mapped_column(PlainText(500), default=None)
    paused_until: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """After a failure nothing is tried on this channel before that."""


class ChannelKindRow(Base):
    """A kind of notice that a channel carries."""

    __tablename__ = "channel_kinds"

    channel_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[NotificationKind] = mapped_column(word_of(NotificationKind, "kind"), primary_key=True)


class DeliveryRow(Base):
    """The outbox: one notice on one channel, made in the transaction that stores the notice."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(None, "notification_id"),
        Index(None, "state", "due_at"),
        Index(None, "channel_id", "state", "due_at"),
    )

    id: Mapped[str] = mapped_column(PlainText(2 * LONGEST_ID), primary_key=True)
    """Made of both ids, so that a receiver knows a repetition by it."""
    notification_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("notifications.id", ondelete="CASCADE")
    )
    channel_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("channels.id", ondelete="CASCADE")
    )
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), _owner(), index=True)
    state: Mapped[DeliveryState] = mapped_column(word_of(DeliveryState, "state"))
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    due_at: Mapped[datetime] = mapped_column(UtcMoment)
    attempts: Mapped[int] = mapped_column(default=0)
    claimed_until: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """A server is at it until then; if it is not done after that, the server has died."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When it was sent or set aside."""
    last_error: Mapped[str | None] = mapped_column(PlainText(500), default=None)


class AuditEventRow(Base):
    """One line of the audit trail; no foreign key, since it outlives whom it speaks of."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "user_id", "at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, init=False)
    at: Mapped[datetime] = mapped_column(UtcMoment)
    user_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    kind: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    actor: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    from_state: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    to_state: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    reason: Mapped[str | None] = mapped_column(PlainText())
    generation: Mapped[int | None]
    incident_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    evidence: Mapped[Mapping[str, object]] = mapped_column(JsonText)


class HeartbeatRow(Base):
    """When something that runs was last known to run; overwritten, since only the last one says anything."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcMoment)


class IncidentRow(Base):
    """Something that is wrong with the server, until it is over; one a subject, whichever process noticed it."""

    __tablename__ = "incidents"

    subject: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), unique=True)
    began_at: Mapped[datetime] = mapped_column(UtcMoment)
    bad_at: Mapped[datetime] = mapped_column(UtcMoment)
    """When it was last seen to be wrong."""
    notified_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When operators were told; empty while it may be no more than a blip."""


class InstallationRow(Base):
    """What concerns the installation as a whole; all sealed.

    ``key_check`` is a known text that tells keys apart, ``sharing_salt`` what names are hashed with where several processes share something.
    """

    __tablename__ = "installation"

    name: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    value: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
