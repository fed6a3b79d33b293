"""Column types: moments, texts, symbols, words of an enum, JSON."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, Enum, Text
from sqlalchemy.types import TypeDecorator

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle

LONGEST_TEXT = 10_000
"""Characters; the longest stored text is an access token of 8,192."""


def check_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the text if both databases can store it unchanged.

    Raises:
        InvalidInput: It is too long, holds a NUL (which PostgreSQL refuses), or half a surrogate pair (which is not UTF-8).
    """
    if len(text) > longest:
        raise InvalidInput(f"A text of more than {longest} characters cannot be stored here.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("A text with a NUL or half a character cannot be stored.")
    return text


class PlainText(TypeDecorator[str]):
    """Text with a limit that holds on both databases; SQLite would ignore the one of a VARCHAR."""

    impl = Text
    cache_ok = True

    def __init__(self, longest: int = LONGEST_TEXT) -> None:
        super().__init__()
        self.longest = longest

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Refuse a text that cannot be stored."""
        return None if value is None else check_text(value, self.longest)


class SymbolText(TypeDecorator[Symbol]):
    """A symbol, as its text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Symbol | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it."""
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Symbol | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else Symbol.parse(value)


class ResolutionText(TypeDecorator[Resolution]):
    """A resolution, as its code."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Resolution | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it."""
        return None if value is None else value.code

    def process_result_value(self, value: str | None, dialect: Dialect) -> Resolution | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else Resolution.parse(value)


class ObstacleText(TypeDecorator[Obstacle]):
    """An obstacle, as its word."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Obstacle | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it."""
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Obstacle | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else Obstacle(value)


class UtcMoment(TypeDecorator[datetime]):
    """An aware moment, to the microsecond; comes back in UTC.

    SQLite stores no zone. It stores UTC text of fixed width, so that comparing texts compares moments.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert an aware moment to UTC; a naive one is a bug of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a moment to be stored must be aware of its zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return it aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Mapping[str, object]]):
    """A small mapping as JSON text; PostgreSQL's jsonb refuses NULs that an escaped text can hold."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, object] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it; a value without a JSON form is written as its text."""
        return None if value is None else json.dumps(dict(value), default=str, sort_keys=True)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, object] | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else _mapping(json.loads(value))


def _mapping(value: Any) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {"value": value}


def word_of(enum: type[StrEnum], name: str) -> Enum:
    """Return the type of a column with the words of `enum`, with a CHECK constraint named after `name`."""
    return Enum(
        enum,
        name=name,
        native_enum=False,  # a new word then needs no ALTER TYPE, which SQLite does not have
        create_constraint=True,
        length=32,
        values_callable=lambda words: [word.value for word in words],
    )
