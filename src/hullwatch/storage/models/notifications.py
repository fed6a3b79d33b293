"""Tables of notices, channels, the outbox and open incidents."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.domain.notifications.channels import AddressProof
from hullwatch.domain.notifications.notifications import ChannelKind, DeliveryState, NotificationKind
from hullwatch.domain.users.accounts import LONGEST_EMAIL, LONGEST_NAME
from hullwatch.storage.columns import PlainText, UtcMoment, word_of
from hullwatch.storage.models.base import LONGEST_CIPHERTEXT, LONGEST_HASH, LONGEST_ID, Base, owner


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
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner())
    kind: Mapped[NotificationKind] = mapped_column(word_of(NotificationKind, "kind"))
    title: Mapped[str] = mapped_column(PlainText(500))
    text: Mapped[str] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    incident_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    read_at: Mapped[datetime | None] = mapped_column(UtcMoment)


class ChannelRow(Base):
    """A user's channel. The address is encrypted, because it can hold passwords and keys."""

    __tablename__ = "channels"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    kind: Mapped[ChannelKind] = mapped_column(word_of(ChannelKind, "kind"))
    label: Mapped[str] = mapped_column(PlainText(LONGEST_NAME))
    address: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    hint: Mapped[str] = mapped_column(PlainText(LONGEST_EMAIL))
    """The part of the address that pages may show."""
    signing_secret: Mapped[str | None] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    is_on: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    last_sent_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    failures: Mapped[int] = mapped_column(default=0)
    """Consecutive failures."""
    failing_since: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When the first of them happened."""
    last_error: Mapped[str | None] = mapped_column(PlainText(500), default=None)
    paused_until: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """No delivery is tried on this channel before this moment."""
    proof: Mapped[AddressProof | None] = mapped_column(word_of(AddressProof, "proof"), default=None)
    """What showed that an e-mail address belongs to the user; empty for other kinds."""


class ChannelKindRow(Base):
    """A kind of notice that a channel delivers."""

    __tablename__ = "channel_kinds"

    channel_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[NotificationKind] = mapped_column(word_of(NotificationKind, "kind"), primary_key=True)


class MailCodeRow(Base):
    """A code that was mailed to confirm an e-mail address. It outlives its channel, because the recipient is counted."""

    __tablename__ = "mail_codes"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    channel_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), index=True)
    recipient_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), index=True)
    code_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), repr=False)
    sent_at: Mapped[datetime] = mapped_column(UtcMoment)
    wrong_codes: Mapped[int] = mapped_column(default=0)
    """How often another code was entered for this one."""


class DeliveryRow(Base):
    """A delivery: one notice on one channel, created in the transaction that stores the notice."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(None, "notification_id"),
        Index(None, "state", "due_at"),
        Index(None, "channel_id", "state", "due_at"),
    )

    id: Mapped[str] = mapped_column(PlainText(2 * LONGEST_ID), primary_key=True)
    """Built from both ids, so that a receiver recognises a repeated delivery."""
    notification_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("notifications.id", ondelete="CASCADE")
    )
    channel_id: Mapped[str] = mapped_column(
        PlainText(LONGEST_ID), ForeignKey("channels.id", ondelete="CASCADE")
    )
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    state: Mapped[DeliveryState] = mapped_column(word_of(DeliveryState, "state"))
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    due_at: Mapped[datetime] = mapped_column(UtcMoment)
    attempts: Mapped[int] = mapped_column(default=0)
    claimed_until: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """A server is sending it until this moment; after it, another server may claim the delivery."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When it was sent or failed permanently."""
    last_error: Mapped[str | None] = mapped_column(PlainText(500), default=None)


class IncidentRow(Base):
    """An open incident of the server. There is one per subject, whichever process noticed it."""

    __tablename__ = "incidents"

    subject: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), unique=True)
    began_at: Mapped[datetime] = mapped_column(UtcMoment)
    bad_at: Mapped[datetime] = mapped_column(UtcMoment)
    """When the failure was last seen."""
    notified_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    """When operators were notified; empty while the failure may still pass by itself."""
