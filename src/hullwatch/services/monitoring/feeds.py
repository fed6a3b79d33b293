"""The candles that one account's watches wait for: which are due, and how often those that are not there are asked for again.

Asking for them and judging what comes is ``watcher``'s.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.calendar import MarketCalendar, MarketPhase
from hullwatch.domain.market.candles import last_close_at_or_before, next_close_after
from hullwatch.domain.market.instruments import Resolution, Symbol

RETRY_WAITS_S = (5, 5, 5, 10, 15, 20)
"""Waits between asking for a candle that is due and not there; after the last it counts as one in which nothing was traded. They grow, since
a watchlist of instruments that seldom trade would otherwise use up the account's calls at every close."""
AUCTION_RETRIES = 1
"""Times a candle that ended in the closing auction is asked for again: most stocks have none then, every day anew."""

FeedKey = tuple[Symbol, Resolution]


@dataclass(slots=True)
class Feed:
    """The candles of one symbol and resolution, shared by all watches on them."""

    calendar: MarketCalendar
    """Of the segment that the symbol trades in."""
    through: datetime | None = None
    """Every candle that closed up to here has been judged; `None` before the first fetch."""
    awaited: datetime | None = None
    """The close that was asked for in vain."""
    attempts: int = 0
    ask_again_at: datetime | None = None
    """Not before the cycle whose settled moment this is."""
    outcome: Outcome | None = None
    """How the last fetch ended."""
    answered: datetime | None = None
    """The latest close that was expected when Fyers last answered; its candle may be one in which nothing was traded."""

    def is_due(self, expected: datetime, settled_at: datetime) -> bool:
        """Whether a candle that closed at `expected` is missing here and it is time to ask for it."""
        if self.through is not None and self.through >= expected:
            return False
        return self.awaited != expected or self.ask_again_at is None or settled_at >= self.ask_again_at

    def account_for(self, newest: datetime | None, expected: datetime, settled_at: datetime) -> None:
        """Take note of an answer whose newest closed candle is this one."""
        self.answered = expected
        if self.awaited != expected:
            self.awaited, self.attempts = expected, 0
        if (newest is not None and newest >= expected) or self.attempts >= _patience(expected, self.calendar):
            self.through, self.awaited, self.ask_again_at = expected, None, None
            return
        self.ask_again_at = settled_at + timedelta(seconds=RETRY_WAITS_S[self.attempts])
        self.attempts += 1


class Feeds:
    """All candles that the account's watches wait for."""

    __slots__ = ("_calendar", "_feeds")

    def __init__(self, calendar: MarketCalendar) -> None:
        self._calendar = calendar
        self._feeds: dict[FeedKey, Feed] = {}

    def get(self, key: FeedKey) -> Feed | None:
        """Return the feed, `None` when nothing waits for its candles."""
        return self._feeds.get(key)

    def begin(self, key: FeedKey) -> None:
        """Wait for these candles, all of them unjudged."""
        self._feeds[key] = Feed(self._calendar.for_symbol(key[0]))

    def end(self, key: FeedKey) -> None:
        """Wait for these no longer."""
        self._feeds.pop(key, None)

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the segments that are watched; the cash market's where nothing is."""
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
        """Whether a candle has closed by then that was neither judged nor given up."""
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
        """Return the feeds that are to be asked now, with the close that is expected of them."""
        return [
            (key, expected)
            for key, (feed, expected) in self.expectations(settled_at).items()
            if feed.is_due(expected, settled_at)
        ]


def _patience(closed_at: datetime, calendar: MarketCalendar) -> int:
    """Return how often to ask again for a candle that is not there."""
    is_auction = calendar.phase_at(closed_at) is MarketPhase.CLOSING_AUCTION
    # The auction's one trade lies in the session's last candle: for that one it is worth to wait.
    is_last = calendar.session_at(closed_at) is None
    return AUCTION_RETRIES if is_auction and not is_last else len(RETRY_WAITS_S)
