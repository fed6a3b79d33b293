"""Whether monitoring lives: a few counts of its cycles, the rule that reads them, and what became of telling somebody outside."""

from dataclasses import dataclass
from datetime import timedelta

LONGEST_STILLNESS = timedelta(seconds=90)
"""The loop that starts cycles turns every 30 seconds at the latest; three of that without a turn is no life."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What monitoring did lately."""

    still_for: timedelta
    """Since the loop that starts cycles last turned."""
    is_trading: bool
    """Whether a session has been under way for long enough that everybody's first cycle should be through."""
    wanted: int
    """Accounts that want monitoring and have a watchlist."""
    expected: int
    """Of these, accounts that should be watched now: they have a session with Fyers, or lost it since the market opened."""
    completed: int
    """Of these, accounts whose latest cycle ended in time, left them watched, and left nothing to be stored."""
    overdue: int
    """Of these, accounts that were being watched and whose next cycle has not ended in time."""


def is_alive(vitals: Vitals) -> bool:
    """Tell whether monitoring really works.

    In trading hours cycles have to complete, for more than half of the accounts that should be watched, and for one at least if anybody wants
    to be; and not one may be overdue, since a cycle has a deadline and one that outlasts it is hullwatch's own fault. Where nothing is due (outside
    trading hours, or when nobody wants to be watched) the loop has to turn, so that nights and holidays raise no alarm, and a dead server does.
    """
    if vitals.still_for > LONGEST_STILLNESS:
        return False
    if not vitals.is_trading or not vitals.wanted:
        return True
    return not vitals.overdue and 2 * vitals.completed > vitals.expected


@dataclass(frozen=True, slots=True)
class Taken:
    """The other side has taken a ping."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A ping did not arrive, or was refused."""

    cause: str
    """A short stable word: ``timeout``, ``connection``, ``http_404``, …; never the address."""
