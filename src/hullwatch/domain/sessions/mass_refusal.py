"""Detects that Fyers' own login check fails: many accounts are refused at once, before their expiry."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.failures import BrokerService

WINDOW_S: Final = 60.0
MIN_REFUSED: Final = 3
"""Two accounts can be refused at the same time by coincidence."""
MIN_SHARE: Final = 0.25
"""Of the accounts with a result within the window."""
PROBE_ACCOUNTS: Final = 12
"""When a quarter of all accounts is refused, twelve accounts are all answered only once in thirty times."""
MAX_COINCIDENCE: Final = 4
"""So many sessions can end in the same minute without an outage, if as many other accounts are answered. It counts only
where all accounts can be probed: among many accounts, three refused probe accounts stand for a quarter of them."""


@dataclass(frozen=True, slots=True)
class BrokerOutage:
    """A mass refusal that is under way."""

    incident_id: str
    began_at: datetime


class RefusalStatistics:
    """The latest result of each account within the last `WINDOW_S`; constant time per result.

    Times are seconds of a monotonic clock, so that no setting of a clock makes results look new or old.
    """

    def __init__(self) -> None:
        self._latest: dict[Hashable, tuple[float, bool]] = {}
        """Account → when, and whether it was refused; oldest result first."""
        self._false: dict[tuple[BrokerService, Hashable], float] = {}
        """Service and account → when the service refused an account that another service accepts."""
        self.outage: BrokerOutage | None = None
        """The mass refusal that is under way."""

    def refused(self, account: Hashable, now_s: float) -> None:
        """Record that the account was refused before its expiry."""
        self._record(account, now_s, is_refused=True)

    def answered(self, account: Hashable, now_s: float) -> None:
        """Record that the account was answered; this replaces a refusal."""
        self._record(account, now_s, is_refused=False)

    def refused_falsely(self, account: Hashable, services: Iterable[BrokerService], now_s: float) -> None:
        """Record that these services refused an account which Fyers accepts; this counts as an answer."""
        self.answered(account, now_s)
        self._false = {key: at_s for key, at_s in self._false.items() if now_s - at_s <= WINDOW_S}
        self._false.update(((service, account), now_s) for service in services)

    def unreliable_for(self, account: Hashable, now_s: float) -> frozenset[BrokerService]:
        """Return the services that falsely refused another account within the window.

        A service that refuses everybody is no evidence against one account.
        """
        return frozenset(
            service
            for (service, other), at_s in self._false.items()
            if other != account and now_s - at_s <= WINDOW_S
        )

    def forget(self, account: Hashable) -> None:
        """Forget an account whose session is disconnected: a confirmed refusal is no sign of an outage."""
        self._latest.pop(account, None)

    def clear(self) -> None:
        """Forget all results."""
        self._latest.clear()
        self._false.clear()

    def count(self, now_s: float) -> int:
        """Return how many distinct accounts were refused within the window."""
        self._drop_old(now_s)
        return sum(is_refused for _, is_refused in self._latest.values())

    def is_mass(self, now_s: float, *, sessions: int | None = None) -> bool:
        """Return whether the refusals within the window point to an outage of Fyers.

        Args:
            now_s: The present.
            sessions: How many accounts have a session, if that is known.
        """
        count = self.count(now_s)
        if count < MIN_REFUSED or count < MIN_SHARE * len(self._latest):
            return False
        return not self._is_coincidence(count, sessions)

    def must_hold(self, now_s: float, *, sessions: int | None = None) -> bool:
        """Return whether a confirmed refusal must not disconnect its session now."""
        return self.outage is not None or self.is_mass(now_s, sessions=sessions)

    def is_coincidence(self, now_s: float, *, sessions: int) -> bool:
        """Return whether only a few accounts are refused, and as many others of all accounts are answered."""
        return self._is_coincidence(self.count(now_s), sessions)

    def _is_coincidence(self, count: int, sessions: int | None) -> bool:
        if sessions is None or sessions > PROBE_ACCOUNTS + 1:
            return False
        return count <= MAX_COINCIDENCE and len(self._latest) - count >= count

    def is_answering_since(self, moment_s: float, enough: int) -> bool:
        """Return whether after `moment_s` at least `enough` accounts were answered, and more than were refused."""
        answered = refused = 0
        for when_s, is_refused in reversed(self._latest.values()):
            if when_s <= moment_s:
                break
            refused += is_refused
            answered += not is_refused
        return answered >= enough and answered > refused

    def _record(self, account: Hashable, now_s: float, *, is_refused: bool) -> None:
        self._latest.pop(account, None)
        self._latest[account] = (now_s, is_refused)
        self._drop_old(now_s)

    def _drop_old(self, now_s: float) -> None:
        while self._latest:
            oldest = next(iter(self._latest))
            if now_s - self._latest[oldest][0] <= WINDOW_S:
                return
            del self._latest[oldest]
