"""The candles that one account waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.calendar import MarketCalendar, MarketPhase
from hullwatch.domain.market.candles import (
    closes_at,
    history_start,
    last_close_at_or_before,
    next_close_after,
)
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle, outcome_obstacle
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.signals.feed_series import FeedSeries
from hullwatch.domain.signals.hma import warm_up
from hullwatch.runtime.backoff import Backoff

RETRY_WAITS_S = (5, 5, 5, 10, 15, 20)
"""Waits between calls for a candle that is due but missing; after the last wait it counts as one without trades.

They grow, because a watchlist of instruments that seldom trade would otherwise use up the account's calls at
every close.
"""
OVERDUE_AFTER = timedelta(minutes=2)
"""After a close, when a candle that must exist counts as missing although its retries have not ended: short slots end
before them, and so do all slots where cycles are far apart."""
AUCTION_RETRIES = 1
"""Retries for a candle that ended in the closing auction: most stocks have none then, every day."""

FAILURE_BACKOFF = Backoff(first_s=5, factor=2, max_s=300, jitter=0.5)
"""Between calls for a symbol that Fyers cannot serve while it serves others.

It begins at a cycle's length, because most failures are short, and ends at the length of the usual candle.
"""

COMPARED_BEFORE_OPEN = timedelta(hours=1)
"""A comparison of the whole warm-up counts for the trading day if it is not older than this at the market open."""
WARM_UP_SPARE = 1.5
"""Factor on the candles that are fetched for a warm-up, because illiquid instruments skip some."""
SPARE_OF_RARELY_TRADED = 16
"""Factor for a second call when the first one brings too few candles: most options trade in few of their slots."""

FeedKey = tuple[Symbol, Resolution]
_Grid = tuple[int, Resolution, timedelta]
"""Feeds of one calendar and resolution, with the same offset, have the same closes."""


@dataclass(slots=True)
class Feed:
    """The candles of one symbol and resolution, shared by all watches on them."""

    calendar: MarketCalendar
    """Of the symbol's segment."""
    candles: FeedSeries
    """The candles that were used, and the series over them."""
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
    compared_at: datetime | None = None
    """When the whole warm-up was last fetched and compared."""
    version: int = 0
    """Grows when the watches on the feed change, or an answer shows another history than the used one."""
    built_version: int | None = None
    """The version for which the series were last built from the whole history."""
    offset: timedelta = timedelta()
    """How long after the calendar's steps Fyers' candles of this symbol open; 0 for nearly all."""
    lacks_history: bool = False
    """Whether Fyers has no candle of a slot in which the symbol traded, and none of a later one."""
    awaited: datetime | None = None
    """Close of the day's earliest slot that lacks its candle although the symbol traded, while no later candle came."""
    unfilled: tuple[datetime, ...] = ()
    """Closes of the day's slots in which the symbol traded, and whose candle an answer lacked."""
    spare: float = WARM_UP_SPARE
    """Factor on the candles of the warm-up."""
    later_readings: tuple[datetime, ...] = ()
    """When used candles are read again for a correction, earliest first."""

    def needs_candle(self, expected: datetime, settled_at: datetime) -> bool:
        """Whether the candle that closed at `expected` is missing and may be fetched now."""
        if self.through is not None and self.through >= expected:
            return False
        return self.missing_close != expected or self.retry_at is None or settled_at >= self.retry_at

    def needs_whole(self, compares_from: datetime | None) -> bool:
        """Whether the next call has to fetch the whole warm-up; see `Feeds.compares_from`."""
        is_built = self.built_version == self.version and bool(self.candles.used)
        return not is_built or self._is_uncompared(compares_from)

    def _is_uncompared(self, compares_from: datetime | None) -> bool:
        return compares_from is not None and (self.compared_at is None or self.compared_at < compares_from)

    def needs_rebuild(self, compares_from: datetime | None) -> bool:
        """Whether used candles have to be compared with the whole history, or a series is to be built from it."""
        # A feed without any candle is asked for as often as a missing candle is, and no more.
        return bool(self.candles.used) and self.needs_whole(compares_from)

    @property
    def is_empty(self) -> bool:
        """Whether Fyers answered, and has never had a candle."""
        return self.outcome is Outcome.NO_DATA and self.candles.used.last_opened_at is None

    def is_due(self, expected: datetime, settled_at: datetime, compares_from: datetime | None) -> bool:
        """Whether a call is to be made now."""
        if self.wait_until is not None and settled_at < self.wait_until:
            return False
        is_reading_due = bool(self.later_readings) and settled_at >= self.later_readings[0]
        return is_reading_due or self.needs_candle(expected, settled_at) or self.needs_rebuild(compares_from)

    def record_answer(self, outcome: Outcome, expected: datetime, sent_at: datetime) -> None:
        """Record that Fyers answered a call that was sent at `sent_at`."""
        self.outcome, self.scope, self.answered = outcome, None, expected
        self.failures, self.wait_until = 0, None
        if not self.lacks_history:
            self.failing_since = None
        self.later_readings = tuple(moment for moment in self.later_readings if moment > sent_at)

    def record_newest(
        self,
        newest: datetime | None,
        expected: datetime,
        settled_at: datetime,
        *,
        forms_until: datetime | None = None,
        has_traded: bool | None,
        has_volume: bool = False,
    ) -> None:
        """Record the close of the newest used candle, and plan the retry if the one that closed at `expected` is missing.

        Args:
            newest: `None` before the first candle.
            expected: The latest close that the calendar knows.
            settled_at: The latest close whose candle could be read.
            forms_until: When the candle of the slot closes, if it opened late and still forms.
            has_traded: Whether quotes show that the symbol traded in the slot; `None` if they do not show it.
            has_volume: Whether they show that it traded earlier in the day, which has no candle yet.
        """
        if self.missing_close != expected:
            self.missing_close, self.retries = expected, 0
        is_complete = newest is not None and newest >= expected
        must_exist = True if has_volume else has_traded
        self._record_slots(newest, expected, has_traded=has_traded, must_exist=must_exist)
        is_given_up = must_exist is False or self.retries >= _max_retries(expected, self.calendar)
        is_overdue = self.awaited is not None and settled_at - self.awaited >= OVERDUE_AFTER
        if must_exist and not is_complete and (is_given_up or is_overdue):
            self.lacks_history = True
            self.failing_since = self.failing_since or newest or self._session_start(expected)
        elif is_complete or self._has_new_candles(newest):
            self.lacks_history, self.failing_since = False, None
        if is_complete or is_given_up:
            self.through, self.missing_close, self.retry_at = expected, None, None
            return
        next_at = settled_at + timedelta(seconds=RETRY_WAITS_S[self.retries])
        self.retry_at = next_at if forms_until is None else max(next_at, forms_until)
        self.retries += 1

    def _record_slots(
        self,
        newest: datetime | None,
        expected: datetime,
        *,
        has_traded: bool | None,
        must_exist: bool | None,
    ) -> None:
        """Record whether the slot lacks its candle, and forget the slots that were filled and those of earlier days."""
        is_complete = newest is not None and newest >= expected
        if is_complete and self.awaited is None and not self.unfilled:
            return
        begins_at = self._session_start(expected)
        if self.awaited is not None and self.awaited <= max(newest or begins_at, begins_at):
            self.awaited = None
        if must_exist and not is_complete:
            self.awaited = self.awaited or expected
        slots = {*self.unfilled, *([expected] if has_traded and not is_complete else [])}
        self.unfilled = tuple(sorted(one for one in slots if one > begins_at))

    def _has_new_candles(self, newest: datetime | None) -> bool:
        """Whether a candle came after those that were known when history began to lack some."""
        return newest is not None and self.failing_since is not None and newest > self.failing_since

    @property
    def missing_closes(self) -> tuple[datetime, ...]:
        """Closes of the day's slots that stay without a candle although the symbol traded in them."""
        return tuple(one for one in self.unfilled if self.candles.lacks_candle(one))

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

    def obstacle(self) -> Obstacle | None:
        """Return what keeps this symbol alone from being monitored."""
        if self.lacks_history:
            return Obstacle.NO_HISTORY
        if self.scope is FailureScope.SYMBOL and self.outcome is not None:
            return outcome_obstacle(self.outcome, self.scope)
        return Obstacle.PRICE_JUMP if self.candles.started_anew_at() is not None else None

    def newest_close(self, resolution: Resolution) -> datetime | None:
        """Return the close of the newest used candle, `None` before the first."""
        last = self.candles.used.last_opened_at
        return None if last is None else closes_at(last, resolution, self.calendar)

    def whole_start(self, watches: Iterable[Watch], resolution: Resolution, now: datetime) -> datetime:
        """Return from when the warm-up of these watches, and the signals of the last two trading days, need candles."""
        calendar = self.calendar
        today = calendar.session_at(now) or calendar.previous_session(now)
        first = calendar.previous_session(today.opens_at).opens_at
        starts = (
            history_start(
                round(warm_up(watch.period) * self.spare) + 1,
                resolution,
                min(first, watch.evaluated_through),
                calendar,
            )
            for watch in watches
        )
        return min(starts, default=first)

    def _session_start(self, moment: datetime) -> datetime:
        return (self.calendar.session_at(moment) or self.calendar.previous_session(moment)).opens_at


