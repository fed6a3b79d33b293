"""Fyers' candle history with its parameters, limits and refusals.

The candle that is forming is included. Fyers advises a `range_to` at the end of the last interval to get
closed candles only; so a candle that opens exactly at `range_to` is given if it is closed, and not while it
is forming.
"""

import asyncio
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import orjson

from hullwatch.simulator.answers import Answer, Refusal
from hullwatch.simulator.broker import Broker, Call
from hullwatch.simulator.market.calendar import DAY_S, day_of, from_date, moment
from hullwatch.simulator.market.candles import Row
from hullwatch.simulator.market.history_view import seen_pieces
from hullwatch.simulator.market.prices import period_start

_SECONDS = {"5S", "10S", "15S", "30S", "45S"}
_MINUTES = {"1", "2", "3", "5", "10", "15", "20", "30", "45", "60", "120", "180", "240"}
_DAYS = {"D": "D", "1D": "D", "1W": "W", "1M": "M"}
_EPOCH = re.compile(r"\d{1,11}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
MOST_MINUTE_DAYS = 100
MOST_DAILY_DAYS = 366
SECONDS_DAYS = 30
"""Candles of seconds exist for so many trading days (Fyers API v3 docs)."""
_DAYS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _HistoryQuery:
    symbol: str
    resolution: str
    first: int
    last: int
    with_interest: bool
    is_continuous: bool


async def history(broker: Broker, call: Call) -> Answer:
    """Return candles of one symbol, oldest first, with the forming one."""
    query = _read(call)
    if isinstance(query, Refusal):
        return query.answer
    if broker.market.listed(query.symbol, call.now) is None:
        return Refusal.HISTORY_SYMBOL.answer
    if query.resolution in _SECONDS:
        candles = await _intraday_candles(broker, query, int(query.resolution[:-1]), call.now)
    elif query.resolution in _MINUTES:
        candles = await _intraday_candles(broker, query, int(query.resolution) * 60, call.now)
    else:
        candles = await _daily_candles(broker, query, call.now)
    if not candles:
        return Answer(b'{"candles":[],"message":"","s":"no_data"}')
    if query.with_interest:
        candles = [_with_interest(broker, query.symbol, candle, call.now) for candle in candles]
    return Answer(b'{"candles":[' + b",".join(candles) + b'],"code":200,"message":"","s":"ok"}')


def _with_interest(broker: Broker, symbol: str, candle: bytes, now: float) -> bytes:
    """Append a contract's open interest at the opening of a candle, 0 for others."""
    opens_at = int(candle[1 : candle.index(b",")])
    return candle[:-1] + b",%d]" % broker.market.interest(symbol, min(opens_at, now)).now


def _series(broker: Broker, query: _HistoryQuery, now: float) -> list[tuple[str, int]]:
    return broker.market.series(query.symbol, query.first, query.last, now, is_continuous=query.is_continuous)


async def _intraday_candles(broker: Broker, query: _HistoryQuery, length_s: int, now: float) -> list[bytes]:
    base_s = broker.market.source.base_seconds(query.symbol)
    if length_s >= 60 and (length_s < base_s or length_s % base_s):
        return []
    if length_s < 60:
        kept = broker.market.source.days(query.symbol, day_of(now) - 90, day_of(now))[-SECONDS_DAYS:]
        query = replace(query, first=max(query.first, moment(kept[0], 0) if kept else query.last + 1))
    candles: list[bytes] = []
    for number, (symbol, day) in enumerate(_series(broker, query, now)):
        if number % _DAYS_AT_ONCE == _DAYS_AT_ONCE - 1:
            await asyncio.sleep(0)  # a day may have to be generated first, so let other calls run
        pieces = seen_pieces(broker.market, symbol, day, length_s, now)
        begin = bisect_left(pieces.starts, query.first)
        end = bisect_left(pieces.starts, query.last)
        if end < len(pieces.starts) and pieces.starts[end] == query.last and query.last + length_s <= now:
            end += 1
        candles.extend(pieces.json[begin:end])
    return candles


async def _daily_candles(broker: Broker, query: _HistoryQuery, now: float) -> list[bytes]:
    unit = _DAYS[query.resolution]
    first, last = query.first, query.last
    if unit != "D":  # whole weeks and months, which is assumed of Fyers too
        first = moment(period_start(day_of(first), unit), 0)
        last = (
            moment(period_start(period_start(day_of(last), unit) + 32, "M"), 0) - 1
            if unit == "M"
            else (moment(period_start(day_of(last), unit) + 7, 0) - 1)
        )
    rows: list[Row] = []
    for number, (symbol, day) in enumerate(_series(broker, replace(query, first=first, last=last), now)):
        if number % _DAYS_AT_ONCE == _DAYS_AT_ONCE - 1:
            await asyncio.sleep(0)
        rows.extend(seen_pieces(broker.market, symbol, day, DAY_S, now).rows)
    candles: Sequence[Row] = rows if unit == "D" else broker.market.long_candles(rows, unit)
    return [orjson.dumps(tuple(row)) for row in candles]


def _read(call: Call) -> _HistoryQuery | Refusal:
    query = call.query
    symbol = query.get("symbol", "").strip()
    resolution, date_format = query.get("resolution", ""), query.get("date_format", "0")
    first = _moment(query.get("range_from", ""), date_format, is_end=False)
    last = _moment(query.get("range_to", ""), date_format, is_end=True)
    flags = (query.get("cont_flag", "0") or "0", query.get("oi_flag", "0") or "0")
    if not symbol or first is None or last is None or first > last or not set(flags) <= {"0", "1"}:
        return Refusal.HISTORY_INPUT
    if resolution in _DAYS:
        most = MOST_DAILY_DAYS
    elif resolution in _MINUTES or resolution in _SECONDS:
        most = MOST_MINUTE_DAYS
    else:
        return Refusal.HISTORY_INPUT
    if last - first > most * DAY_S:
        return Refusal.HISTORY_INPUT
    return _HistoryQuery(symbol, resolution, first, last, flags[1] == "1", flags[0] == "1")


def _moment(text: str, date_format: str, *, is_end: bool) -> int | None:
    """Read one end of the range: epoch seconds, or a date whose whole Indian day belongs to it."""
    if date_format == "0":
        return int(text) if _EPOCH.fullmatch(text) and text.isascii() else None
    if date_format != "1" or not (_DATE.fullmatch(text) and text.isascii()):
        return None
    try:
        day = from_date(date.fromisoformat(text))
    except ValueError:
        return None
    return moment(day, DAY_S - 1 if is_end else 0)
