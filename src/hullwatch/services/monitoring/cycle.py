"""One account's watching: what a cycle does, from due candles to quotes, and what it remembers between cycles.

Which candles are due is known in ``feeds``; what the database has not taken yet is kept in ``unsaved``.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hullwatch.domain.events import CandleClosed, Event, QuotesArrived
from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.calendar import MarketCalendar, session_under_way
from hullwatch.domain.market.candles import (
    MAX_PRICE,
    Candle,
    closes_at,
    history_start,
)
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.readiness.readiness import Line, line_state
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
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.feeds import FeedKey, Feeds
from hullwatch.services.monitoring.gaps import Gap
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.unsaved import Unsaved
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService

AT_ONCE = 4
"""History calls of one account under way at the same time."""
OFF_HOURS_CALL_INTERVAL_S = 0.2
"""From one history call of an account to its next while nothing trades. One after the other and so far apart, no delay on the way can bunch them:
calls that are sent in bursts meet each other at Fyers and are refused."""
FOLLOW_UP = timedelta(minutes=2)
"""After a session's close, in which its last candles are asked for as eagerly as within it."""
WARM_UP_SPARE = 20
"""Candles beyond the warm-up, so that the first judged candle has an average and a direction before it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all watchers share."""

    connections: ConnectionService
    market: MarketService
    calendar: MarketCalendar
    clock: Clock
    journal: Journal
    hub: Broadcast[Event]
    metrics: MetricsPort


_STATUS_OF = {
    Outcome.OK: WatchStatus.WATCHING,
    Outcome.NO_DATA: WatchStatus.WATCHING,
    # A symbol that Fyers refuses concerns that one watch; the account goes on being watched.
    Outcome.BAD_REQUEST: WatchStatus.WATCHING,
    Outcome.NOT_PERMITTED: WatchStatus.FYERS_UNAVAILABLE,
    Outcome.UNAVAILABLE: WatchStatus.FYERS_UNAVAILABLE,
    Outcome.RATE_LIMITED: WatchStatus.RATE_LIMITED,
    Outcome.DISCONNECTED: WatchStatus.NO_SESSION,
}


