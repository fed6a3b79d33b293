"""Whether monitoring lives: a few counts of its cycles, the rule that reads them, and what became of telling somebody outside."""

from dataclasses import dataclass
from datetime import timedelta

MAX_STALL = timedelta(seconds=90)
"""The loop that starts cycles turns every 30 seconds at the latest; three of that without a turn is no life."""


@dataclass(frozen=True, slots=True)
class MonitoringHealth:
    """What monitoring did lately."""

    stalled_for: timedelta
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


def is_healthy(health: MonitoringHealth) -> bool:
    """Tell whether monitoring really works.

    In trading hours cycles have to complete, for more than half of the accounts that should be watched, and for one at least if anybody wants
    to be; and not one may be overdue, since a cycle has a deadline and one that outlasts it is hullwatch's own fault. Where nothing is due (outside
    trading hours, or when nobody wants to be watched) the loop has to turn, so that nights and holidays raise no alarm, and a dead server does.
    """
    if health.stalled_for > MAX_STALL:
        return False
    if not health.is_trading or not health.wanted:
        return True
    return not health.overdue and 2 * health.completed > health.expected


@dataclass(frozen=True, slots=True)
class PingAccepted:
    """The other side has taken a ping."""


@dataclass(frozen=True, slots=True)
class PingFailed:
    """A ping did not arrive, or was refused."""

    cause: str
    """A short stable word: ``timeout``, ``connection``, ``http_404``, …; never the address."""
