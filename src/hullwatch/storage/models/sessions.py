"""Tables of sessions at Fyers and of how they begin."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.storage.columns import PlainText, UtcMoment, word_of
from hullwatch.storage.models.base import LONGEST_CIPHERTEXT, LONGEST_HASH, LONGEST_ID, Base, owner


class BrokerConnectionRow(Base):
    """A user's session with Fyers and its encrypted access token."""

    __tablename__ = "broker_connections"
    __table_args__ = (
        CheckConstraint("generation >= 0", name="generation"),
        CheckConstraint(
            "access_token IS NULL OR (state IN ('connected', 'expiring') AND token_generation = generation)",
            name="token_of_this_session",
        ),
    )

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), primary_key=True)
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
    """A user's own Fyers app and its encrypted secret."""

    __tablename__ = "fyers_apps"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), primary_key=True)
    app_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    secret: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    redirect_uri: Mapped[str] = mapped_column(PlainText(512))


class PendingLoginRow(Base):
    """A login at Fyers that has been started, by the hash of its `state`."""

    __tablename__ = "pending_logins"

    state_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    app_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)
    browser_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), repr=False)
    may_switch_account: Mapped[bool]
    link_generation: Mapped[int | None] = mapped_column(default=None)
    """The generation of the login link that started it, if a link did."""


class LoginLinkRow(Base):
    """A link with which one account logs in at Fyers, by the hash of its value."""

    __tablename__ = "login_links"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    generation: Mapped[int]
    """The account's generation when the link was created; a later login makes the link void."""
    requested_by: Mapped[str] = mapped_column(PlainText(LONGEST_ID))
    """``hullwatch`` for a notice, ``old_link`` for a request on an expired link, or a user id."""
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When its button was pressed; after that no other browser can use the link."""
    browser_hash: Mapped[str | None] = mapped_column(PlainText(LONGEST_HASH), repr=False, default=None)
    """Hash of the nonce in the cookie of the browser that used the link."""


class CallPaceRow(Base):
    """How much of Fyers' rate limits an account has used. It belongs to the account at Fyers, not to a user."""

    __tablename__ = "call_paces"

    app_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    fyers_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    day: Mapped[date]
    calls: Mapped[int]
    limits: Mapped[int]
    paused_until: Mapped[datetime | None] = mapped_column(UtcMoment)
    recent_calls: Mapped[int]
    stored_at: Mapped[datetime] = mapped_column(UtcMoment)
