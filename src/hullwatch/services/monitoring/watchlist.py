"""One account's watches, and the candles that they need."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.signals.signals import WatchSeries
from hullwatch.services.monitoring.feeds import FeedKey, Feeds


class Watchlist:
    """Watches by id, in the order in which they were added."""

    __slots__ = ("feeds", "watches")

    def __init__(self, calendar: MarketCalendar, settle_time: timedelta) -> None:
        self.watches: dict[str, Watch] = {}
        self.feeds = Feeds(calendar, settle_time)

    def put(self, watch: Watch) -> None:
        """Add or replace a watch; its average is built again from history."""
        self.discard(watch.id)
        self.watches[watch.id] = watch
        self.feeds.put(watch)

    def discard(self, watch_id: str) -> None:
        """Remove a watch, with its average and what only it needs."""
        watch = self.watches.pop(watch_id, None)
        if watch is not None:
            self.feeds.discard(watch)

    def evaluate_from(self, moment: datetime) -> None:
        """Let only candles that close after `moment` give new signals."""
        for watch in self.watches.values():
            through = max(watch.evaluated_through, moment)
            self.watches[watch.id] = replace(watch, evaluated_through=through, signals_from=moment)

    def set_evaluated(self, key: FeedKey, through: datetime) -> None:
        """Record that the candles of a feed were evaluated up to a close."""
        for watch in self.on(key):
            if watch.evaluated_through < through:
                self.watches[watch.id] = replace(watch, evaluated_through=through)

    def on(self, key: FeedKey) -> list[Watch]:
        """Return the watches on a feed."""
        return [watch for watch in self.watches.values() if (watch.symbol, watch.resolution) == key]

    def symbols(self) -> list[Symbol]:
        """Return the watched symbols."""
        return list(dict.fromkeys(watch.symbol for watch in self.watches.values()))

    def series(self, watch: Watch) -> WatchSeries | None:
        """Return a watch's live series, or `None` before the first candle."""
        feed = self.feeds.get((watch.symbol, watch.resolution))
        series = None if feed is None else feed.candles.series.get(watch.id)
        return series if series is not None and series.count else None

    def with_series(self) -> Iterator[tuple[Watch, WatchSeries]]:
        """Yield each watch that has a live series."""
        for watch in self.watches.values():
            if (series := self.series(watch)) is not None:
                yield watch, series
