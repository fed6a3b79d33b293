"""A market generated from a seed: opening gaps, a U-shaped day in volatility and volume, a tick grid.

A day depends on the seed, the symbol and the date alone, so any date can be had at once. Closing levels
come from a sum of value noise on ten time scales (one day to three years), which wanders like a price
without having to be followed from its beginning; the minutes in between are a random bridge from the gapped
open to the close.
"""

import math
import random
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b

from hullwatch.simulator.market.auction import auction_day, has_auction
from hullwatch.simulator.market.calendar import CLOSE_S, OPEN_S, from_date, is_trading_day, moment
from hullwatch.simulator.market.candles import Row, TradingDay
from hullwatch.simulator.market.contracts import REFERENCES
from hullwatch.simulator.market.instruments import Character, Instrument, synthetic_listing

FIRST_DAY = from_date(date(2017, 7, 3))
"""Fyers' history begins on 2017-07-03 (Fyers API v3 docs, History)."""

_HOURS = (OPEN_S, CLOSE_S)
_OCTAVES = 10
_CACHED_DAYS = 3_000
_CACHED_CLOSES = 50_000


@lru_cache(maxsize=32)
def minute_weights(minutes: int, opening: float, closing: float) -> list[float]:
    """Return one weight a minute, high at both ends of the session, adding up to one."""
    raw = [
        1 + opening * math.exp(-minute / 20) + closing * math.exp((minute - minutes + 1) / 25)
        for minute in range(minutes)
    ]
    total = sum(raw)
    return [weight / total for weight in raw]


def _variance(minutes: int) -> list[float]:
    return minute_weights(minutes, 9.0, 2.5)


def volume_weights(minutes: int) -> list[float]:
    """Return the share of a day's volume in each of its minutes."""
    return minute_weights(minutes, 5.0, 4.0)


@lru_cache(maxsize=100_000)
def _lattice(seed: int, key: str, octave: int, index: int) -> float:
    """Return a standard, nearly normal number that belongs to one point of one octave."""
    digest = blake2b(f"{seed}|{key}|{octave}|{index}".encode(), digest_size=8).digest()
    parts = [int.from_bytes(digest[start : start + 2]) / 65_535 for start in (0, 2, 4, 6)]
    return (sum(parts) - 2.0) * math.sqrt(3.0)


def _wander(seed: int, key: str, day: int) -> float:
    """Return the noise of a day, scaled so that one day's change has a standard deviation near one."""
    total = 0.0
    for octave in range(_OCTAVES):
        index, offset = divmod(day, 1 << octave)
        share = offset / (1 << octave)
        here = _lattice(seed, key, octave, index)
        there = _lattice(seed, key, octave, index + 1) if share else here
        total += 0.5 * math.sqrt(1 << octave) * (here + (there - here) * share)
    return total


