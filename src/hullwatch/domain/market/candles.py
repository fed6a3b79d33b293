"""Candles: reading them from untrusted rows, sorting them, and when each one closes.

Intraday candles are counted from the market open: 60-minute candles open at 09:15, 10:15 and so on, and the
last one, at 15:15, is shortened by the close at 15:30. A daily candle is dated 00:00 UTC of its day (Fyers
API v3 docs, history sample) and closes when the closing price of the day's last session is final, which is
after its closing auction.

Hours differ between segments: functions need the calendar of the symbol (`MarketCalendar.for_symbol`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final

from hullwatch.domain.market.calendar import IST, MarketCalendar, TradingSession, ist_date
from hullwatch.domain.market.instruments import Resolution

MAX_PRICE: Final = 1e9
"""INR; far above any instrument, and low enough that paise are exact in a float."""

MAX_VOLUME: Final = 2**63 - 1

_EARLIEST: Final = 946_684_800  # 2000-01-01; Fyers' history begins on 2017-07-03
_LATEST: Final = 4_102_444_800  # 2100-01-01
_LONGEST_LOOKBACK: Final = 3000  # trading sessions; ends the search where the calendar knows no earlier ones
_PRICE_NAMES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices in INR over one resolution; `opened_at` is aware, UTC, `volume` in shares or contracts, 0 for an index."""

    opened_at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


class DefectKind(StrEnum):
    """What is wrong with a candle row."""

    SHAPE = "shape"
    """Not a row of six or seven values."""
    TIME = "time"
    """The opening is no whole second between 2000 and 2100."""
    PRICE = "price"
    """A price is no finite positive number, or absurdly large."""
    RANGE = "range"
    """High is below low, or open or close is outside them."""
    VOLUME = "volume"
    """The volume must be a whole number from 0."""


@dataclass(frozen=True, slots=True)
class CandleDefect:
    """Why a row was refused; none of its numbers is used."""

    kind: DefectKind
    sentence: str
    row: int | None = None
    """Index in the answer, from 0, if known."""


def read_candle(values: object) -> Candle | CandleDefect:
    """Read ``[epoch seconds, open, high, low, close, volume]``, optionally followed by the open interest.

    Accepts any JSON value. Text, booleans, NaN, infinities, zero and negative prices, impossible ranges and
    fractional volumes are defects.
    """
    if type(values) is list and len(values) in {6, 7}:
        second, opened, high, low, closed, volume = values[:6]
        # Nearly all rows: three numbers out of four need no conversion, and no NaN passes a comparison.
        if (
            type(second) is type(volume) is int
            and type(opened) is type(high) is type(low) is type(closed) is float
            and 0 < low <= opened <= high <= MAX_PRICE
            and low <= closed <= high
            and 0 <= volume <= MAX_VOLUME
            and _EARLIEST <= second < _LATEST
        ):
            return Candle(datetime.fromtimestamp(second, UTC), opened, high, low, closed, volume)
    if not isinstance(values, (list, tuple)) or len(values) not in {6, 7}:
        return CandleDefect(DefectKind.SHAPE, "A candle must be a row of six or seven values.")
    opened_at = _moment(values[0])
    if opened_at is None:
        return CandleDefect(DefectKind.TIME, "The time must be a whole second between 2000 and 2100.")
    defect = _price_defect(values[1:5])
    if defect is not None:
        return defect
    volume = _whole(values[5])
    if volume is None or not 0 <= volume <= MAX_VOLUME:
        return CandleDefect(DefectKind.VOLUME, "The volume must be a whole number from 0.")
    opened, high, low, closed = (float(value) for value in values[1:5])
    return Candle(opened_at, opened, high, low, closed, volume)


def _price_defect(prices: Sequence[Any]) -> CandleDefect | None:
    for name, value in zip(_PRICE_NAMES, prices, strict=True):
        if not _is_price(value):
            return CandleDefect(
                DefectKind.PRICE, f"The {name} must be a price above 0, at most {MAX_PRICE:,.0f}."
            )
    opened, high, low, closed = prices
    if high < low:
        return CandleDefect(DefectKind.RANGE, "The high is below the low.")
    if not (low <= opened <= high and low <= closed <= high):
        return CandleDefect(DefectKind.RANGE, "The open or the close is outside low and high.")
    return None


def _is_price(value: object) -> bool:
    # A comparison with NaN is false, so NaN is refused.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_PRICE


