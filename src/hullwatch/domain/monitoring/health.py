"""Whether monitoring is healthy, and the result of a ping that reports it."""

from dataclasses import dataclass
from datetime import timedelta

MAX_STALL = timedelta(seconds=90)
"""The loop that starts cycles runs at least every 30 seconds; three missed passes mean that it has stalled."""


@dataclass(frozen=True, slots=True)
class MonitoringHealth:
    """Counts of recent cycles over all accounts."""

    stalled_for: timedelta
    """Time since the loop that starts cycles last ran."""
    is_trading: bool
    """Whether the market has been open long enough for the first cycle of every account."""
    wanted: int
    """Accounts that want monitoring and have a watchlist."""
    expected: int
    """Of these, accounts with a broker session, or that lost it since the market open."""
    completed: int
    """Of these, accounts whose latest cycle ended in time, was good and has been stored."""
    overdue: int
    """Of these, monitored accounts whose next cycle has not ended in time."""


def is_healthy(health: MonitoringHealth) -> bool:
    """Return whether monitoring works.

    In trading hours the cycles of more than half of the expected accounts have to complete, and of at least
    one if any is wanted. None may be overdue, since a cycle has a deadline. At other times only the loop has
    to run, so that nights and holidays raise no alarm.
    """
    if health.stalled_for > MAX_STALL:
        return False
    if not health.is_trading or not health.wanted:
        return True
    return not health.overdue and 2 * health.completed > health.expected


@dataclass(frozen=True, slots=True)
class PingAccepted:
    """The receiver accepted a ping."""


@dataclass(frozen=True, slots=True)
class PingFailed:
    """A ping did not arrive or was refused."""

    cause: str
    """A short stable word: ``timeout``, ``connection``, ``http_404``, …; never the address."""
