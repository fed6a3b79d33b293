"""What one server process may learn from another about a session: that Fyers confirmed it, so many seconds ago. Nothing else is shared.

There is no value for "invalid": a refusal is each process' own to see, twice, and the database tells the others of its end.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Fyers confirmed this session to another process, or to this one."""

    age_s: float
    """Seconds since it was written down, by the clock of whoever keeps it: processes' own clocks may differ."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Nobody has written a confirmation down lately."""


@dataclass(frozen=True, slots=True)
class NotAnswering:
    """Whoever keeps confirmations could not be asked, or there is nobody: this process is on its own."""


SharedAnswer = Confirmed | Unconfirmed | NotAnswering


class Turn(StrEnum):
    """Who asks Fyers about a session now."""

    OURS = "ours"
    """This process; the others wait for a moment."""
    OTHERS = "others"
    """Another process does."""
    UNKNOWN = "unknown"
    """It could not be settled, so this process asks."""


@dataclass(frozen=True, slots=True)
class SharingReport:
    """How sharing stands, for operators."""

    is_used: bool
    is_answering: bool
    """False also where nothing is shared."""