def _whole(value: object) -> int | None:
    """Return an int, or the value of a float without a fraction."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return None


def _moment(value: object) -> datetime | None:
    seconds = _whole(value)
    if seconds is None or not _EARLIEST <= seconds < _LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Arranged:
    """Sorted rows: candles oldest first, each opening once, and what was left out."""

    candles: tuple[Candle, ...]
    defects: tuple[CandleDefect, ...] = ()
    repeated: int = 0
    """Exact repetitions that were dropped."""
    replaced: int = 0
    """Rows that a later row with the same opening replaced."""
    disordered: int = 0
    """Rows that followed a later candle."""


def arrange(rows: Iterable[object]) -> Arranged:
    """Read rows, sort the candles by opening and keep one for each.

    An exact repetition is dropped. Of different rows with the same opening the last one counts, because a
    correction comes later.
    """
    candles: list[Candle] = []
    defects: list[CandleDefect] = []
    for number, row in enumerate(rows):
        read = read_candle(row)
        if isinstance(read, Candle):
            candles.append(read)
        else:
            defects.append(replace(read, row=number))
    arranged = arrange_candles(candles)
    return replace(arranged, defects=tuple(defects)) if defects else arranged


def arrange_candles(candles: Iterable[Candle]) -> Arranged:
    """Sort candles of one series as `arrange` does; this joins answers that overlap."""
    by_opening: dict[datetime, Candle] = {}
    repeated = replaced = disordered = 0
    newest: datetime | None = None
    for candle in candles:
        known = by_opening.get(candle.opened_at)
        if known is None:
            if newest is None or candle.opened_at > newest:
                newest = candle.opened_at
            else:
                disordered += 1
        elif known == candle:
            repeated += 1
        else:
            replaced += 1
        by_opening[candle.opened_at] = candle
    kept = tuple(by_opening.values())
    if disordered:
        kept = tuple(sorted(kept, key=lambda candle: candle.opened_at))
    return Arranged(kept, (), repeated, replaced, disordered)


def candle_opening(moment: datetime, resolution: Resolution, trading_session: TradingSession) -> datetime:
    """Return the opening of the candle that contains `moment`, a time in `trading_session`; daily ones open 00:00 UTC."""
    if not resolution.is_intraday:
        return datetime.combine(trading_session.day, time(), UTC)
    elapsed = moment - trading_session.opens_at
    return trading_session.opens_at + elapsed // resolution.length * resolution.length


def grid_offset(opened_at: datetime, resolution: Resolution, calendar: MarketCalendar) -> timedelta:
    """Return how long after a step of the calendar a candle opens; 0 for nearly every candle."""
    session = calendar.session_at(opened_at) if resolution.is_intraday else None
    return timedelta() if session is None else opened_at - candle_opening(opened_at, resolution, session)


def closes_at(opened_at: datetime, resolution: Resolution, calendar: MarketCalendar) -> datetime:
    """Return when the candle that opened at `opened_at` is final.

    That is one resolution later, and never after the session's close. A candle outside all known sessions has
    its full length; a daily one of a day without known sessions ends at midnight IST.
    """
    if not resolution.is_intraday:
        day = ist_date(opened_at)
        sessions = calendar.sessions_on(day)
        if sessions:
            return sessions[-1].settles_at
        return datetime.combine(day + timedelta(days=1), time(), IST).astimezone(UTC)
    end = opened_at + resolution.length
    for session in calendar.sessions_between(opened_at, end):
        return min(end, session.closes_at)
    return end


def split_closed(
    candles: Sequence[Candle], resolution: Resolution, now: datetime, calendar: MarketCalendar
) -> tuple[tuple[Candle, ...], Candle | None]:
    """Split candles, oldest first, into those closed at `now` and the forming one, if there is one.

    A candle dated after `now` is left out: one of the clocks is wrong.
    """
    count = len(candles)
    while count and closes_at(candles[count - 1].opened_at, resolution, calendar) > now:
        count -= 1
    forming = candles[count] if count < len(candles) and candles[count].opened_at <= now else None
    return tuple(candles[:count]), forming


def next_close_after(moment: datetime, resolution: Resolution, calendar: MarketCalendar) -> datetime:
    """Return the first candle close after `moment`, if necessary on a later trading day."""
    if not resolution.is_intraday:
        today = calendar.sessions_on(ist_date(moment))
        if today and today[-1].settles_at > moment:
            return today[-1].settles_at
        return calendar.sessions_on(calendar.next_session(moment).day)[-1].settles_at
    under_way = calendar.session_at(moment)
    if under_way is None:
        upcoming = calendar.next_session(moment)
        return min(upcoming.opens_at + resolution.length, upcoming.closes_at)
    end = candle_opening(moment, resolution, under_way) + resolution.length
    return min(end, under_way.closes_at)


def last_close_at_or_before(moment: datetime, resolution: Resolution, calendar: MarketCalendar) -> datetime:
    """Return the last candle close up to `moment`, if necessary on an earlier trading day."""
    if not resolution.is_intraday:
        today = calendar.sessions_on(ist_date(moment))
        if today and today[-1].settles_at <= moment:
            return today[-1].settles_at
        return calendar.previous_session(today[0].opens_at if today else moment).settles_at
    under_way = calendar.session_at(moment)
    if under_way is not None:
        opening = candle_opening(moment, resolution, under_way)
        if opening > under_way.opens_at:
            return opening
    return calendar.previous_session(moment).closes_at


def closes_between(start: datetime, end: datetime, resolution: Resolution, calendar: MarketCalendar) -> int:
    """Count the candles that close after `start` and up to `end`."""
    if start >= end:
        return 0
    if not resolution.is_intraday:
        # From midnight: `start` may be between the close of a session and the time when its closing price is final.
        midnight = datetime.combine(ist_date(start), time(), IST)
        days = {session.day for session in calendar.sessions_between(midnight, end)}
        ends = (calendar.sessions_on(day)[-1].settles_at for day in days)
        return sum(start < closed_at <= end for closed_at in ends)
    return sum(
        _closed_by(end, resolution, session) - _closed_by(start, resolution, session)
        for session in calendar.sessions_between(start, end)
    )


def _closed_by(moment: datetime, resolution: Resolution, session: TradingSession) -> int:
    """Count the candles of `session` that have closed by `moment`; the last one may be shorter."""
    if moment < session.closes_at:
        return max(0, (moment - session.opens_at) // resolution.length)
    return -((session.opens_at - session.closes_at) // resolution.length)


def history_start(count: int, resolution: Resolution, before: datetime, calendar: MarketCalendar) -> datetime:
    """Return the opening of the trading session from which at least `count` candles close up to `before`."""
    found, moment = 0, before
    for _ in range(_LONGEST_LOOKBACK):
        session = calendar.session_at(moment) or calendar.previous_session(moment)
        if session.opens_at >= moment:
            session = calendar.previous_session(session.opens_at)
        found += closes_between(session.opens_at, min(session.closes_at, before), resolution, calendar)
        moment = session.opens_at
        if found >= count:
            break
    if resolution.is_intraday:
        return moment
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)  # daily candles open at 00:00 UTC
