"""Snapshots, quotes and candles of the simulated exchange at any moment.

Candles longer than those of the source are put together within one trading day, counted from 09:15; days,
weeks and months carry 00:00 UTC of their first date, as Fyers' do. Answers are kept as pieces of JSON,
because thousands of accounts ask for the same ones in the same second.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from hullwatch.simulator.market.calendar import DAY_S, OPEN_S, day_of, moment, to_date
from hullwatch.simulator.market.candle_changes import CandleChanges, Split
from hullwatch.simulator.market.candles import CandleSource, Row, TradingDay
from hullwatch.simulator.market.derivatives import DerivedMarket
from hullwatch.simulator.market.instruments import Instrument

_CACHED_PIECES = 4_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An instrument at a moment: prices in INR, shares since the open, `traded_at` in epoch seconds."""

    ltp: float
    open: float
    high: float
    low: float
    prev_close: float
    volume: int
    average: float
    traded_at: int
    last_quantity: int

    @property
    def change(self) -> float:
        """Change since the previous close, INR."""
        return round(self.ltp - self.prev_close, 2)

    @property
    def change_percent(self) -> float:
        """Change since the previous close, percent."""
        return round(100 * (self.ltp - self.prev_close) / self.prev_close, 2)


class Interest(NamedTuple):
    """The open interest of a contract, in units of its underlying, and that of the day before."""

    now: int
    before: int

    @property
    def change_percent(self) -> float:
        """Change since the day before, percent."""
        return round(100 * (self.now - self.before) / self.before, 2) if self.before else 0.0


@dataclass(frozen=True, slots=True)
class Pieces:
    """Candles as JSON, beside their opening moments."""

    starts: Sequence[int]
    rows: Sequence[Row]
    json: Sequence[bytes]


