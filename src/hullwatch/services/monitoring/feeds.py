"""The candles that one account waits for, and the time in which it was not monitored."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.calendar import MarketCalendar, MarketPhase
from hullwatch.domain.market.candles import last_close_at_or_before, next_close_after
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import outcome_obstacle
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.signals.signals import CANDLE_READ_DELAY, is_late
from hullwatch.runtime.backoff import Backoff

RETRY_WAITS_S = (5, 5, 5, 10, 15, 20)
"""Waits between calls for a candle that is due but missing; after the last wait it counts as one without trades.

They grow, because a watchlist of instruments that seldom trade would otherwise use up the account's calls at
every close.
"""
AUCTION_RETRIES = 1
"""Retries for a candle that ended in the closing auction: most stocks have none then, every day."""

FAILURE_BACKOFF = Backoff(first_s=5, factor=2, max_s=300, jitter=0.5)
"""Between calls for a symbol that Fyers cannot serve while it serves others.

It begins at a cycle's length, because most failures are short, and ends at the length of the usual candle.
"""

FeedKey = tuple[Symbol, Resolution]


@dataclass(slots=True)
class Feed:
    """The candles of one symbol and resolution, shared by all watches on them."""

    calendar: MarketCalendar
    """Of the symbol's segment."""
    through: datetime | None = None
    """Every candle that closed up to here was evaluated or given up; `None` before the first fetch."""
    missing_close: datetime | None = None
    """The close whose candle the last answers did not contain."""
    retries: int = 0
    retry_at: datetime | None = None
    """Compared with the cycle's `settled_at`."""
    outcome: Outcome | None = None
    """How the last fetch ended."""
    answered: datetime | None = None
    """The latest close that was expected when Fyers last answered; its candle may be one without trades."""
    scope: FailureScope | None = None
    """What the failure of the last fetch concerns; `None` if it did not fail."""
    failures: int = 0
    """Failures in a row that concern this symbol alone."""
    failing_since: datetime | None = None
    """Close of the newest candle that was read before the failures of this symbol alone began."""
    wait_until: datetime | None = None
    """Until when no call is made after such a failure; compared with the cycle's `settled_at`."""

    def is_due(self, expected: datetime, settled_at: datetime) -> bool:
        """Whether the candle that closed at `expected` is missing and may be fetched now."""
        if self.through is not None and self.through >= expected:
            return False
        if self.wait_until is not None and settled_at < self.wait_until:
            return False
        return self.missing_close != expected or self.retry_at is None or settled_at >= self.retry_at

    def record_answer(
        self, outcome: Outcome, newest: datetime | None, expected: datetime, settled_at: datetime
    ) -> None:
        """Record an answer whose newest candle closed at `newest`, and plan the retry if `expected` is missing."""
        self.outcome, self.scope, self.answered = outcome, None, expected
        self.failures, self.failing_since, self.wait_until = 0, None, None
        if self.missing_close != expected:
            self.missing_close, self.retries = expected, 0
        is_complete = newest is not None and newest >= expected
        if is_complete or self.retries >= _max_retries(expected, self.calendar):
            self.through, self.missing_close, self.retry_at = expected, None, None
            return
        self.retry_at = settled_at + timedelta(seconds=RETRY_WAITS_S[self.retries])
        self.retries += 1

    def record_failure(
        self,
        outcome: Outcome,
        scope: FailureScope | None,
        expected: datetime,
        settled_at: datetime,
        random: Random,
    ) -> None:
        """Record a failure; plan the next call if it concerns this symbol alone."""
        self.outcome, self.scope = outcome, scope
        if scope is not FailureScope.SYMBOL:
            return
        self.failing_since = self.failing_since or self.through or self._session_start(expected)
        if outcome is Outcome.BAD_REQUEST:
            # A retry would be refused too; the next candle brings a new call.
            self.through = expected
            return
        self.failures += 1
        self.wait_until = settled_at + timedelta(seconds=FAILURE_BACKOFF.delay(self.failures, random))

    def _session_start(self, moment: datetime) -> datetime:
        return (self.calendar.session_at(moment) or self.calendar.previous_session(moment)).opens_at


