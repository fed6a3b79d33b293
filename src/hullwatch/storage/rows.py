"""Rows and domain values with the same field names are copied by name."""

from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Table

from hullwatch.storage.models import Base

V = TypeVar("V")
R = TypeVar("R", bound=Base)


def value_of(cls: type[V], row: object, **others: object) -> V:
    """Return a domain value with the fields of a row; `others` replace or add fields."""
    dataclass: Any = cls
    return cls(**{name: others[name] if name in others else getattr(row, name) for name in _names(dataclass)})


def row_of(cls: type[R], value: object, **others: object) -> R:
    """Return a row with the fields of a domain value; `others` replace or add columns."""
    shared = {
        name: getattr(value, name)
        for name in table_of(cls).columns.keys()  # noqa: SIM118 - not a mapping
        if name not in others and hasattr(value, name)
    }
    return cls(**shared, **others)


def table_of(row: type[Base]) -> Table:
    """Return the table of a class of rows."""
    return cast("Table", row.__table__)


def values_of(row: Base) -> dict[str, Any]:
    """Return a row as the values of an INSERT, without the key that the database generates."""
    return {
        column.key: getattr(row, column.key)
        for column in table_of(type(row)).columns
        if column is not table_of(type(row)).autoincrement_column
    }


@cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))
