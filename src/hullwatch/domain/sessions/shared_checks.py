"""What server processes share about a session: when Fyers confirmed it. A refusal is never shared.

Each process verifies a refusal itself. The others read a disconnect from the database.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Fyers confirmed this session to another process, or to this one."""

    age_s: float
    """Seconds since the confirmation was stored, by the clock of the store: clocks of processes may differ."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No process stored a confirmation lately."""


@dataclass(frozen=True, slots=True)
class SharingUnavailable:
    """The shared store did not answer, or there is none: this process acts as if it were alone."""


SharedAnswer = Confirmed | Unconfirmed | SharingUnavailable


class Claim(StrEnum):
    """Which process calls Fyers about a session now."""

    OURS = "ours"
    """This process; the others wait for its result for a moment."""
    OTHERS = "others"
    """Another process."""
    UNKNOWN = "unknown"
    """The shared store did not answer, so this process calls Fyers."""


@dataclass(frozen=True, slots=True)
class SharingReport:
    """Whether sharing works, for operators."""

    is_used: bool
    is_answering: bool
    """False also where nothing is shared."""
