"""A candle source with the changes of control calls: given prices, splits, and times without trades."""

from hullwatch.simulator.market.calendar import day_of
from hullwatch.simulator.market.candle_changes import CandleChanges, NoTrades, Split
from hullwatch.simulator.market.candles import CandleSource, Row, TradingDay
from hullwatch.simulator.market.instruments import Instrument
from hullwatch.simulator.market.price_path import PricePath


class ChangedSource:
    """Another source's days; those of symbols that are changed are made anew."""

    def __init__(self, source: CandleSource, changes: CandleChanges) -> None:
        self._source = source
        self._changes = changes
        self._version = 0
        self._made: dict[tuple[str, int], TradingDay | None] = {}
        self.base_seconds = source.base_seconds
        self.days = source.days
        self.day_before = source.day_before
        self.session = source.session

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every listed instrument by symbol."""
        return self._source.instruments

    @property
    def references(self) -> dict[str, Instrument]:
        """Series that contracts are made of and that are not listed themselves."""
        return self._source.references

    def close(self, symbol: str, day: int) -> float | None:
        """Return the last price of a day of a symbol."""
        if not self._is_changed(symbol):
            return self._source.close(symbol, day)
        found = self.day(symbol, day)
        return None if found is None else found.rows[-1].close

    def _is_changed(self, symbol: str) -> bool:
        return bool(self._changes.of(symbol)) or symbol in self._changes.paths

    def day(self, symbol: str, day: int) -> TradingDay | None:
        """Return a day of a listed symbol with its changes, `None` if it did not trade."""
        changes = self._changes
        if not self._is_changed(symbol):
            return self._source.day(symbol, day)
        if self._version != changes.version:
            self._version = changes.version
            self._made.clear()
        if (symbol, day) not in self._made:
            self._made[symbol, day] = self._make(symbol, day)
        return self._made[symbol, day]

    def own_price(self, symbol: str, at: float) -> float:
        """Return a symbol's price at a moment without given prices."""
        day: int | None = day_of(at)
        while day is not None:
            own = self._without_path(symbol, day)
            rows = own.rows_until(at, self.instruments[symbol].tick) if own is not None else ()
            if rows:
                return rows[-1].close
            day = self.day_before(symbol, day)
        return 1.0

    def _make(self, symbol: str, day: int) -> TradingDay | None:
        own, path = self._without_path(symbol, day), self._changes.paths.get(symbol)
        if own is None or path is None or path.starts_at >= own.closes_at:
            return own
        return _on_path(own, self.instruments[symbol].tick, path)

    def _without_path(self, symbol: str, day: int) -> TradingDay | None:
        own = self._source.day(symbol, day)
        if own is None:
            return None
        rows, tick = own.rows, self.instruments[symbol].tick
        for change in self._changes.of(symbol):
            if isinstance(change, Split) and change.changes_prices and day >= change.day_number:
                rows = [divided(row, change.ratio, tick) for row in rows]
            elif isinstance(change, NoTrades):
                rows = [row for row in rows if not change.concerns(row.start)]
        if not rows:
            return None
        if rows is own.rows:
            return own
        auction_at = own.auction_at if rows[-1].start == own.starts[-1] else None
        return TradingDay.of(rows, own.base_s, auction_at=auction_at)


MOST = 1e12
"""Many splits of one symbol lead no further: neither a price nor a volume."""


def divided(row: Row, ratio: float, tick: float | None = None) -> Row:
    """Return a candle at prices divided by a split's ratio, on the tick grid if there is one."""
    prices = [min(price / ratio, MOST) for price in row[1:5]]
    if tick is not None:
        prices = [max(1, round(price / tick)) * tick for price in prices]
    opened, high, low, close = (round(price, 2) for price in prices)
    return Row(row.start, opened, high, low, close, int(min(row.volume * ratio, MOST)))


def _on_path(own: TradingDay, tick: float, path: PricePath) -> TradingDay:
    rows, base_s = own.rows, own.base_s

    def partial(number: int, until: float) -> Row:
        return path.row(rows[number], until, base_s, tick)

    made = [
        partial(number, row.start + base_s) if row.start + base_s > path.starts_at else row
        for number, row in enumerate(rows)
    ]
    if own.auction_at is not None:
        last = made[-1]
        made[-1] = last._replace(open=last.close, high=last.close, low=last.close)
    return TradingDay.of(made, base_s, partial, own.auction_at)
