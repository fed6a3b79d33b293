"""Adds contracts and BSE shares to a candle source; their prices follow from those of what they are made of.

A future is worth its underlying with interest until the expiry, an option its Black price, at every moment of the
underlying's own candles. So quotes, history, stream and option chain have one number, whichever is asked first.
"""

import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hullwatch.simulator.market.calendar import CLOSE_S, derivatives_close, moment
from hullwatch.simulator.market.candles import CandleSource, Row, TradingDay
from hullwatch.simulator.market.contracts import (
    BY_UNDERLYING,
    FAMILIES,
    REFERENCES,
    Expiry,
    Family,
    contract_of,
    contract_of_token,
    expires_at,
    expiries,
    future,
    future_expiries,
    option,
    strikes_between,
)
from hullwatch.simulator.market.instruments import Instrument, Segment, bse_twin
from hullwatch.simulator.market.option_prices import Greeks, forward_price, greeks, option_price
from hullwatch.simulator.market.synthetic import volume_weights

INTEREST = 0.065
"""Yearly rate of the futures' prices."""
VIX = "NSE:INDIAVIX-INDEX"
_USUAL_VIX = 14.0
_BAND = 0.12
"""Strikes reach this far from the closing prices since a contract's last months began."""
_BAND_DAYS = 130
_CACHED_STRIKES = 500
_CACHED_DAYS = 400
_CACHED_PATHS = 40
_QUIET_LOTS = 30


class _Step(NamedTuple):
    """The underlying's prices in one of its candles, or in the time in which only derivatives trade."""

    start: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class _Made:
    """A day of a contract, and the day of the underlying that it was made of."""

    source: TradingDay
    day: TradingDay


class Listing(dict[str, Instrument]):
    """The shares and indices by symbol. A look-up by `[]` also finds the contracts, of any day."""

    def __missing__(self, symbol: str) -> Instrument:
        found = contract_of(symbol)
        if found is None:
            raise KeyError(symbol)
        return found


