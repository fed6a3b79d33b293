"""The base class of all tables, and what their columns share."""

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass

LONGEST_ID = 64
LONGEST_HASH = 128
LONGEST_PASSWORD_HASH = 256
LONGEST_CIPHERTEXT = 60_000
"""Characters: `LONGEST_TEXT` in UTF-8, encrypted, in base64."""


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """Constraints get predictable names, which migrations need to change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def owner() -> ForeignKey:
    """Return a foreign key to a user; the row is removed with the user."""
    return ForeignKey("users.id", ondelete="CASCADE")
