"""One account's monitoring cycle: fetches and evaluates due candles, then fetches quotes."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from hullwatch.domain.events import CandleClosed, QuotesArrived
from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.calendar import MarketCalendar, session_under_way
from hullwatch.domain.market.candles import MAX_PRICE, Candle, closes_at, history_start
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.lines import Line, line_state
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.monitoring.watches import Watch, WatchStatus, status_after
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.signals import (
    CANDLE_READ_DELAY,
    Direction,
    FeedResult,
    FeedStatus,
    Signal,
    WatchSeries,
    is_late,
)
from hullwatch.services.context import Context
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.feeds import FeedKey, Feeds, Gap
from hullwatch.services.monitoring.history_round import HistoryRound
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.sessions.service import ConnectionService

FOLLOW_UP = timedelta(minutes=2)
"""After the market close, while the last candles are fetched as urgently as in trading hours."""
WARM_UP_SPARE = 20
"""Candles beyond the warm-up, so that the first evaluated candle has an average and a direction before it."""


class Watcher:
    """The watchlist of one account and its averages. The scheduler runs at most one cycle of it at a time."""

    __slots__ = (
        "_calendar",
        "_clock",
        "_connections",
        "_feeds",
        "_hub",
        "_journal",
        "_market",
        "_random",
        "_series",
        "gap",
        "quoted_at",
        "quotes",
        "user_id",
        "watches",
    )

    def __init__(
        self,
        context: Context,
        user_id: str,
        *,
        connections: ConnectionService,
        market: MarketService,
        journal: Journal,
    ) -> None:
        self.user_id = user_id
        self._calendar = context.calendar
        self._clock = context.clock
        self._hub = context.hub
        self._random = context.random
        self._connections = connections
        self._market = market
        self._journal = journal
        self.watches: dict[str, Watch] = {}
        self._series: dict[str, WatchSeries] = {}
        self._feeds = Feeds(context.calendar)
        self.quotes: tuple[Quote, ...] = ()
        """The newest quotes, however old."""
        self.quoted_at: datetime | None = None
        self.gap = Gap()

    # ---------------------------------------------------------------- the watchlist

    def put(self, watch: Watch) -> None:
        """Add or replace a watch; its average is built again from history."""
        self.discard(watch.id)
        self.watches[watch.id] = watch
        self._feeds.begin((watch.symbol, watch.resolution))

    def discard(self, watch_id: str) -> None:
        """Remove a watch, with its average and what only it needs."""
        watch = self.watches.pop(watch_id, None)
        self._series.pop(watch_id, None)
        if watch is None:
            return
        if not any(self._watches_on((watch.symbol, watch.resolution))):
            self._feeds.end((watch.symbol, watch.resolution))

    def evaluate_from(self, moment: datetime) -> None:
        """Let only candles that close after `moment` give new signals."""
        for watch in self.watches.values():
            through = max(watch.evaluated_through, moment)
            self.watches[watch.id] = replace(watch, evaluated_through=through, signals_from=moment)

    def series(self, watch_id: str) -> WatchSeries | None:
        """Return a watch's live series, or `None` before the first candle."""
        return self._series.get(watch_id)

    def problems(self) -> tuple[SymbolProblem, ...]:
        """Return the symbols that are not monitored while Fyers serves others."""
        return self._feeds.problems()

    @property
    def refused(self) -> frozenset[Symbol]:
        """Symbols that Fyers refuses, until it accepts them again."""
        return frozenset(one.symbol for one in self.problems() if one.obstacle is Obstacle.SYMBOL_REFUSED)

    def lines(self) -> tuple[Line, ...]:
        """Return how far each watch is prepared for the market open."""
        expectations = self._feeds.expectations(self._clock.now() - CANDLE_READ_DELAY)
        found = []
        for watch in self.watches.values():
            feed, expected = expectations[watch.symbol, watch.resolution]
            series = self._series.get(watch.id)
            state = line_state(
                has_average=series is not None and series.hma is not None,
                is_current=feed.answered is not None and feed.answered >= expected,
                outcome=feed.outcome,
                scope=feed.scope,
            )
            found.append(Line(watch.symbol, state, feed.failing_since))
        return tuple(found)

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the watched segments; the cash market's for an empty watchlist."""
        return self._feeds.calendars

    def next_close_after(self, moment: datetime) -> datetime | None:
        """Return when the next candle of any watch closes, each in its own segment."""
        return self._feeds.next_close_after(moment)

    @property
    def has_due_candles(self) -> bool:
        """Whether a closed candle was neither evaluated nor given up."""
        return self._feeds.has_due(self._clock.now() - CANDLE_READ_DELAY)

    @property
    def has_unsaved(self) -> bool:
        """Whether signals or progress are not stored yet."""
        return self._journal.has_unsaved(self.user_id)

    def _watches_on(self, key: FeedKey) -> Iterable[Watch]:
        return (watch for watch in self.watches.values() if (watch.symbol, watch.resolution) == key)

    # ---------------------------------------------------------------- a cycle

    async def run_cycle(self) -> WatchStatus:
        """Evaluate due candles, then fetch quotes; return the account's new status."""
        if not self.watches:
            return WatchStatus.NO_WATCHES
        obstacle = self._session_obstacle()
        if obstacle is not None:
            return obstacle
        outcome = await self._evaluate_due_candles()
        in_session = session_under_way(self.calendars, self._clock.now()) is not None
        if in_session:
            quotes_failure = await self._fetch_quotes()
            outcome = quotes_failure or Outcome.OK if outcome is Outcome.OK else outcome
        status = status_after(outcome)
        if status is not WatchStatus.WATCHING:
            return self._session_obstacle() or status
        return status if in_session else WatchStatus.MARKET_CLOSED

    def _session_obstacle(self) -> WatchStatus | None:
        """Return why the account's broker session cannot be used, or `None`."""
        connection = self._connections.connection(self.user_id)
        if not connection.has_session:
            return WatchStatus.NO_SESSION
        if connection.verification_state is VerificationState.HELD:
            return WatchStatus.FYERS_UNAVAILABLE
        return None if connection.is_usable else WatchStatus.CHECKING_LOGIN

    async def _evaluate_due_candles(self) -> Outcome:
        """Fetch and evaluate all due candles; a failure of the account or of Fyers ends the round and is its outcome."""
        settled_at = self._clock.now() - CANDLE_READ_DELAY
        due = self._feeds.due(settled_at)
        if not due:
            return Outcome.OK
        history = HistoryRound(self._clock, is_off_hours=self._is_off_hours(settled_at))

        async def fetch(*items: tuple[FeedKey, datetime]) -> None:
            for key, expected in items:
                await history.run(partial(self._advance, key, expected, settled_at))

        failing = [one for one in due if self._feeds.is_failing(one[0])]
        async with asyncio.TaskGroup() as group:
            for one in due:
                if one not in failing:
                    group.create_task(fetch(one), name=f"candles {self.user_id} {one[0][0]}")
            # One at a time and last: several hanging calls would use up the account's concurrent calls.
            group.create_task(fetch(*failing), name=f"candles {self.user_id} failing")
        await self._save([], [key for key, _ in due])
        return history.failure or Outcome.OK

    def _is_off_hours(self, moment: datetime) -> bool:
        """Whether the market is closed and its last candles were due a while ago, so that no signal is urgent."""
        calendar = self._calendar
        if calendar.session_at(moment) is not None:
            return False
        return moment - calendar.previous_session(moment).closes_at >= FOLLOW_UP

    async def _advance(self, key: FeedKey, expected: datetime, settled_at: datetime) -> Outcome | None:
        """Fetch one feed's new candles and evaluate the closed ones; return a failure of the account or of Fyers."""
        symbol, resolution = key
        feed = self._feeds.get(key)
        if feed is None:
            return None  # removed from the watchlist while this waited for the limit
        start = min(self._start_for(watch) for watch in self._watches_on(key))
        answer = await self._market.candles(
            self.user_id, symbol, resolution, start=start, end=self._clock.now()
        )
        if self._feeds.get(key) is not feed:
            return None  # the watchlist changed meanwhile, and the new feed is fetched by the next cycle
        if answer.outcome not in (Outcome.OK, Outcome.NO_DATA):
            feed.record_failure(answer.outcome, answer.scope, expected, settled_at, self._random)
            return None if answer.scope is FailureScope.SYMBOL else answer.outcome
        candles = [
            (candle, closes_at(candle.opened_at, resolution, feed.calendar)) for candle in answer.candles
        ]
        settled = [(candle, closed_at) for candle, closed_at in candles if closed_at <= settled_at]
        feed.record_answer(answer.outcome, settled[-1][1] if settled else None, expected, settled_at)
        await self._evaluate(key, settled)
        return None

    def _start_for(self, watch: Watch) -> datetime:
        """Return from when this watch needs candles: its newest one, or far enough back for the warm-up."""
        series = self._series.get(watch.id)
        if series is not None and series.last_opened_at is not None:
            return series.last_opened_at
        needed = warm_up(watch.period) + WARM_UP_SPARE
        return history_start(
            needed, watch.resolution, watch.evaluated_through, self._calendar.for_symbol(watch.symbol)
        )

    async def _evaluate(self, key: FeedKey, candles: list[tuple[Candle, datetime]]) -> None:
        """Update every watch on this feed, publish the new candles and store the signals."""
        signals: list[Signal] = []
        new: dict[datetime, Candle] = {}
        for watch in list(self._watches_on(key)):
            series = self._series.setdefault(watch.id, WatchSeries(watch.period, watch.rule))
            through = watch.evaluated_through
            for candle, closed_at in candles:
                result = series.feed(candle)
                if result.status is not FeedStatus.ACCEPTED or closed_at <= watch.evaluated_through:
                    continue
                new[closed_at] = candle
                through = closed_at
                if result.direction is not None and result.hma is not None:
                    signals.append(self._signal(watch, candle, closed_at, result, result.direction))
            self.watches[watch.id] = replace(watch, evaluated_through=through)
        for _, candle in sorted(new.items()):
            self._hub.publish(self.user_id, CandleClosed(self.user_id, *key, candle))
        if signals:
            await self._save(signals, [key])

    def _signal(
        self, watch: Watch, candle: Candle, closed_at: datetime, result: FeedResult, direction: Direction
    ) -> Signal:
        now = self._clock.now()
        return Signal(
            watch_id=watch.id,
            user_id=self.user_id,
            symbol=watch.symbol,
            resolution=watch.resolution,
            period=watch.period,
            rule=watch.rule,
            direction=direction,
            candle_opened_at=candle.opened_at,
            candle_closed_at=closed_at,
            close=candle.close,
            hma=result.hma or 0.0,
            detected_at=now,
            is_late=is_late(closed_at, now) or self._closed_in_gap(closed_at),
        )

    def _closed_in_gap(self, closed_at: datetime) -> bool:
        """Whether the candle closed while the account was blind or had no session."""
        if self.gap.contains(closed_at):
            return True
        connection = self._connections.connection(self.user_id)
        if connection.last_disconnect_at is None or connection.connected_at is None:
            return False
        return connection.last_disconnect_at <= closed_at <= connection.connected_at

    # ---------------------------------------------------------------- storing

    async def _save(self, signals: list[Signal], keys: Iterable[FeedKey]) -> None:
        """Store signals together with the progress of the watches on these feeds."""
        watches = [watch for key in keys for watch in self._watches_on(key)]
        self._journal.add_results(
            self.user_id, signals, {watch.id: watch.evaluated_through for watch in watches}
        )
        await self._journal.try_flush()

    async def save_unsaved(self) -> None:
        """Retry what the database did not take; it stays queued if this fails too."""
        if self.has_unsaved:
            await self._journal.try_flush()

    # ---------------------------------------------------------------- quotes

    async def _fetch_quotes(self) -> Outcome | None:
        """Fetch the quotes of all symbols; return a failure of the account or of Fyers."""
        symbols = list(dict.fromkeys(watch.symbol for watch in self.watches.values()))
        answer = await self._market.fresh_quotes(self.user_id, symbols)
        if answer.outcome is Outcome.OK:
            self.remember_quotes(answer.quotes)
        return None if answer.scope in (None, FailureScope.SYMBOL) else answer.outcome

    def remember_quotes(self, quotes: tuple[Quote, ...]) -> None:
        """Keep the newest quotes, and publish them if a page of the user is open."""
        self.quotes, self.quoted_at = quotes, self._clock.now()
        if self._hub.listeners(self.user_id):
            event = QuotesArrived(self.user_id, quotes, self.previews(), self.quoted_at)
            self._hub.publish(self.user_id, event, replaceable_key="quotes")

    def previews(self) -> dict[str, float]:
        """Return watch id → the average if the forming candle closed at the last price."""
        prices = {
            quote.symbol: quote.price
            for quote in self.quotes
            if quote.price is not None and 0 < quote.price <= MAX_PRICE
        }
        found: dict[str, float] = {}
        for watch in self.watches.values():
            price, series = prices.get(watch.symbol), self._series.get(watch.id)
            preview = series.preview(price) if series is not None and price is not None else None
            if preview is not None:
                found[watch.id] = preview
        return found
