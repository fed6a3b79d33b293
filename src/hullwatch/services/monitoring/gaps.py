"""What one account's newest blind stretch is, while it lasts: so that what is found in it is marked late. How stretches add up is in the domain."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.signals.signals import CANDLE_READ_DELAY, is_late


@dataclass(slots=True)
class Gap:
    """Where the account is blind from, as far as the cycle under way can know."""

    since: datetime | None = None
    """From where on nothing was watched; `None` while all is well."""
    covered_until: datetime | None = None
    """Up to where the cycles before the one under way have watched."""
    is_overlasting: Callable[[], bool] = lambda: False
    """Whether the cycle under way has taken so long that the next one has fallen out."""

    ended: tuple[tuple[datetime, datetime], ...] = ()
    """Those that are over, for as long as a candle that closed in one could be found without being late anyhow."""

    def begin(self, since: datetime) -> None:
        """Nothing is watched from then on; one that has begun goes on."""
        self.since = self.since or since

    def end(self, now: datetime) -> None:
        """Something is watched again: a candle that closed in the gap may still be to come, if the cycle that ended it did not ask for it."""
        if self.since is not None:
            recent = (gap for gap in self.ended if not is_late(gap[1], now))
            self.ended = (*recent, (self.since, now))
        self.since = None

    def holds(self, closed_at: datetime) -> bool:
        """Whether a candle that closed then fell into the gap: however soon it is found after the repair, nobody was told in time.

        One that closed just before the gap, and could be read only in it, fell into it too: the last good cycle had begun too early for it.
        """
        since = self.since
        if since is None and self.is_overlasting():
            since = self.covered_until
        if since is not None and closed_at + CANDLE_READ_DELAY > since:
            return True
        return any(
            began_at < closed_at + CANDLE_READ_DELAY and closed_at <= ended_at
            for began_at, ended_at in self.ended
        )
