"""What history shows of the candles at a moment, with the changes of control calls."""

from collections.abc import Sequence

from hullwatch.simulator.market.calendar import DAY_S, moment
from hullwatch.simulator.market.candle_changes import (
    ActiveChange,
    DelayClose,
    Empty,
    OffGrid,
    Revise,
    Split,
    Withhold,
    Zero,
)
from hullwatch.simulator.market.candles import Row
from hullwatch.simulator.market.changed_source import divided
from hullwatch.simulator.market.prices import Market, Pieces, as_pieces


def seen_pieces(market: Market, symbol: str, day: int, length_s: int, now: float) -> Pieces:
    """Return a day's candles of `length_s` seconds as a call at `now` sees them."""
    active = [one for one in market.changes.seen(symbol, now) if _is_of_length(one, length_s)]
    if not active:
        return market.day_pieces(symbol, day, length_s, now)
    offset_s = next((one.given.seconds for one in active if isinstance(one.given, OffGrid)), 0)
    rows = market.rows_at(symbol, day, length_s, now, offset_s)
    view = _View(market, symbol, day, length_s, offset_s)
    for change in active:
        rows = view.changed(rows, change, now)
    return as_pieces(rows)


def _is_of_length(change: ActiveChange, length_s: int) -> bool:
    resolution = getattr(change.given, "resolution", None)
    return resolution is None or _length_of(resolution) == length_s


def _length_of(resolution: str) -> int:
    if resolution.endswith("D"):
        return DAY_S
    return int(resolution[:-1]) if resolution.endswith("S") else int(resolution) * 60


class _View:
    """Applies changes to the candles of one symbol, day and length."""

    def __init__(self, market: Market, symbol: str, day: int, length_s: int, offset_s: int) -> None:
        self._market = market
        self._of = (symbol, day, length_s)
        self._offset_s = offset_s
        trading_day, session = market.source.day(symbol, day), market.source.session(day)
        ends = [trading_day.closes_at] if trading_day is not None else [0]
        self._closes_at = max(*ends, session[1] if session is not None else 0)

    def changed(self, rows: Sequence[Row], change: ActiveChange, now: float) -> Sequence[Row]:
        """Return the candles with one more change."""
        given = change.given
        if isinstance(given, Split):
            return self._rescaled(rows, given, now)
        if not isinstance(given, Revise | Withhold | DelayClose | Empty | Zero):
            return rows
        found: list[Row] = []
        for row in rows:
            shown = self._shown(row, given, now) if given.concerns(row.start) else row
            found += [] if shown is None else [shown]
        return found

    def _shown(
        self, row: Row, given: Revise | Withhold | DelayClose | Empty | Zero, now: float
    ) -> Row | None:
        end = self._end_of(row)
        match given:
            case Revise():
                return given.revised(row)
            case Zero():
                return Row(row.start, 0, 0, 0, 0, row.volume)
            case Empty():
                return None
            case Withhold():
                return None if given.is_hidden(end, self._of[2], now) else row
            case DelayClose():
                shown_at = end - given.earlier_seconds
                return self._at(row, shown_at) if shown_at < now < end + given.seconds else row

    def _end_of(self, row: Row) -> float:
        length_s = self._of[2]
        return self._closes_at if length_s == DAY_S else min(row.start + length_s, self._closes_at)

    def _at(self, row: Row, earlier: float) -> Row | None:
        symbol, day, length_s = self._of
        begin = moment(day, 0) if length_s == DAY_S else row.start
        rows = self._market.rows_at(symbol, day, length_s, max(begin, earlier), self._offset_s)
        return next((one for one in rows if one.start == row.start), None)

    def _rescaled(self, rows: Sequence[Row], split: Split, now: float) -> Sequence[Row]:
        first_day = split.day_number
        if not split.rescales_past or self._of[1] >= first_day or now < moment(first_day, 0):
            return rows
        return [divided(row, split.ratio) for row in rows]
