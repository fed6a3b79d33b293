"""One account's monitoring cycle: starts the readings of due candles, then fetches quotes."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from hullwatch.domain.events import QuotesArrived
from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.calendar import MarketCalendar, session_under_way
from hullwatch.domain.market.call_priority import MONITORING_QUOTES
from hullwatch.domain.market.candles import MAX_PRICE, Candle
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.lines import Line, line_state
from hullwatch.domain.monitoring.obstacles import OF_HOLD, Obstacle
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.monitoring.watches import STATUS_OF, Watch, WatchStatus, status_after
from hullwatch.domain.signals.settling import FIRST_READING
from hullwatch.domain.signals.signals import WatchSeries
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.candle_reader import CandleReader
from hullwatch.services.monitoring.evaluation import Evaluation
from hullwatch.services.monitoring.feeds import FeedKey
from hullwatch.services.monitoring.gap import Gap
from hullwatch.services.monitoring.history_calls import WAIT_S
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.reading_plan import ReadingPlan
from hullwatch.services.monitoring.watchlist import Watchlist
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService

FOLLOW_UP = timedelta(minutes=2)
"""After the market close, while the last candles are fetched as urgently as in trading hours."""


class Watcher:
    """The watchlist of one account and its averages. The scheduler runs at most one cycle of it at a time."""

    __slots__ = (
        "_calendar",
        "_clock",
        "_connections",
        "_hub",
        "_journal",
        "_limits_call",
        "_market",
        "_quotes_call",
        "_reader",
        "_watchlist",
        "gap",
        "quoted_at",
        "quotes",
        "user_id",
    )

    def __init__(
        self,
        context: Context,
        user_id: str,
        *,
        connections: ConnectionService,
        market: MarketService,
        journal: Journal,
        metrics: MetricsPort,
        plan: ReadingPlan,
    ) -> None:
        self.user_id = user_id
        self._calendar = context.calendar
        self._clock = context.clock
        self._hub = context.hub
        self._connections = connections
        self._market = market
        self._quotes_call: asyncio.Task[Outcome | None] | None = None
        """The quotes under way; they may last longer than a cycle."""
        self._limits_call: asyncio.Task[None] | None = None
        """The reading of circuit limits under way."""
        self._journal = journal
        self._watchlist = Watchlist(context.calendar, plan.settle_time)
        self.gap = Gap()
        evaluation = Evaluation(
            context,
            user_id,
            watchlist=self._watchlist,
            connections=connections,
            journal=journal,
            gap=self.gap,
        )
        self._reader = CandleReader(
            user_id,
            context,
            market=market,
            watchlist=self._watchlist,
            evaluation=evaluation,
            plan=plan,
            metrics=metrics,
        )
        self.quotes: tuple[Quote, ...] = ()
        """The newest quotes, however old."""
        self.quoted_at: datetime | None = None

    # ---------------------------------------------------------------- the watchlist

    @property
    def watches(self) -> dict[str, Watch]:
        """The watches by id."""
        return self._watchlist.watches

    def put(self, watch: Watch) -> None:
        """Add or replace a watch; its average is built again from history."""
        self._watchlist.put(watch)

    def discard(self, watch_id: str) -> None:
        """Remove a watch, with its average and what only it needs."""
        self._watchlist.discard(watch_id)
        self._reader.trades.keep(self._watchlist.symbols())

    def evaluate_from(self, moment: datetime) -> None:
        """Let only candles that close after `moment` give new signals."""
        self._watchlist.evaluate_from(moment)

    def series(self, watch_id: str) -> WatchSeries | None:
        """Return a watch's live series, or `None` before the first candle."""
        watch = self.watches.get(watch_id)
        return None if watch is None else self._watchlist.series(watch)

    def compare_history(self, key: FeedKey, candles: Sequence[Candle]) -> bool:
        """Compare the closed candles of another call with the used ones; return whether history is to be read again."""
        feed = self._watchlist.feeds.get(key)
        if feed is None or not feed.candles.differs(candles):
            return False
        feed.version += 1
        return not self._reader.calls.is_reading(key)

    def problems(self) -> tuple[SymbolProblem, ...]:
        """Return the symbols that are not monitored while Fyers serves others."""
        return self._watchlist.feeds.problems()

    def missing_candles(self) -> list[tuple[Symbol, datetime, datetime]]:
        """Return symbol, begin and end of each slot of the day that stays without a candle although it was traded in."""
        return self._watchlist.feeds.missing_candles()

    @property
    def refused(self) -> frozenset[Symbol]:
        """Symbols that Fyers refuses, until it accepts them again."""
        return frozenset(one.symbol for one in self.problems() if one.obstacle is Obstacle.SYMBOL_REFUSED)

    def lines(self) -> tuple[Line, ...]:
        """Return how far each watch is prepared for the market open."""
        expectations = self._watchlist.feeds.expectations(self._reader.settled_at())
        # One young instrument may have no candles. That no symbol of several has any is no market without trades.
        is_all_empty = len(self._watchlist.symbols()) > 1 and all(
            feed.is_empty for feed, _ in expectations.values()
        )
        found = []
        for watch in self.watches.values():
            feed, expected = expectations[watch.symbol, watch.resolution]
            series = self._watchlist.series(watch)
            state = line_state(
                has_average=series is not None and series.hma is not None,
                is_current=feed.answered is not None and feed.answered >= expected,
                outcome=feed.outcome,
                scope=feed.scope,
                lacks_history=feed.lacks_history or is_all_empty,
                has_jump=series is not None and series.hma is None and series.started_anew_at is not None,
                is_off_grid=bool(feed.offset),
                lacks_candles=bool(feed.missing_closes),
            )
            since = series.started_anew_at if series and state is Obstacle.PRICE_JUMP else feed.failing_since
            newest_close = feed.newest_close(watch.resolution)
            found.append(Line(watch.symbol, state, since, newest_close, feed.missing_closes))
        return tuple(found)

    def forget_waits(self) -> None:
        """Read at once what waits for a moment, because this server's clock was set."""
        self._watchlist.feeds.forget_waits(self._reader.settled_at())

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the watched segments; the cash market's for an empty watchlist."""
        return self._watchlist.feeds.calendars

    def next_reading_at(self) -> datetime | None:
        """Return when the next candle of any watch may be read first, each in its own segment."""
        return self._reader.next_reading_at()

    def next_later_reading(self) -> datetime | None:
        """Return when a used candle is next read again for a correction."""
        moment = self._watchlist.feeds.next_later_reading()
        return None if moment is None else moment + FIRST_READING

    @property
    def has_due_candles(self) -> bool:
        """Whether a closed candle was neither evaluated nor given up, or history has to be compared."""
        return self._watchlist.feeds.has_due(self._reader.settled_at())

    @property
    def has_unsaved(self) -> bool:
        """Whether signals or progress are not stored yet."""
        return self._journal.has_unsaved(self.user_id)

    # ---------------------------------------------------------------- a cycle

    async def run_cycle(self) -> WatchStatus:
        """Start the readings of due candles, then fetch quotes; return the account's new status."""
        if not self.watches:
            return WatchStatus.NO_WATCHES
        obstacle = self._session_obstacle()
        if obstacle is not None:
            return obstacle
        await self._read_due_candles()
        quotes_failure: Outcome | None = None
        in_session = session_under_way(self.calendars, self._clock.now()) is not None
        if in_session:
            quotes_failure = await self._quotes_failure()
        failure = self._history_failure() or quotes_failure
        if failure is not None:
            return self._session_obstacle() or status_after(failure)
        return WatchStatus.WATCHING if in_session else WatchStatus.MARKET_CLOSED

    def _session_obstacle(self) -> WatchStatus | None:
        """Return why the account's broker session cannot be used, or `None`."""
        connection = self._connections.connection(self.user_id)
        if not connection.has_session:
            return WatchStatus.NO_SESSION
        if connection.hold_reason is not None:
            return STATUS_OF[OF_HOLD[connection.hold_reason]]
        return None if connection.is_usable else WatchStatus.CHECKING_LOGIN

    async def _read_due_candles(self) -> None:
        """Start the readings of due candles, and wait for their calls, in trading hours for a short time only."""
        is_off_hours = self._is_off_hours(self._clock.now())
        self._reader.start_due(is_off_hours=is_off_hours)
        await self._reader.calls.wait(None if is_off_hours else WAIT_S)
        await self.save_unsaved()

    def _history_failure(self) -> Outcome | None:
        """Return the failure of the account or of Fyers that keeps a due candle from being read."""
        failure = self._reader.calls.failure
        return failure if failure is not None and self.has_due_candles else None

    def _is_off_hours(self, moment: datetime) -> bool:
        """Whether the market is closed and its last candles were due a while ago, so that no signal is urgent."""
        calendar = self._calendar
        if calendar.session_at(moment) is not None:
            return False
        return moment - calendar.previous_session(moment).closes_at >= FOLLOW_UP

    def close(self) -> None:
        """End the calls under way."""
        self._reader.calls.cancel()
        for call in (self._quotes_call, self._limits_call):
            if call is not None:
                call.cancel()

    async def save_unsaved(self) -> None:
        """Retry what the database did not take; it stays queued if this fails too."""
        if self.has_unsaved:
            await self._journal.try_flush()

    # ---------------------------------------------------------------- quotes

    async def _quotes_failure(self) -> Outcome | None:
        """Fetch the quotes of all symbols; return a failure of the account or of Fyers.

        While this server reads the candles of a close, quotes pause: they come beside later cycles then.
        """
        call = self._quotes_call
        if call is None:
            call = asyncio.create_task(self._fetch_quotes(), name=f"quotes {self.user_id}")
            self._quotes_call = call
        answered = asyncio.Event()
        call.add_done_callback(lambda _: answered.set())
        await wait_for_event(answered, clock=self._clock.real, within_s=WAIT_S)
        if not call.done() and self._market.waits_at_close(self.user_id):
            return None
        try:
            return await call
        finally:
            self._quotes_call = None

    async def _fetch_quotes(self) -> Outcome | None:
        symbols = self._watchlist.symbols()
        answer = await self._market.fresh_quotes(self.user_id, symbols, priority=MONITORING_QUOTES)
        if answer.outcome is Outcome.OK:
            self.remember_quotes(answer.quotes)
            self._read_limits(answer.quotes)
        return None if answer.scope in (None, FailureScope.SYMBOL) else answer.outcome

    def _read_limits(self, quotes: tuple[Quote, ...]) -> None:
        """Begin to read circuit limits beside the cycle; quotes do not wait for them."""
        if self._limits_call is None or self._limits_call.done():
            reading = self._market.read_circuit_limits(self.user_id, quotes)
            self._limits_call = asyncio.create_task(reading, name=f"circuit limits {self.user_id}")

    def remember_quotes(self, quotes: tuple[Quote, ...]) -> None:
        """Keep the newest quotes, and publish them if a page of the user is open."""
        self.quotes, self.quoted_at = quotes, self._clock.now()
        prices = {
            quote.symbol: quote.price
            for quote in quotes
            if quote.price is not None and 0 < quote.price <= MAX_PRICE
        }
        self._reader.prices.record(prices, self.quoted_at)
        self._reader.trades.record(quotes, self.quoted_at)
        if self._hub.listeners(self.user_id):
            event = QuotesArrived(self.user_id, quotes, self.previews(), self.quoted_at)
            self._hub.publish(self.user_id, event, replaceable_key="quotes")

    def previews(self) -> dict[str, float]:
        """Return watch id → the average if the forming candle closed at the last price."""
        found: dict[str, float] = {}
        for watch, series in self._watchlist.with_series():
            price = self._reader.prices.newest.get(watch.symbol)
            preview = None if price is None else series.preview(price)
            if preview is not None:
                found[watch.id] = preview
        return found
