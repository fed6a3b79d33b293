"""How accounts stand before the bell, in values and in words, one by one and all together; who finds that out is ``readiness.py``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.readiness.readiness import Bell, Readiness, Verdict
from hullwatch.services.texts.readiness import ReadinessLine

_SEVERITY: Final[Mapping[Verdict, int]] = {
    Verdict.NOT_WATCHING: 0,
    Verdict.NOT_READY: 0,
    Verdict.WATCHING: 1,
    Verdict.READY: 1,
    Verdict.MARKET_CLOSED: 2,
    Verdict.NOT_WANTED: 3,
}


@dataclass(frozen=True, slots=True)
class AccountReadiness:
    """How one account stands at this moment, in values and in words."""

    user_id: str
    readiness: Readiness
    line: ReadinessLine
    checked_at: datetime | None
    """When a check last asked after it; `None` before the first since the server started."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everybody at this moment."""

    bell: Bell
    total: int
    """Accounts that count: those that want monitoring and have something to watch, on an exchange day."""
    good: int
    """Those of them that are ready or, after the opening, watched."""
    checked_at: datetime | None
    next_check_at: datetime
    is_checking: bool
    accounts: tuple[AccountReadiness, ...]
    """Those of whom a wish or a watchlist is known, the worst first."""

    @property
    def percent(self) -> float | None:
        """The share that is good, rounded down so that 100 means all; `None` where nobody counts."""
        return math.floor(1000 * self.good / self.total) / 10 if self.total else None


def severity(one: AccountReadiness) -> tuple[int, bool, bool, str]:
    """Return what sorts the worst first, those who can do something themselves before others."""
    readiness = one.readiness
    return (
        _SEVERITY[readiness.verdict],
        not readiness.is_for_user,
        readiness.reason is None,
        one.user_id,
    )
