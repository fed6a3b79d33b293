"""Tables of the audit trail, the heartbeat and the installation."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.storage.columns import JsonText, PlainText, UtcMoment
from hullwatch.storage.models.base import LONGEST_CIPHERTEXT, LONGEST_ID, Base


class AuditEventRow(Base):
    """One line of the audit trail. It has no foreign key, because it stays when the user is removed."""

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
    """When a server process was last known to run; each heartbeat overwrites the last."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcMoment)


class InstallationRow(Base):
    """Encrypted values of the installation.

    ``key_check`` is a known text that shows whether the keys fit. ``sharing_salt`` salts the hashed names that processes share.
    """

    __tablename__ = "installation"

    name: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    value: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
