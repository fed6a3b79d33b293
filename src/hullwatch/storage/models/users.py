"""Tables of users and of what they log in with."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.domain.users.accounts import LONGEST_EMAIL, LONGEST_NAME, Role
from hullwatch.storage.columns import PlainText, UtcMoment, word_of
from hullwatch.storage.models.base import LONGEST_HASH, LONGEST_ID, LONGEST_PASSWORD_HASH, Base, owner


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
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)


class ApiTokenRow(Base):
    """A program's API token, by its hash."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    name: Mapped[str] = mapped_column(PlainText(LONGEST_NAME))
    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), unique=True, repr=False)
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcMoment)


class InviteRow(Base):
    """An admin's invitation of one person to register, by the hash of its link."""

    __tablename__ = "invites"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    created_by: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)


class PasswordResetRow(Base):
    """A link with which a user chooses a new password, by the hash of its value."""

    __tablename__ = "password_resets"

    value_hash: Mapped[str] = mapped_column(PlainText(LONGEST_HASH), primary_key=True, repr=False)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), index=True)
    requested_by: Mapped[str | None] = mapped_column(PlainText(LONGEST_ID))
    """The admin who created it, or nothing for a link that was sent to the user."""
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    expires_at: Mapped[datetime] = mapped_column(UtcMoment, index=True)