class Feeds:
    """All candles that the account's watches need."""

    __slots__ = ("_calendar", "_feeds", "_settle_time")

    def __init__(self, calendar: MarketCalendar, settle_time: timedelta) -> None:
        self._calendar = calendar
        self._settle_time = settle_time
        self._feeds: dict[FeedKey, Feed] = {}

    def get(self, key: FeedKey) -> Feed | None:
        """Return the feed, `None` when no watch needs it."""
        return self._feeds.get(key)

    def problems(self) -> tuple[SymbolProblem, ...]:
        """Return the feeds that fail while Fyers serves others, by symbol and resolution."""
        found = [
            SymbolProblem(*key, obstacle, since)
            for key, feed in self._feeds.items()
            if (obstacle := feed.obstacle()) is not None
            and (since := feed.failing_since or feed.candles.started_anew_at()) is not None
        ]
        return tuple(sorted(found, key=lambda problem: (problem.symbol.text, problem.resolution.code)))

    def missing_candles(self) -> list[tuple[Symbol, datetime, datetime]]:
        """Return symbol, begin and end of each slot of the day that stays without a candle although it was traded in."""
        return [
            (symbol, closed_at - resolution.length, closed_at)
            for (symbol, resolution), feed in self._feeds.items()
            for closed_at in feed.missing_closes
        ]

    def put(self, watch: Watch) -> None:
        """Add or replace a watch; its average is built from history."""
        key = (watch.symbol, watch.resolution)
        feed = self._feeds.get(key)
        if feed is None:
            calendar = self._calendar.for_symbol(watch.symbol)
            feed = self._feeds[key] = Feed(calendar, FeedSeries(*key, calendar, self._settle_time))
        feed.candles.put(watch.id, watch.period, watch.rule)
        # Due at once, and from the start of its own warm-up.
        feed.through = feed.missing_close = feed.retry_at = None
        feed.version += 1

    def discard(self, watch: Watch) -> None:
        """Remove a watch, and the feed that only it needs."""
        key = (watch.symbol, watch.resolution)
        feed = self._feeds.get(key)
        if feed is None:
            return
        feed.candles.discard(watch.id)
        if not feed.candles.series:
            del self._feeds[key]

    def forget_waits(self, settled_at: datetime) -> None:
        """Let the feeds be read at once, also those whose last closes are in the future by a clock that was set."""
        for feed in self._feeds.values():
            feed.wait_until = feed.retry_at = None
            if feed.through is not None and feed.through > settled_at:
                feed.through = None

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the watched segments; the cash market's for an empty watchlist."""
        calendars = {id(feed.calendar): feed.calendar for feed in self._feeds.values()}
        return list(calendars.values()) or [self._calendar]

    def next_close_after(self, moment: datetime) -> datetime | None:
        """Return when the next candle of any feed closes, each in its own segment."""
        grids: dict[_Grid, Feed] = {
            (id(feed.calendar), resolution, feed.offset): feed
            for (_, resolution), feed in self._feeds.items()
        }
        closes = (
            _shifted_close(next_close_after(moment - offset, resolution, feed.calendar), feed)
            for (_, resolution, offset), feed in grids.items()
        )
        return min((close for close in closes if close > moment), default=None)

    def next_later_reading(self) -> datetime | None:
        """Return when a used candle is next read again for a correction."""
        return min(
            (feed.later_readings[0] for feed in self._feeds.values() if feed.later_readings), default=None
        )

    def has_due(self, settled_at: datetime) -> bool:
        """Whether a closed candle was neither evaluated nor given up, or history has to be compared."""
        return any(
            feed.through is None
            or feed.through < expected
            or feed.needs_rebuild(self.compares_from(feed, settled_at))
            for feed, expected in self.expectations(settled_at).values()
        )

    def compares_from(self, feed: Feed, moment: datetime) -> datetime | None:
        """Return since when the feed's warm-up has to be compared for the trading day; `None` if that is later."""
        session = feed.calendar.session_at(moment) or feed.calendar.next_session(moment)
        compares_from = session.opens_at - COMPARED_BEFORE_OPEN
        return compares_from if moment >= compares_from else None

    def expectations(self, settled_at: datetime) -> dict[FeedKey, tuple[Feed, datetime]]:
        """Return every feed with the latest close up to `settled_at`."""
        closes: dict[_Grid, datetime] = {}
        expected = {}
        for key, feed in self._feeds.items():
            grid = (id(feed.calendar), key[1], feed.offset)
            if grid not in closes:
                closes[grid] = _shifted_close(
                    last_close_at_or_before(settled_at - feed.offset, key[1], feed.calendar), feed
                )
            expected[key] = (feed, closes[grid])
        return expected

    def due(self, settled_at: datetime) -> list[tuple[FeedKey, Feed, datetime]]:
        """Return the feeds to fetch now, each with the close that is expected of it; closed candles come first."""
        compares_from: dict[int, datetime | None] = {}
        found = []
        for key, (feed, expected) in self.expectations(settled_at).items():
            kind = id(feed.calendar)
            if kind not in compares_from:
                compares_from[kind] = self.compares_from(feed, settled_at)
            if feed.is_due(expected, settled_at, compares_from[kind]):
                found.append((key, feed, expected))
        return sorted(found, key=lambda one: not one[1].needs_candle(one[2], settled_at))


def _shifted_close(closed_at: datetime, feed: Feed) -> datetime:
    """Return when the candle of the step that closes at `closed_at` closes, if it opens later than the step."""
    if not feed.offset:
        return closed_at
    session = feed.calendar.session_at(closed_at)
    return closed_at if session is None else min(closed_at + feed.offset, session.closes_at)


def _max_retries(closed_at: datetime, calendar: MarketCalendar) -> int:
    is_auction = calendar.phase_at(closed_at) is MarketPhase.CLOSING_AUCTION
    # The auction's one trade is in the session's last candle, so that candle gets all retries.
    is_last = calendar.session_at(closed_at) is None
    return AUCTION_RETRIES if is_auction and not is_last else len(RETRY_WAITS_S)
