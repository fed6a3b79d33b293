"""Why nothing can be stored or read, and how long ago both worked."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_AGE_S: Final = 8.0
"""Older than this, a successful check says nothing about the present. `/readyz` is right within ten seconds."""


class StorageFault(StrEnum):
    """Why the database cannot be used."""

    NO_RESPONSE = "no_response"
    """It does not respond in time, or not at all."""
    LOCKED = "locked"
    """Another process holds it."""
    FULL = "full"
    """There is no space left for it."""
    READ_ONLY = "read_only"
    DAMAGED = "damaged"
    """A page is not what the database wrote."""
    MISSING = "missing"
    """The file is not there, or cannot be opened."""
    DISK_ERROR = "disk_error"
    """The disk fails to read or write."""
    WRONG_SCHEMA = "wrong_schema"
    """A table of this version is missing."""


@dataclass(frozen=True, slots=True)
class StorageState:
    """What the checks of the database have found."""

    fault: StorageFault | None
    """What the last check found."""
    failures: int
    """Failed checks in a row."""
    age_s: float
    """Seconds since the last successful check."""

    @property
    def is_ready(self) -> bool:
        """Whether a check has succeeded recently; a single failed one can be a short lock."""
        return self.age_s <= MAX_AGE_S

    @property
    def is_outage(self) -> bool:
        """Whether nothing can be stored or read. A process that was suspended has no recent check, but no failed ones."""
        return not self.is_ready and self.failures > 1
