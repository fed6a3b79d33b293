"""Detects that Fyers' own login check fails: many accounts are refused at once, before their expiry."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

WINDOW: Final = timedelta(seconds=60)
MIN_REFUSED: Final = 3
"""Two accounts can be refused at the same time by coincidence."""
MIN_SHARE: Final = 0.25
"""Of the accounts with a result within the window."""
PROBE_ACCOUNTS: Final = 12
"""When a quarter of all accounts is refused, twelve accounts are all answered only once in thirty times."""


@dataclass(frozen=True, slots=True)
class BrokerOutage:
    """A mass refusal that is under way."""

    incident_id: str
    began_at: datetime


class RefusalStatistics:
    """The latest result of each account within the last `WINDOW`; constant time per result."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, tuple[datetime, bool]] = {}
        """Account → when, and whether it was refused; oldest result first."""
        self.outage: BrokerOutage | None = None
        """The mass refusal that is under way."""

    def refused(self, account: Hashable, now: datetime) -> None:
        """Record that the account was refused before its expiry."""
        self._record(account, now, is_refused=True)

    def answered(self, account: Hashable, now: datetime) -> None:
        """Record that the account was answered; this replaces a refusal."""
        self._record(account, now, is_refused=False)

    def clear(self) -> None:
        """Forget all results."""
        self._latest.clear()

    def count(self, now: datetime) -> int:
        """Return how many distinct accounts were refused within the window."""
        self._drop_old(now)
        return sum(is_refused for _, is_refused in self._latest.values())

    def is_mass(self, now: datetime) -> bool:
        """Return whether the refusals within the window point to an outage of Fyers."""
        count = self.count(now)
        return count >= MIN_REFUSED and count >= MIN_SHARE * len(self._latest)

    def must_hold(self, now: datetime) -> bool:
        """Return whether a confirmed refusal must not disconnect its session now."""
        return self.outage is not None or self.is_mass(now)

    def is_answering_since(self, moment: datetime, enough: int) -> bool:
        """Return whether after `moment` at least `enough` accounts were answered, and more than were refused."""
        answered = refused = 0
        for when, is_refused in reversed(self._latest.values()):
            if when <= moment:
                break
            refused += is_refused
            answered += not is_refused
        return answered >= enough and answered > refused

    def _record(self, account: Hashable, now: datetime, *, is_refused: bool) -> None:
        self._latest.pop(account, None)
        self._latest[account] = (now, is_refused)
        self._drop_old(now)

    def _drop_old(self, now: datetime) -> None:
        while self._latest:
            oldest = next(iter(self._latest))
            if now - self._latest[oldest][0] <= WINDOW:
                return
            del self._latest[oldest]
