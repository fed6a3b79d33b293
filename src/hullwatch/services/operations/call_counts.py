"""How many calls Fyers has had from each account on the present day, and how many of them it refused; for operators, in memory only."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.runtime.clock import Clock

REFUSED: Final = "login_refused"
"""The word for a call whose access token Fyers refused."""


@dataclass(slots=True)
class Calls:
    """One account's day."""

    calls: int = 0
    refusals: int = 0
    """Calls whose access token was refused."""


class CallCounts:
    """Counts by account; every day in IST begins with none, as Fyers' own daily limit does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day: date | None = None
        self._accounts: dict[str, Calls] = {}

    def note(self, user_id: str, outcome: str) -> None:
        """Count a call that was sent with this account's session."""
        self._begin_day()
        account = self._accounts.setdefault(user_id, Calls())
        account.calls += 1
        account.refusals += outcome == REFUSED

    def of(self, user_id: str) -> Calls:
        """Return the account's day so far."""
        self._begin_day()
        return self._accounts.get(user_id) or Calls()

    def _begin_day(self) -> None:
        today = ist_date(self._clock.now())
        if today != self._day:
            self._day = today
            self._accounts.clear()
