"""Reads the candles of one account's feeds, each until it has settled."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.call_priority import CallClass, CallPriority
from hullwatch.domain.market.candles import Candle, closes_at, grid_offset
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.trading_evidence import TradingEvidence
from hullwatch.domain.signals.feed_series import Answer
from hullwatch.domain.signals.settling import (
    FIRST_READING,
    LATER_READINGS,
    READINGS_APART,
    later_readings,
)
from hullwatch.services.context import Context
from hullwatch.services.market.service import CandlesAnswer, MarketService
from hullwatch.services.monitoring.evaluation import Evaluation
from hullwatch.services.monitoring.feeds import SPARE_OF_RARELY_TRADED, WARM_UP_SPARE, Feed, FeedKey
from hullwatch.services.monitoring.history_calls import HistoryCalls, LaterReading
from hullwatch.services.monitoring.reading_plan import LastPrices, PlannedReading, ReadingPlan
from hullwatch.services.monitoring.watchlist import Watchlist
from hullwatch.services.ports.metrics import MetricsPort

OPENING_QUOTES = timedelta(minutes=2)
"""After the market open, while a quote may still have the volume of the day before."""


class CandleReader:
    """Starts readings, and passes their candles to the evaluation."""

    def __init__(
        self,
        user_id: str,
        context: Context,
        *,
        market: MarketService,
        watchlist: Watchlist,
        evaluation: Evaluation,
        plan: ReadingPlan,
        metrics: MetricsPort,
    ) -> None:
        self._clock = context.clock
        self._random = context.random
        self._metrics = metrics
        self._user_id = user_id
        self._market = market
        self._watchlist = watchlist
        self._evaluation = evaluation
        self._plan = plan
        self.calls = HistoryCalls(context.clock)
        self.prices = LastPrices()
        """They show the lines that may give a signal."""
        self.trades = TradingEvidence()
        self._log = structlog.get_logger(component="MonitoringService")

    def settled_at(self) -> datetime:
        """Return the latest close whose candle may be read now, to judge by Fyers' clock."""
        ahead = timedelta(seconds=self._market.clock_offset().estimate_s)
        return self._clock.now() + ahead - FIRST_READING

    def next_reading_at(self) -> datetime | None:
        """Return when the next candle of any feed may be read first."""
        settled_at = self.settled_at()
        closes = self._watchlist.feeds.next_close_after(settled_at)
        return None if closes is None else self._clock.now() + (closes - settled_at)

    def start_due(self, *, is_off_hours: bool) -> None:
        """Begin the readings of all feeds that are due."""
        feeds = self._watchlist.feeds.due(self.settled_at())
        due = [one for one in feeds if not self.calls.is_reading(one[0])]
        now, ahead = self._clock.now(), self._surely_ahead()
        later: list[LaterReading] = []
        for planned in self._plan.readings(due, self.prices, now=now, ahead=ahead):
            read = partial(self._read, planned, is_off_hours=is_off_hours)
            if planned.starts_at is None:
                self.calls.start(planned.key, read())
            else:
                later.append((planned.starts_at, planned.key, read))
        self.calls.start_later(sorted(later, key=lambda one: one[0]))

    async def _read(self, planned: PlannedReading, *, is_off_hours: bool) -> None:
        """Read a feed until its new candles have settled or a call has failed."""
        key, feed, expected = planned.key, planned.feed, planned.expected
        readings = 0
        while self._watchlist.feeds.get(key) is feed:
            priority = self._priority(planned, is_second=readings > 0)
            async with self.calls.slot(
                is_failing=feed.failing_since is not None, is_off_hours=is_off_hours
            ) as may_call:
                again_at = await self._read_once(key, feed, expected, priority) if may_call else None
            if again_at is None:
                return
            if again_at > self._clock.now():
                # The waits grow slowly while the readings of a close differ.
                readings += 1
                again_at += timedelta(seconds=readings // 5)
                await self.calls.sleep_until(again_at)

    def _priority(self, planned: PlannedReading, *, is_second: bool) -> CallPriority:
        feed, distance = planned.feed, planned.distance
        if is_second:
            return CallPriority(CallClass.SECOND_READING, distance)
        if not feed.needs_candle(planned.expected, self.settled_at()) or feed.version != feed.built_version:
            return CallPriority(CallClass.REBUILD, distance)
        return CallPriority(CallClass.CROSSED if distance == 0 else CallClass.DUE, distance)

    def _surely_ahead(self) -> timedelta:
        return timedelta(seconds=self._market.clock_offset().lowest_s)

    async def _read_once(
        self, key: FeedKey, feed: Feed, expected: datetime, priority: CallPriority
    ) -> datetime | None:
        """Make one call and use its answer; return when the next call is to be made, `None` if the reading has ended."""
        feeds, watches = self._watchlist.feeds, self._watchlist.on(key)
        sent_at, settled_at, ahead = self._clock.now(), self.settled_at(), self._surely_ahead()
        start, version = feed.candles.used.overlap_start, feed.version
        is_whole = start is None or feed.needs_whole(feeds.compares_from(feed, settled_at))
        if start is None or is_whole:
            start = feed.whole_start(watches, key[1], sent_at)
        needs_candle = feed.needs_candle(expected, settled_at)
        self._metrics.candle_reading(_kind(priority, is_whole=is_whole, needs_candle=needs_candle))
        end = max(sent_at, settled_at)
        answer = await self._market.candles(self._user_id, *key, start=start, end=end, priority=priority)
        if feeds.get(key) is not feed:
            return None  # the watchlist changed meanwhile
        answered_at = self._clock.now()
        if answer.outcome not in (Outcome.OK, Outcome.NO_DATA):
            self._record_failure(feed, answer, expected, settled_at)
            return None
        self.calls.record(None)
        feed.record_answer(answer.outcome, expected, sent_at)
        if feed.version != version:
            return answered_at  # a watch was added meanwhile, which needs an earlier start
        closed = _closed(answer, key, feed, settled_at)
        evaluated_through = min(watch.evaluated_through for watch in self._watchlist.on(key))
        update = feed.candles.record(
            Answer(closed, start, sent_at, answered_at, ahead, is_whole=is_whole), evaluated_through
        )
        if is_whole:
            feed.compared_at, feed.built_version = sent_at, version
        self._plan_later_readings(key, feed, update.accepted, sent_at)
        if self._needs_more(feed, is_whole=is_whole):
            update = replace(update, needs_whole=True)
        await self._evaluation.apply(key, update)
        if update.needs_whole:
            feed.version += 1
            return answered_at
        if update.read_again_at is not None:
            return update.read_again_at
        self._record_newest(key, feed, answer, expected, settled_at)
        return None

    def _record_newest(
        self, key: FeedKey, feed: Feed, answer: CandlesAnswer, expected: datetime, settled_at: datetime
    ) -> None:
        """Record whether the expected candle was there, to judge by the grid that Fyers' candles have."""
        forming = answer.forming
        newest_two = answer.candles[-2:] if forming is None else (*answer.candles[-1:], forming)
        offsets = [grid_offset(candle.opened_at, key[1], feed.calendar) for candle in newest_two]
        # One odd candle between others is no other grid.
        if len(offsets) > 1 and offsets[0] == offsets[1]:
            feed.offset = offsets[0]
        forms_until = None
        if forming is not None and forming.opened_at < expected:
            forms_until = closes_at(forming.opened_at, key[1], feed.calendar)
        newest = feed.newest_close(key[1])
        if feed.offset and newest is not None and newest > expected - key[1].length:
            newest = max(newest, expected)  # the slots of the calendar and these candles overlap
        feed.record_newest(
            newest,
            expected,
            settled_at,
            forms_until=forms_until,
            has_traded=self.trades.has_traded(key[0], expected - key[1].length, expected),
            has_volume=self._has_volume(key[0], feed, expected),
        )
        if feed.lacks_history and feed.through == expected:
            self._log.warning(
                "candle.missing", user_id=self._user_id, symbol=key[0].text, closed_at=expected.isoformat()
            )

    def _record_failure(
        self, feed: Feed, answer: CandlesAnswer, expected: datetime, settled_at: datetime
    ) -> None:
        feed.record_failure(answer.outcome, answer.scope, expected, settled_at, self._random)
        # That a failure concerns the symbol shows that Fyers serves the account.
        self.calls.record(None if answer.scope is FailureScope.SYMBOL else answer.outcome)

    def _plan_later_readings(
        self, key: FeedKey, feed: Feed, accepted: tuple[tuple[Candle, datetime], ...], sent_at: datetime
    ) -> None:
        planned = set(feed.later_readings)
        for _, closed_at in accepted:
            if sent_at - closed_at < LATER_READINGS[-1]:
                planned.update(later_readings(closed_at, key[1], feed.calendar))
        if accepted and feed.candles.is_early:
            planned.add(accepted[-1][1] + self._plan.settle_time)
        feed.later_readings = tuple(sorted(moment for moment in planned if moment > sent_at))

    def _has_volume(self, symbol: Symbol, feed: Feed, expected: datetime) -> bool:
        """Whether quotes show that the symbol traded in the day up to `expected`, although the day has no candle."""
        session = feed.calendar.session_at(expected - READINGS_APART)
        last = feed.candles.used.last_opened_at
        if session is None or (last is not None and last >= session.opens_at):
            return False
        return self.trades.has_volume(symbol, session.opens_at + OPENING_QUOTES, expected)

    def _needs_more(self, feed: Feed, *, is_whole: bool) -> bool:
        """Whether a contract that seldom trades needs a longer history for its warm-up; asked for once."""
        needs = is_whole and feed.spare == WARM_UP_SPARE and bool(feed.candles.used)
        if needs and any(series.hma is None for series in feed.candles.series.values()):
            feed.spare = SPARE_OF_RARELY_TRADED
            return True
        return False


def _kind(priority: CallPriority, *, is_whole: bool, needs_candle: bool) -> str:
    """Return the kind of a reading for its counter."""
    if is_whole:
        return "whole"
    if priority.call_class is CallClass.SECOND_READING:
        return "second"
    return "first" if needs_candle else "later"


def _closed(answer: CandlesAnswer, key: FeedKey, feed: Feed, settled_at: datetime) -> list[Candle]:
    """Return the candles that had closed when the call was sent; the forming one may have, by Fyers' clock."""
    candles = list(answer.candles) + ([answer.forming] if answer.forming is not None else [])
    while candles and closes_at(candles[-1].opened_at, key[1], feed.calendar) > settled_at:
        candles.pop()
    return candles
