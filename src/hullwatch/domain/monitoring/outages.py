"""Times in which one symbol, or the data of a whole account, was not monitored although the account could be watched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle


@dataclass(frozen=True, slots=True)
class SymbolOutage:
    """A stored incident of one user; its symbol is not monitored from `began_at` to `ended_at`."""

    id: str
    user_id: str
    symbol: Symbol | None
    """`None` if it concerns all symbols, as a missing permission does."""
    obstacle: Obstacle
    began_at: datetime
    ended_at: datetime | None = None
    """`None` while it lasts."""
    notified_at: datetime | None = None
    """When its user was notified; `None` while it may be short."""


@dataclass(frozen=True, slots=True)
class SymbolStretch:
    """Trading time in which a symbol was not monitored."""

    symbol: Symbol | None
    obstacle: Obstacle
    began_at: datetime
    ended_at: datetime


def stretches_of(
    outages: Iterable[SymbolOutage], sessions: Sequence[TradingSession], *, until: datetime
) -> list[SymbolStretch]:
    """Return the parts of outages that lie in these trading sessions, up to `until`, in order."""
    found = []
    for outage in outages:
        ended_at = min(outage.ended_at or until, until)
        for session in sessions:
            began, ended = max(outage.began_at, session.opens_at), min(ended_at, session.closes_at)
            if began < ended:
                found.append(SymbolStretch(outage.symbol, outage.obstacle, began, ended))
    return sorted(found, key=lambda one: (one.began_at, one.symbol.text if one.symbol else ""))