class DerivedMarket:
    """A candle source with the contracts of the series in another one."""

    def __init__(self, source: CandleSource) -> None:
        self._source = source
        cash = source.instruments
        twins = {twin.symbol: twin for twin in map(bse_twin, cash.values()) if twin and source.references}
        self.instruments: dict[str, Instrument] = Listing(cash | twins)
        self.references = source.references
        self._known = cash.keys() | source.references.keys()
        self._strikes: dict[tuple[str, int, int, float], list[float]] = {}
        self._days: OrderedDict[tuple[str, int], _Made] = OrderedDict()
        self._paths: OrderedDict[tuple[str, int], tuple[TradingDay, list[_Step]]] = OrderedDict()

    @property
    def families(self) -> list[Family]:
        """The kinds of contracts whose underlying is in the source."""
        return [family for family in FAMILIES.values() if family.underlying in self._known]

    def family_of(self, underlying: str) -> Family | None:
        """Return the contracts of an underlying."""
        return BY_UNDERLYING.get(underlying) if underlying in self._known else None

    def listed(self, symbol: str, day: int) -> Instrument | None:
        """Return the instrument of a symbol, `None` if it is not listed on a day: unknown, expired, or too early."""
        if symbol in self.instruments:
            return self.instruments[symbol]
        contract = contract_of(symbol)
        return contract if contract is not None and self._is_listed(contract, day) else None

    def _is_listed(self, contract: Instrument, day: int) -> bool:
        expiry = self._expiry_on(contract, day)
        if expiry is None or not contract.is_option:
            return expiry is not None
        return contract.strike in self.strikes(_family(contract), expiry, day)

    def _expiry_on(self, contract: Instrument, day: int) -> Expiry | None:
        """Return the contract's expiry if it is one of those that exist on a day."""
        if contract.underlying not in self._known:
            return None
        offered = expiries if contract.is_option else future_expiries
        return next((one for one in offered(_family(contract), day) if one.day == contract.expiry), None)

    def strikes(self, family: Family, expiry: Expiry, day: int) -> list[float]:
        """Return the strikes that are listed on a day; in the last months of a contract they only become more."""
        before = self._before(family.underlying, day)
        key = (family.underlying, expiry.day, day, before)
        kept = self._strikes.get(key)
        if kept is None:
            closes = [before, *self._closes(family.underlying, min(expiry.day - _BAND_DAYS, day), day - 1)]
            low, high = min(closes) * (1 - _BAND), max(closes) * (1 + _BAND)
            if len(self._strikes) >= _CACHED_STRIKES:
                self._strikes.clear()
            kept = self._strikes[key] = strikes_between(family, expiry, day, low, high)
        return kept

    def _closes(self, symbol: str, first: int, last: int) -> list[float]:
        closes = (self._source.close(symbol, day) for day in self._source.days(symbol, first, last))
        return [close for close in closes if close is not None]

    def contracts(self, segment: Segment, day: int) -> Iterator[Instrument]:
        """Return every contract of a segment that is listed on a day."""
        for family in self.families:
            if family.segment != segment:
                continue
            for expiry in future_expiries(family, day):
                yield future(family, expiry)
            for expiry in expiries(family, day) if family.step else ():
                for strike in self.strikes(family, expiry, day):
                    yield option(family, expiry, strike, "CE")
                    yield option(family, expiry, strike, "PE")

    def contract_of_token(self, segment: Segment, token: int, day: int) -> Instrument | None:
        """Return the listed contract with an exchange token."""
        found = contract_of_token(segment, token, day, self.strikes)
        return found if found is not None and found.underlying in self._known else None

    def continuous(self, symbol: str, day: int) -> str:
        """Return the future of which a continuous series of `symbol` has the candles on a day.

        Assumed: as long as the contract exists its own, before that those of the nearest contract of the time.
        """
        contract = contract_of(symbol)
        if contract is None or not contract.is_future or self._expiry_on(contract, day) is not None:
            return symbol
        family = _family(contract)
        return future(family, future_expiries(family, day)[0]).symbol

    def base_seconds(self, symbol: str) -> int:
        """Return the length of the finest candles: that of the underlying."""
        return self._source.base_seconds(self._origin(symbol))

    def session(self, day: int) -> tuple[int, int] | None:
        """Return when the exchange opens and closes that day."""
        return self._source.session(day)

    def days(self, symbol: str, first: int, last: int) -> Sequence[int]:
        """Return the days between two days on which a symbol existed and traded."""
        origin = self._origin(symbol)
        contract = None if origin == symbol else contract_of(symbol)
        if contract is None or contract.expiry is None:
            return self._source.days(origin, first, last)
        days = self._source.days(origin, first, min(last, contract.expiry))
        return [day for day in days if self._expiry_on(contract, day) is not None]

    def day_before(self, symbol: str, day: int) -> int | None:
        """Return the last trading day of a symbol before `day`."""
        origin = self._origin(symbol)
        before = self._source.day_before(origin, day)
        contract = None if origin == symbol else contract_of(symbol)
        if before is None or contract is None:
            return before
        if contract.expiry is not None and before > contract.expiry:
            before = self._source.day_before(origin, contract.expiry + 1)
        return before if before is not None and self._expiry_on(contract, before) is not None else None

    def close(self, symbol: str, day: int) -> float | None:
        """Return the last price of a day."""
        origin = self._origin(symbol)
        if origin == symbol or symbol in self.instruments:
            return self._source.close(origin, day)
        contract = self.instruments[symbol]
        path = self._path(contract.underlying, day)
        return (
            self._pricing(contract, day)(path[-1].close, path[-1].start + self.base_seconds(symbol))
            if path
            else None
        )

    def day(self, symbol: str, day: int) -> TradingDay | None:
        """Return a day of a symbol, made anew if its underlying has changed."""
        origin = self._origin(symbol)
        spot = self._source.day(origin, day)
        if origin == symbol or spot is None:
            return spot
        made = self._days.get((symbol, day))
        if made is None or made.source is not spot:
            instrument = self.instruments[symbol]
            if instrument.expiry is None:
                made_day = _twin_day(spot)
            elif self._expiry_on(instrument, day) is None:
                return None
            else:
                made_day = TradingDay.of(self._rows(instrument, day), spot.base_s)
            made = self._days[symbol, day] = _Made(spot, made_day)
            while len(self._days) > _CACHED_DAYS:
                self._days.popitem(last=False)
        self._days.move_to_end((symbol, day))
        return made.day

    def greeks(self, contract: Instrument, spot: float, now: float, day: int) -> Greeks:
        """Return the greeks of an option at a price of its underlying."""
        seconds = max(0.0, expires_at(contract, day) - now)
        return greeks(
            is_call=contract.option_type == "CE", forward=forward_price(spot, seconds, INTEREST),
            strike=contract.strike, seconds=seconds, volatility=self._volatility(contract, day),
        )  # fmt: skip

    def open_interest(self, symbol: str, day: int, share: float = 1.0) -> int:
        """Return a contract's open interest after a `share` of a day; it moves from one day's value to the next one's."""
        contract = self.instruments[symbol]
        if contract.expiry is None:
            return 0
        before = self._source.day_before(contract.underlying, day)
        start, end = (self._interest(contract, one) for one in (day if before is None else before, day))
        return round(start + (end - start) * share) * contract.lot

    def _interest(self, contract: Instrument, day: int) -> int:
        chance = random.Random(f"{contract.symbol}|{day}|interest")  # noqa: S311  a market, not a secret
        return max(1, int(self._lots(contract, day) * (0.4 + 0.4 * chance.random())))

    def _lots(self, contract: Instrument, day: int) -> float:
        """Return the usual lots a day: most at the nearest expiry and at strikes near the price."""
        family = _family(contract)
        left = (contract.expiry or day) - day
        lots = family.liquidity * math.exp(-left / 20)
        if contract.is_option:
            spread = self._volatility(contract, day) * math.sqrt((left + 3) / 365)
            away = math.log(contract.strike / self._before(contract.underlying, day)) / spread
            lots *= math.exp(-0.6 * away * away)
        return max(_QUIET_LOTS, lots)

    def _before(self, symbol: str, day: int) -> float:
        """Return the last closing price before a day, at the beginning of the data the first price."""
        before = self._source.day_before(symbol, day)
        close = None if before is None else self._source.close(symbol, before)
        if close is None:
            today = self._source.day(symbol, day)
            return today.rows[0].open if today is not None else 1.0
        return close

    def _volatility(self, contract: Instrument, day: int) -> float:
        """Return the yearly volatility of a day: that of India VIX, more for a livelier share and a farther strike."""
        vix = self._before(VIX, day) if VIX in self._known else _USUAL_VIX
        usual = min(max(vix, 8.0), 60.0) / 100 * _family(contract).relative_volatility
        away = (
            math.log(contract.strike / self._before(contract.underlying, day)) if contract.is_option else 0.0
        )
        return usual * min(2.0, 1 + 0.3 * max(0.0, -away) / usual + (away / usual) ** 2 * 0.1)

    def _pricing(self, contract: Instrument, day: int) -> Callable[[float, float], float]:
        """Return the contract's price for a price of the underlying and a moment, on the tick grid."""
        expiry_at, tick = expires_at(contract, day), contract.tick
        volatility = self._volatility(contract, day)
        is_option, is_call, strike = contract.is_option, contract.option_type == "CE", contract.strike

        def price(spot: float, at: float) -> float:
            seconds = max(0.0, expiry_at - at)
            value = forward_price(spot, seconds, INTEREST)
            if is_option:
                value = option_price(
                    is_call=is_call, forward=value, strike=strike, seconds=seconds, volatility=volatility
                )
            return round(max(1, round(value / tick)) * tick, 2)

        return price

    def _rows(self, contract: Instrument, day: int) -> list[Row]:
        """Return the candles in which a contract traded; the first and the last of a day are among them."""
        path, price = self._path(contract.underlying, day), self._pricing(contract, day)
        base_s = self.base_seconds(contract.symbol)
        chance = random.Random(f"{contract.symbol}|{day}")  # noqa: S311  a market, not a secret
        lots = self._lots(contract, day)
        is_put, last = contract.option_type == "PE", len(path) - 1
        rows: list[Row] = []
        for number, (step, weight) in enumerate(zip(path, volume_weights(len(path)), strict=True)):
            traded = int(lots * weight * (0.5 + chance.random()) + chance.random())
            if not traded and number not in {0, last}:
                continue
            end = step.start + base_s
            first, final = price(step.open, step.start), price(step.close, end)
            best, worst = (step.low, step.high) if is_put else (step.high, step.low)
            high = max(first, final, price(best, step.start))
            low = min(first, final, price(worst, end))
            rows.append(Row(step.start, first, high, low, final, max(1, traded) * contract.lot))
        return rows

    def _path(self, underlying: str, day: int) -> list[_Step]:
        """Return the underlying's way through a day: its candles, and small steps where it has none."""
        spot = self._source.day(underlying, day)
        if spot is None:
            return []
        kept = self._paths.get((underlying, day))
        if kept is None or kept[0] is not spot:
            kept = self._paths[underlying, day] = (spot, self._find_path(underlying, day, spot))
            while len(self._paths) > _CACHED_PATHS:
                self._paths.popitem(last=False)
        return kept[1]

    def _find_path(self, underlying: str, day: int, spot: TradingDay) -> list[_Step]:
        ends_at = spot.closes_at
        if underlying not in REFERENCES:
            # Derivatives trade on after the last trade of shares, until 15:40 since August 2026.
            ends_at = max(ends_at, derivatives_close(day, moment(day, CLOSE_S)))
        chance = random.Random(f"{underlying}|{day}|path")  # noqa: S311  a market, not a secret
        rows = {row.start: row for row in spot.rows}
        # The auction's trade is known when it is reported, minutes after the time that it is dated by.
        auction = None if spot.auction_at is None else rows.pop(spot.starts[-1])
        steps: list[_Step] = []
        price = spot.rows[0].open
        for start in range(spot.opens_at, ends_at, spot.base_s):
            row = rows.get(start)
            if row is not None:
                steps.append(_Step(start, row.open, row.high, row.low, row.close))
            else:
                close = price * (1 + chance.gauss(0.0, 0.00008))
                if auction is not None and spot.auction_at in range(start, start + spot.base_s):
                    close = auction.close
                steps.append(_Step(start, price, max(price, close), min(price, close), close))
            price = steps[-1].close
        return steps

    def _origin(self, symbol: str) -> str:
        """Return the symbol of the series in the source that a symbol is made of, often itself."""
        if symbol in self._known:
            return symbol
        return self.instruments[symbol].underlying


def _twin_day(spot: TradingDay) -> TradingDay:
    """Return the day of the same share at BSE: NSE's prices, and a twelfth of its volume."""

    def smaller(row: Row) -> Row:
        return row._replace(volume=row.volume // 12)

    own = spot.partial
    partial = None if own is None else lambda number, until: smaller(own(number, until))
    return TradingDay.of([smaller(row) for row in spot.rows], spot.base_s, partial, spot.auction_at)


def _family(contract: Instrument) -> Family:
    return FAMILIES[contract.segment.exchange, contract.name]