class Market:
    """The exchange as of any moment. All moments are epoch seconds; a quote shows its whole second."""

    def __init__(self, source: CandleSource, changes: CandleChanges | None = None) -> None:
        self.source = DerivedMarket(source)
        self.changes = changes or CandleChanges()
        self.version = 0
        """Grows when prices change by a control call."""
        self.instruments = self.source.instruments
        self._second = -1
        self._quotes: dict[str, bytes] = {}
        self._closed_pieces = lru_cache(maxsize=_CACHED_PIECES)(self._make_pieces)
        self._running: dict[tuple[str, int], tuple[int, Pieces]] = {}

    def forget(self) -> None:
        """Forget computed answers, because prices have changed by a control call."""
        self.version += 1
        self._second = -1
        self._quotes.clear()
        self._running.clear()
        self._closed_pieces.cache_clear()

    def listed(self, symbol: str, now: float) -> Instrument | None:
        """Return an instrument, `None` if none with this symbol is listed at a moment."""
        return self.source.listed(symbol, day_of(now))

    def snapshot(self, symbol: str, now: float) -> Snapshot:
        """Return a listed instrument's prices at a moment; after hours they stay at the last close."""
        day, tick = day_of(now), self.instruments[symbol].tick
        today = self.source.day(symbol, day)
        if today is None or now < today.opens_at:
            earlier = self.source.day_before(symbol, day)
            past = None if earlier is None else self.source.day(symbol, earlier)
            if earlier is None or past is None:
                return self._before_history(symbol, day)
            return _snapshot(past, past.rows, self._close_before(symbol, earlier, past), past.closes_at - 1)
        rows = today.rows_until(now, tick)
        traded_at = min(int(now), rows[-1].start + today.base_s - 1)
        return _snapshot(today, rows, self._close_before(symbol, day, today), traded_at)

    def interest(self, symbol: str, now: float) -> Interest:
        """Return the open interest of a listed symbol at a moment; nothing for shares and indices."""
        if self.instruments[symbol].expiry is None:
            return Interest(0, 0)
        day = day_of(now)
        today = self.source.session(day)
        share = 0.0 if today is None else (now - today[0]) / (today[1] - today[0])
        share = min(1.0, max(0.0, share))
        return Interest(
            self.source.open_interest(symbol, day, share), self.source.open_interest(symbol, day, 0.0)
        )

    def quote(self, symbol: str, now: float, skew_s: float = 0.0) -> dict[str, Any]:
        """Return the item of a quotes answer; `skew_s` is added to its time."""
        instrument, shot = self.instruments[symbol], self.snapshot(symbol, int(now))
        bid, ask = best_prices(instrument, shot)
        value = {
            "ch": shot.change, "chp": shot.change_percent, "lp": shot.ltp,
            "spread": round(ask - bid, instrument.decimals), "ask": ask, "bid": bid,
            "open_price": shot.open, "high_price": shot.high, "low_price": shot.low,
            "prev_close_price": shot.prev_close, "atp": shot.average, "volume": shot.volume,
            "short_name": symbol.partition(":")[2], "exchange": instrument.segment.exchange, "description": symbol,
            "original_name": symbol, "symbol": symbol, "fyToken": instrument.fytoken,
            "tt": str(int(shot.traded_at + skew_s)),
        }  # fmt: skip
        return {"n": symbol, "s": "ok", "v": value}

    def quote_json(self, symbol: str, now: float) -> bytes:
        """Return the same as JSON, made once per symbol and simulated second."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._quotes.clear()
        made = self._quotes.get(symbol)
        if made is None:
            made = self._quotes[symbol] = orjson.dumps(self.quote(symbol, second))
        return made

    def trading_days(self, symbol: str, first: float, last: float, now: float) -> Sequence[int]:
        """Return the days of a listed symbol from one moment to another, none later than now."""
        return self.source.days(symbol, day_of(first), min(day_of(last), day_of(now)))

    def series(
        self, symbol: str, first: float, last: float, now: float, *, is_continuous: bool
    ) -> list[tuple[str, int]]:
        """Return the days of a series from one moment to another, each with the symbol whose candles it has.

        A continuous series of a future goes on with earlier contracts before its own first day.
        """
        instrument = self.instruments[symbol]
        if not (is_continuous and instrument.is_future):
            return [(symbol, day) for day in self.trading_days(symbol, first, last, now)]
        days = self.trading_days(instrument.underlying, first, last, now)
        return [(self.source.continuous(symbol, day), day) for day in days]

    def day_pieces(self, symbol: str, day: int, length_s: int, now: float) -> Pieces:
        """Return a day's candles of `length_s` seconds until now: a multiple of the source's, or of five."""
        trading_day = self.source.day(symbol, day)
        if trading_day is None:
            return Pieces((), (), ())
        if self._is_of_seconds(symbol, length_s):
            # Too many to keep: 4,500 a day.
            return as_pieces(self.rows_at(symbol, day, length_s, now))
        if now < trading_day.final_at:
            second = int(now)
            kept = self._running.get((symbol, length_s))
            if kept is None or kept[0] != second:
                rows = trading_day.rows_until(second, self.instruments[symbol].tick)
                kept = self._running[symbol, length_s] = (second, as_pieces(_joined(rows, day, length_s)))
            return kept[1]
        return self._closed_pieces(symbol, day, length_s)

    def rows_at(self, symbol: str, day: int, length_s: int, at: float, offset_s: int = 0) -> Sequence[Row]:
        """Return a day's candles as they look at a moment, counted from `offset_s` after the opening."""
        trading_day, tick = self.source.day(symbol, day), self.instruments[symbol].tick
        if trading_day is None:
            return ()
        if self._is_of_seconds(symbol, length_s):
            rows: Sequence[Row] = trading_day.second_rows(int(at), tick)
        else:
            rows = trading_day.rows_until(int(at), tick)
        return _joined(rows, day, length_s, offset_s)

    def _is_of_seconds(self, symbol: str, length_s: int) -> bool:
        return length_s < self.source.base_seconds(symbol)

    def _make_pieces(self, symbol: str, day: int, length_s: int) -> Pieces:
        trading_day = self.source.day(symbol, day)
        return as_pieces(_joined(trading_day.rows if trading_day else (), day, length_s))

    def long_candles(self, daily: Sequence[Row], unit: str) -> list[Row]:
        """Put daily candles together by week (`W`, from Monday) or month (`M`)."""
        return _grouped(daily, lambda row: period_start(row.start // DAY_S, unit) * DAY_S)

    def _close_before(self, symbol: str, day: int, fallback: TradingDay) -> float:
        earlier = self.source.day_before(symbol, day)
        past = None if earlier is None else self.source.day(symbol, earlier)
        if past is None or earlier is None:
            return fallback.rows[0].open
        ratio = self._split_between(symbol, earlier, day)
        close = past.rows[-1].close
        return close if ratio == 1 else max(self.instruments[symbol].tick, round(close / ratio, 2))

    def _split_between(self, symbol: str, earlier: int, day: int) -> float:
        """Return by what the exchange divides the close of an earlier day to compare it with a day's prices."""
        ratio = 1.0
        for change in self.changes.of(symbol):
            if isinstance(change, Split) and change.changes_prices and earlier < change.day_number <= day:
                ratio *= change.ratio
        return ratio

    def _before_history(self, symbol: str, day: int) -> Snapshot:
        """Return the very first price, for a moment before the data."""
        later = self.source.days(symbol, day, day + 20_000)
        first = self.source.day(symbol, later[0]) if later else None
        price, at = (first.rows[0].open, first.opens_at) if first is not None else (1.0, moment(day, OPEN_S))
        return Snapshot(price, price, price, price, price, 0, price, at, 0)


def best_prices(instrument: Instrument, shot: Snapshot) -> tuple[float, float]:
    """Return the best bid and ask, one tick apart and one of them the last price; 0 for an index."""
    if instrument.is_index:
        return 0.0, 0.0
    above = shot.change >= 0
    bid = shot.ltp - (0 if above else instrument.tick)
    bid = max(bid, instrument.tick)
    return round(bid, instrument.decimals), round(bid + instrument.tick, instrument.decimals)


def _snapshot(day: TradingDay, rows: Sequence[Row], prev_close: float, traded_at: int) -> Snapshot:
    last, closed = rows[-1], len(rows) - 1
    high, low, volume, turnover = last.high, last.low, last.volume, last.volume * last.close
    if closed:
        high, low = max(high, day.highs[closed - 1]), min(low, day.lows[closed - 1])
        volume += day.volumes[closed - 1]
        turnover += day.turnovers[closed - 1]
    average = round(turnover / volume, 2) if volume else last.close
    return Snapshot(
        last.close, rows[0].open, high, low, prev_close, volume, average, traded_at, last.volume // 60
    )  # fmt: skip


def _joined(rows: Sequence[Row], day: int, length_s: int, offset_s: int = 0) -> Sequence[Row]:
    if length_s == DAY_S:
        return _grouped(rows, lambda _: day * DAY_S)
    # Candles are counted from 09:15, in markets that open earlier from their own opening.
    opening = min(moment(day, OPEN_S), rows[0].start) if rows else 0
    opening += offset_s
    rows = [row for row in rows if row.start >= opening] if offset_s else rows
    return _grouped(rows, lambda row: opening + (row.start - opening) // length_s * length_s)


def _grouped(rows: Sequence[Row], start_of: Callable[[Row], int]) -> list[Row]:
    groups: list[Row] = []
    for row in rows:
        start = start_of(row)
        if groups and groups[-1].start == start:
            group = groups[-1]
            groups[-1] = Row(
                start, group.open, max(group.high, row.high), min(group.low, row.low), row.close,
                group.volume + row.volume,
            )  # fmt: skip
        else:
            groups.append(row._replace(start=start))
    return groups


def as_pieces(rows: Sequence[Row]) -> Pieces:
    """Return candles with their JSON."""
    return Pieces([row.start for row in rows], rows, [orjson.dumps(tuple(row)) for row in rows])


def period_start(day: int, unit: str) -> int:
    """Return the first day of the week (`W`) or month (`M`) of a day."""
    if unit == "W":
        return day - (day + 3) % 7
    return day - (to_date(day).day - 1)