class Watcher:
    """Watches for one account; at most one cycle of it runs at a time, which its caller sees to."""

    __slots__ = (
        "_feeds",
        "_series",
        "_tools",
        "_unsaved",
        "gap",
        "quoted_at",
        "quotes",
        "refused",
        "user_id",
        "watches",
    )

    def __init__(self, user_id: str, tools: Tools) -> None:
        self.user_id = user_id
        self._tools = tools
        self.watches: dict[str, Watch] = {}
        self._series: dict[str, WatchSeries] = {}
        self._feeds = Feeds(tools.calendar)
        self._unsaved = Unsaved()
        self.refused: dict[Symbol, Outcome] = {}
        """Symbols that Fyers refuses to serve, for as long as it does."""
        self.quotes: tuple[Quote, ...] = ()
        """The last quotes there were, however old."""
        self.quoted_at: datetime | None = None
        self.gap = Gap()
        """What is blind at present, which whoever runs the cycles knows."""

    # ---------------------------------------------------------------- the watchlist

    def put(self, watch: Watch) -> None:
        """Watch this from its `evaluated_through` on; a watch that changed begins anew."""
        self.discard(watch.id)
        self.watches[watch.id] = watch
        self._feeds.begin((watch.symbol, watch.resolution))

    def discard(self, watch_id: str) -> None:
        """Watch this no longer."""
        watch = self.watches.pop(watch_id, None)
        self._series.pop(watch_id, None)
        if watch is None:
            return
        if not any(self._watches_on((watch.symbol, watch.resolution))):
            self._feeds.end((watch.symbol, watch.resolution))
        if all(other.symbol != watch.symbol for other in self.watches.values()):
            self.refused.pop(watch.symbol, None)

    def judge_from(self, moment: datetime) -> dict[str, datetime]:
        """Let only candles that close after `moment` give signals; return what to store of it."""
        for watch in self.watches.values():
            if watch.evaluated_through < moment:
                self.watches[watch.id] = replace(watch, evaluated_through=moment)
        return {watch.id: watch.evaluated_through for watch in self.watches.values()}

    def series(self, watch_id: str) -> WatchSeries | None:
        """Return a watch's live series, or `None` before it has been warmed up."""
        return self._series.get(watch_id)

    def lines(self) -> tuple[Line, ...]:
        """Return how far each line of the watchlist is prepared."""
        expectations = self._feeds.expectations(self._tools.clock.now() - CANDLE_READ_DELAY)
        found = []
        for watch in self.watches.values():
            feed, expected = expectations[watch.symbol, watch.resolution]
            series = self._series.get(watch.id)
            state = line_state(
                has_average=series is not None and series.hma is not None,
                is_current=feed.answered is not None and feed.answered >= expected,
                outcome=feed.outcome,
            )
            found.append(Line(watch.symbol, state))
        return tuple(found)

    @property
    def calendars(self) -> list[MarketCalendar]:
        """Return the calendars of the segments that are watched; the cash market's where nothing is."""
        return self._feeds.calendars

    def next_close_after(self, moment: datetime) -> datetime | None:
        """Return when the next candle of any watch closes, each in its own segment."""
        return self._feeds.next_close_after(moment)

    @property
    def has_due_candles(self) -> bool:
        """Whether a candle has closed that was neither judged nor given up."""
        return self._feeds.has_due(self._tools.clock.now() - CANDLE_READ_DELAY)

    @property
    def has_unsaved(self) -> bool:
        """Whether something waits for the database to answer."""
        return not self._unsaved.is_empty

    def _watches_on(self, key: FeedKey) -> Iterable[Watch]:
        return (watch for watch in self.watches.values() if (watch.symbol, watch.resolution) == key)

    # ---------------------------------------------------------------- a cycle

    async def run_cycle(self) -> WatchStatus:
        """Judge the candles that are due, then take quotes; return what that makes the account's status."""
        if not self.watches:
            return WatchStatus.NO_WATCHES
        hindrance = self._hindrance()
        if hindrance is not None:
            return hindrance
        outcome = await self._judge_due_candles()
        in_session = session_under_way(self.calendars, self._tools.clock.now()) is not None
        if outcome is Outcome.OK and in_session:
            outcome = await self._take_quotes()
        status = _STATUS_OF[outcome]
        if status is not WatchStatus.WATCHING:
            return self._hindrance() or status
        return status if in_session else WatchStatus.MARKET_CLOSED

    def _hindrance(self) -> WatchStatus | None:
        """Return why the account's session cannot be used, if it cannot."""
        connection = self._tools.connections.connection(self.user_id)
        if not connection.has_session:
            return WatchStatus.NO_SESSION
        if connection.verification_state is VerificationState.HELD:
            return WatchStatus.FYERS_UNAVAILABLE
        return None if connection.is_usable else WatchStatus.CHECKING_LOGIN

    async def _judge_due_candles(self) -> Outcome:
        """Fetch and judge all that is due, a few at a time; the first failure ends the round and is its outcome."""
        settled_at = self._tools.clock.now() - CANDLE_READ_DELAY
        due = self._feeds.due(settled_at)
        if not due:
            return Outcome.OK
        failure: Outcome | None = None
        is_quiet = self._is_quiet(settled_at)
        places = asyncio.Semaphore(1 if is_quiet else AT_ONCE)
        clock, free_s = self._tools.clock, 0.0

        async def fetch(key: FeedKey, expected: datetime) -> None:
            nonlocal failure, free_s
            async with places:
                if failure is None and is_quiet:
                    if (wait_s := free_s - clock.monotonic()) > 0:
                        await clock.sleep(wait_s)
                    free_s = clock.monotonic() + OFF_HOURS_CALL_INTERVAL_S
                if failure is None:
                    outcome = await self._advance(key, expected, settled_at)
                    if outcome is Outcome.BAD_REQUEST:
                        self.refused[key[0]] = outcome
                    elif outcome not in (Outcome.OK, Outcome.NO_DATA):
                        failure = outcome

        async with asyncio.TaskGroup() as group:
            for key, expected in due:
                group.create_task(fetch(key, expected), name=f"candles {self.user_id} {key[0]}")
        await self._keep([], [key for key, _ in due])
        return failure or Outcome.OK

    def _is_quiet(self, moment: datetime) -> bool:
        """Whether nothing trades and the last candles of the session that ended are in: then nobody waits for a signal."""
        calendar = self._tools.calendar
        if calendar.session_at(moment) is not None:
            return False
        return moment - calendar.previous_session(moment).closes_at >= FOLLOW_UP

    async def _advance(self, key: FeedKey, expected: datetime, settled_at: datetime) -> Outcome:
        """Fetch one feed's candles from where it stands and judge those that are closed and settled."""
        symbol, resolution = key
        feed = self._feeds.get(key)
        if feed is None:
            return Outcome.OK  # taken off the watchlist while this waited for its turn
        start = min(self._start_for(watch) for watch in self._watches_on(key))
        answer = await self._tools.market.candles(
            self.user_id, symbol, resolution, start=start, end=self._tools.clock.now()
        )
        if self._feeds.get(key) is not feed:
            return Outcome.OK  # the watchlist changed meanwhile; a fresh feed begins anew
        feed.outcome = answer.outcome
        if answer.outcome not in (Outcome.OK, Outcome.NO_DATA):
            if answer.outcome is Outcome.BAD_REQUEST:
                # Asking again would be refused again; the next candle brings a new try.
                feed.through = expected
            return answer.outcome
        self.refused.pop(symbol, None)
        calendar = feed.calendar
        candles = [(candle, closes_at(candle.opened_at, resolution, calendar)) for candle in answer.candles]
        settled = [(candle, closed_at) for candle, closed_at in candles if closed_at <= settled_at]
        feed.account_for(settled[-1][1] if settled else None, expected, settled_at)
        await self._judge(key, settled)
        return Outcome.OK

    def _start_for(self, watch: Watch) -> datetime:
        """Return from where this watch needs candles: its newest one, or far enough back to warm up."""
        series = self._series.get(watch.id)
        if series is not None and series.last_opened_at is not None:
            return series.last_opened_at
        needed = warm_up(watch.period) + WARM_UP_SPARE
        return history_start(
            needed, watch.resolution, watch.evaluated_through, self._tools.calendar.for_symbol(watch.symbol)
        )

    async def _judge(self, key: FeedKey, candles: list[tuple[Candle, datetime]]) -> None:
        """Feed candles to every watch on them; store the signals, then announce those that are new."""
        signals: list[Signal] = []
        news: dict[datetime, Candle] = {}
        for watch in list(self._watches_on(key)):
            series = self._series.setdefault(watch.id, WatchSeries(watch.period, watch.rule))
            through = watch.evaluated_through
            for candle, closed_at in candles:
                fed = series.feed(candle)
                if fed.status is not FeedStatus.ACCEPTED or closed_at <= watch.evaluated_through:
                    continue
                news[closed_at] = candle
                through = closed_at
                if fed.direction is not None and fed.hma is not None:
                    signals.append(self._signal(watch, candle, closed_at, fed, fed.direction))
            self.watches[watch.id] = replace(watch, evaluated_through=through)
        for _, candle in sorted(news.items()):
            self._tools.hub.publish(self.user_id, CandleClosed(self.user_id, *key, candle))
        if signals:
            await self._keep(signals, [key])

    def _signal(
        self, watch: Watch, candle: Candle, closed_at: datetime, fed: FeedResult, direction: Direction
    ) -> Signal:
        now = self._tools.clock.now()
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
            hma=fed.hma or 0.0,
            detected_at=now,
            is_late=is_late(closed_at, now) or self._fell_into_a_gap(closed_at),
        )

    def _fell_into_a_gap(self, closed_at: datetime) -> bool:
        """Whether the candle closed while nothing was watched, or while there was no session."""
        if self.gap.holds(closed_at):
            return True
        connection = self._tools.connections.connection(self.user_id)
        if connection.last_disconnect_at is None or connection.connected_at is None:
            return False
        return connection.last_disconnect_at <= closed_at <= connection.connected_at

    # ---------------------------------------------------------------- storing

    async def _keep(self, signals: list[Signal], keys: Iterable[FeedKey]) -> None:
        """Store signals together with how far the watches on these feeds are judged: one never without the other."""
        watches = [watch for key in keys for watch in self._watches_on(key)]
        self._unsaved.add(signals, {watch.id: watch.evaluated_through for watch in watches})
        await self.save_unsaved()

    async def save_unsaved(self) -> None:
        """Store what is not stored yet; where the database does not answer, or this is cut short, it stays for the next cycle."""
        await self._unsaved.save(self._tools.journal, now=self._tools.clock.now())

    # ---------------------------------------------------------------- quotes

    async def _take_quotes(self) -> Outcome:
        symbols = list(dict.fromkeys(watch.symbol for watch in self.watches.values()))
        answer = await self._tools.market.fresh_quotes(self.user_id, symbols)
        if answer.outcome is Outcome.OK:
            self.remember_quotes(answer.quotes)
        return answer.outcome

    def remember_quotes(self, quotes: tuple[Quote, ...]) -> None:
        """Keep the newest quotes, and push them where somebody looks."""
        self.quotes, self.quoted_at = quotes, self._tools.clock.now()
        if self._tools.hub.listeners(self.user_id):
            event = QuotesArrived(self.user_id, quotes, self.previews(), self.quoted_at)
            self._tools.hub.publish(self.user_id, event, replaceable_key="quotes")

    def previews(self) -> dict[str, float]:
        """Return watch id → what its average would be if the forming candle closed at the last price."""
        prices = {
            quote.symbol: quote.ltp
            for quote in self.quotes
            if quote.ltp is not None and 0 < quote.ltp <= MAX_PRICE
        }
        found: dict[str, float] = {}
        for watch in self.watches.values():
            price, series = prices.get(watch.symbol), self._series.get(watch.id)
            preview = series.preview(price) if series is not None and price is not None else None
            if preview is not None:
                found[watch.id] = preview
        return found