class Feeds:
    """All candles that the account's watches need."""

    __slots__ = ("_calendar", "_feeds")

    def __init__(self, calendar: MarketCalendar) -> None:
        self._calendar = calendar
        self._feeds: dict[FeedKey, Feed] = {}

    def get(self, key: FeedKey) -> Feed | None:
        """Return the feed, `None` when no watch needs it."""
        return self._feeds.get(key)

    def problems(self) -> tuple[SymbolProblem, ...]:
        """Return the feeds that fail while Fyers serves others, by symbol and resolution."""
        found = [
            SymbolProblem(*key, obstacle, feed.failing_since)
            for key, feed in self._feeds.items()
            if feed.failing_since is not None
            and feed.outcome is not None
            and (obstacle := outcome_obstacle(feed.outcome, feed.scope)) is not None
        ]
        return tuple(sorted(found, key=lambda problem: (problem.symbol.text, problem.resolution.code)))

    def is_failing(self, key: FeedKey) -> bool:
        """Whether the last calls for the feed have failed while Fyers served others."""
        feed = self._feeds.get(key)
        return feed is not None and feed.failing_since is not None

    def begin(self, key: FeedKey) -> None:
        """Begin a feed anew, with no candle evaluated."""
        self._feeds[key] = Feed(self._calendar.for_symbol(key[0]))

    def end(self, key: FeedKey) -> None:
        """Drop a feed that no watch needs any more."""
        self._feeds.pop(key, None)

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the watched segments; the cash market's for an empty watchlist."""
        calendars = {id(feed.calendar): feed.calendar for feed in self._feeds.values()}
        return list(calendars.values()) or [self._calendar]

    def next_close_after(self, moment: datetime) -> datetime | None:
        """Return when the next candle of any feed closes, each in its own segment."""
        kinds = {
            (id(feed.calendar), resolution): feed.calendar for (_, resolution), feed in self._feeds.items()
        }
        closes = (
            next_close_after(moment, resolution, calendar) for (_, resolution), calendar in kinds.items()
        )
        return min(closes, default=None)

    def has_due(self, settled_at: datetime) -> bool:
        """Whether a candle that closed by then was neither evaluated nor given up."""
        return any(
            feed.through is None or feed.through < expected
            for feed, expected in self.expectations(settled_at).values()
        )

    def expectations(self, settled_at: datetime) -> dict[FeedKey, tuple[Feed, datetime]]:
        """Return every feed with the latest close up to `settled_at`."""
        closes: dict[tuple[int, Resolution], datetime] = {}
        expected = {}
        for key, feed in self._feeds.items():
            kind = (id(feed.calendar), key[1])
            if kind not in closes:
                closes[kind] = last_close_at_or_before(settled_at, key[1], feed.calendar)
            expected[key] = (feed, closes[kind])
        return expected

    def due(self, settled_at: datetime) -> list[tuple[FeedKey, datetime]]:
        """Return the feeds to fetch now, each with the close that is expected of it."""
        return [
            (key, expected)
            for key, (feed, expected) in self.expectations(settled_at).items()
            if feed.is_due(expected, settled_at)
        ]


def _max_retries(closed_at: datetime, calendar: MarketCalendar) -> int:
    is_auction = calendar.phase_at(closed_at) is MarketPhase.CLOSING_AUCTION
    # The auction's one trade is in the session's last candle, so that candle gets all retries.
    is_last = calendar.session_at(closed_at) is None
    return AUCTION_RETRIES if is_auction and not is_last else len(RETRY_WAITS_S)


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
        if since is not None and closed_at + CANDLE_READ_DELAY > since:
            return True
        return any(
            began_at < closed_at + CANDLE_READ_DELAY and closed_at <= ended_at
            for began_at, ended_at in self.ended
        )
