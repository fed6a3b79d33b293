"""The table of consents to session renewal."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.storage.columns import PlainText, UtcMoment, word_of
from hullwatch.storage.models.base import LONGEST_CIPHERTEXT, LONGEST_ID, Base, owner


class RenewalRow(Base):
    """A user's consent to session renewal; the PIN and the refresh token are encrypted."""

    __tablename__ = "renewals"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), primary_key=True)
    pin: Mapped[str] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False)
    opted_in_at: Mapped[datetime] = mapped_column(UtcMoment)
    app_id: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID), default=None)
    """The app that the refresh token belongs to."""
    login_generation: Mapped[int | None] = mapped_column(default=None)
    """The generation of the login that returned the refresh token."""
    refresh_token: Mapped[str | None] = mapped_column(PlainText(LONGEST_CIPHERTEXT), repr=False, default=None)
    refresh_token_expires_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    tried_generation: Mapped[int | None] = mapped_column(default=None)
    """The generation of the last try, stored before the try, so that a crash does not repeat it."""
    last_tried_at: Mapped[datetime | None] = mapped_column(UtcMoment, default=None)
    last_outcome: Mapped[RenewalOutcome | None] = mapped_column(
        word_of(RenewalOutcome, "last_outcome"), default=None
    )