class SyntheticMarket:
    """A candle source that needs no data: one-minute candles from 2017-07-03 on, any day at once."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._listing = synthetic_listing()
        self._references = {symbol: _reference(symbol) for symbol in REFERENCES}
        self._made = lru_cache(maxsize=_CACHED_DAYS)(self._make)
        self._close = lru_cache(maxsize=_CACHED_CLOSES)(self._find_close)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every listed instrument by symbol."""
        return {symbol: instrument for symbol, (instrument, _) in self._listing.items()}

    @property
    def references(self) -> dict[str, Instrument]:
        """Commodities and currencies, whose prices are those of their contracts."""
        return self._references

    def _entry(self, symbol: str) -> tuple[Instrument, Character]:
        reference = self._references.get(symbol)
        return self._listing[symbol] if reference is None else (reference, REFERENCES[symbol])

    def close(self, symbol: str, day: int) -> float | None:
        """Return the closing price of a day, which needs no candles."""
        return self._close(symbol, day) if day >= FIRST_DAY and is_trading_day(day) else None

    def base_seconds(self, symbol: str) -> int:  # noqa: ARG002  the same for every symbol here
        """Return 60: one-minute candles."""
        return 60

    def day(self, symbol: str, day: int) -> TradingDay | None:
        """Return a day of a listed symbol, or `None` on a weekend, a holiday or before history begins."""
        if day < FIRST_DAY or not is_trading_day(day):
            return None
        return self._made(symbol, day)

    def days(self, symbol: str, first: int, last: int) -> Sequence[int]:  # noqa: ARG002  one calendar for all
        """Return the trading days between two days, both included."""
        return [day for day in range(max(first, FIRST_DAY), last + 1) if is_trading_day(day)]

    def day_before(self, symbol: str, day: int) -> int | None:  # noqa: ARG002  one calendar for all
        """Return the trading day before `day`, or `None` at the beginning of history."""
        for earlier in range(day - 1, FIRST_DAY - 1, -1):
            if is_trading_day(earlier):
                return earlier
        return None

    def session(self, day: int) -> tuple[int, int] | None:
        """Return 09:15 and 15:30 of a trading day."""
        return (moment(day, OPEN_S), moment(day, CLOSE_S)) if is_trading_day(day) else None

    def _find_close(self, symbol: str, day: int) -> float:
        """Return the closing price of a day: part the market's change, part the instrument's own."""
        instrument, character = self._entry(symbol)
        share = character.market_share
        own = math.sqrt(1 - share * share)
        noise = share * _wander(self._seed, "market", day) + own * _wander(self._seed, symbol, day)
        return _on_grid(character.price * math.exp(character.volatility * noise), instrument.tick)

    def _make(self, symbol: str, day: int) -> TradingDay:
        instrument, character = self._entry(symbol)
        chance = random.Random(f"{self._seed}|{symbol}|{day}")  # noqa: S311  a market, not a secret
        previous = self.day_before(symbol, day)
        close = self._close(symbol, day)
        before = close if previous is None else self._close(symbol, previous)
        gap = chance.gauss(0.0, 0.45) * (3.0 if chance.random() < 0.04 else 1.0)
        opening = _on_grid(before * math.exp(character.volatility * gap), instrument.tick)
        opens_s, closes_s = character.hours or _HOURS
        closes = _bridge(opening, close, character.volatility * 0.8, (closes_s - opens_s) // 60, chance)
        rows = _minutes(moment(day, opens_s), [opening, *closes], character, instrument.tick, chance)
        return auction_day(rows, 60, symbol, day) if has_auction(symbol, day) else TradingDay.of(rows, 60)


def _reference(symbol: str) -> Instrument:
    return Instrument(symbol, symbol.partition(":")[2], symbol, 0, "", 0.01)


def _on_grid(price: float, tick: float) -> float:
    return round(max(1, round(price / tick)) * tick, 2)


def _bridge(opening: float, close: float, spread: float, minutes: int, chance: random.Random) -> list[float]:
    """Return unrounded closing prices by minute, the last is `close`; `spread` is the day's volatility."""
    walk: list[float] = []
    level = 0.0
    for weight in _variance(minutes):
        level += chance.gauss(0.0, spread * math.sqrt(weight))
        walk.append(level)
    miss = math.log(close / opening) - level
    passed = 0.0
    prices: list[float] = []
    for weight, step in zip(_variance(minutes), walk, strict=True):
        passed += weight
        prices.append(opening * math.exp(step + miss * passed))
    return prices


def _minutes(
    start: int, prices: Sequence[float], character: Character, tick: float, chance: random.Random
) -> list[Row]:
    """Turn an opening price and the minutes' closes into candles; wicks grow with the volatility."""
    rows: list[Row] = []
    last, *closes = prices
    variance, shares = _variance(len(closes)), volume_weights(len(closes))
    day_volume = character.volume * math.exp(chance.gauss(0.0, 0.25))
    for minute, close in enumerate(closes):
        wick = last * character.volatility * 0.4 * math.sqrt(variance[minute])
        first = last if minute == 0 else _on_grid(last + chance.gauss(0.0, 0.15) * wick, tick)
        final = _on_grid(close, tick)
        high = max(first, final, _on_grid(max(first, final) + chance.expovariate(1.0) * wick, tick))
        low = min(first, final, _on_grid(min(first, final) - chance.expovariate(1.0) * wick, tick))
        volume = int(day_volume * shares[minute] * math.exp(chance.gauss(-0.08, 0.4)))
        rows.append(Row(start + minute * 60, first, high, low, final, volume))
        last = final
    return rows
