"""The time in which one account was not monitored."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.signals.settling import FIRST_READING
from hullwatch.domain.signals.signals import is_late


@dataclass(slots=True)
class Gap:
    """The account's current blind stretch and recent ones: signals on candles in them are marked late."""

    since: datetime | None = None
    """Start of the blind stretch under way; `None` while the account is monitored."""
    covered_until: datetime | None = None
    """Up to where the cycles before the present one have monitored."""
    is_overrunning: Callable[[], bool] = lambda: False
    """Whether the present cycle has taken so long that the next one was skipped."""
    ended: tuple[tuple[datetime, datetime], ...] = ()
    """Past stretches, kept until every signal in them would be late anyway."""

    def begin(self, since: datetime) -> None:
        """Begin a blind stretch, unless one is under way."""
        self.since = self.since or since

    def end(self, now: datetime) -> None:
        """End the blind stretch; a candle that closed in it may still be fetched later."""
        if self.since is not None:
            recent = (gap for gap in self.ended if not is_late(gap[1], now))
            self.ended = (*recent, (self.since, now))
        self.since = None

    def contains(self, closed_at: datetime) -> bool:
        """Whether a candle that closed then could not be read in time.

        That includes one that closed just before the stretch: the last good cycle began too early to read it.
        """
        since = self.since
        if since is None and self.is_overrunning():
            since = self.covered_until
        if since is not None and closed_at + FIRST_READING > since:
            return True
        return any(
            began_at < closed_at + FIRST_READING and closed_at <= ended_at
            for began_at, ended_at in self.ended
        )
