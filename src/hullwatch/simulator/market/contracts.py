"""Futures and options: which exist on a day, their symbols, tokens and lots.

A contract is made from its symbol when it is asked for, so that thousands of them need no memory. Rules of the
exchanges that are not published for the future are simplified: lots and strike steps stay the same at all times, and
days of holidays that are not announced yet are those with a fixed date.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from hullwatch.simulator.market.calendar import (
    CLOSE_S,
    derivatives_close,
    from_date,
    is_trading_day,
    moment,
    to_date,
)
from hullwatch.simulator.market.instruments import (
    BSE_DERIVATIVES,
    MCX_COMMODITY,
    NSE_COMMODITY,
    NSE_CURRENCY,
    NSE_DERIVATIVES,
    Character,
    Instrument,
    Kind,
    Segment,
    instrument_named,
    listed_shares,
)

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKLY_MONTHS = "123456789OND"
_CONTRACT = re.compile(
    r"(?P<exchange>NSE|BSE|MCX):(?P<root>[A-Z&-]+)(?P<year>\d\d)"
    r"(?:(?P<month>[A-Z]{3})|(?P<week>[1-9OND])(?P<day>\d\d))(?:FUT|(?P<strike>\d+(?:\.\d+)?)(?P<type>CE|PE))"
)
_WEEKLY_DAYS_AHEAD = 35
_TUESDAY, _THURSDAY = 1, 3
_NEW_WEEKDAYS_FROM = from_date(date(2025, 9, 1))
"""From here on derivatives of NSE expire on Tuesdays and those of BSE on Thursdays; before, it was the reverse."""
# Weekday closures with the same date in every year; the others of later years are announced in the year before.
_FIXED_HOLIDAYS = {(1, 26), (5, 1), (8, 15), (10, 2), (12, 25)}


class Expiry(NamedTuple):
    """A day on which contracts expire, and whether it is the last of its month (written `M` by Fyers, else `W`)."""

    day: int
    is_monthly: bool


@dataclass(frozen=True, slots=True)
class Family:
    """The contracts of one underlying.

    `step` and `far_step` are the distances of strikes, for expiries of the next three months and for later ones; 0 if
    there are no options. `fixed_day` is the day of the month on which it expires, if it has no weekday for that.
    `hours` are written as in the symbol masters; `liquidity` is in lots a day.
    """

    root: str
    underlying: str
    underlying_token: int
    segment: Segment
    lot: int
    future_tick: float
    future_kind: Kind
    option_kind: Kind = Kind.EQUITY
    step: float = 0.0
    far_step: float = 0.0
    has_weeklies: bool = False
    far_months: tuple[int, int] = (0, 0)
    fixed_day: int = 0
    relative_volatility: float = 1.0
    liquidity: int = 50_000

    def expiry_of(self, year: int, month: int) -> int:
        """Return the day on which the contracts of a month expire."""
        return _month_expiry(self.segment.exchange, self.fixed_day, year, month)

    def weekly_expiries(self, day: int) -> list[int]:
        """Return the weekly expiries of the next five weeks, those at the end of a month included."""
        monday = day - to_date(day).weekday()
        mondays = range(monday, monday + _WEEKLY_DAYS_AHEAD + 7, 7)
        moved = [_trading_day_until(begin + _weekday(self.segment.exchange, begin)) for begin in mondays]
        return [expiry for expiry in moved if day <= expiry <= day + _WEEKLY_DAYS_AHEAD]

    @property
    def month_slots(self) -> int:
        """Return for how many months in a row the numbers of expiries must differ."""
        return 64 if self.far_months[1] or self.far_months[0] else 4

    @property
    def tokens(self) -> int:
        """Return how many tokens its options need."""
        return (self.month_slots + self.has_weeklies * _WEEK_SLOTS) * _STRIKE_SLOTS * 2

    def slot_of(self, expiry: Expiry) -> int:
        """Return a number that no other expiry of the family has at the same time."""
        if not expiry.is_monthly:
            return self.month_slots + (expiry.day + 3) // 7 % _WEEK_SLOTS
        on = to_date(expiry.day)
        return (on.year * 12 + on.month) % self.month_slots


_WEEK_SLOTS, _STRIKE_SLOTS, _FUTURE_SLOTS = 8, 512, 64
_TOKENS_FROM = 35_000


def _share_family(name: str, character: Character) -> Family:
    """Return the contracts of a share: lots worth about six lakh rupees, strikes about two percent apart."""
    instrument = instrument_named(name, 0.05)
    lot = max(25, round(600_000 / character.price / 25) * 25)
    step = next(
        step for step in (1.0, 2.5, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0) if step >= character.price * 0.009
    )
    return Family(
        name, instrument.symbol, instrument.token, NSE_DERIVATIVES, lot, 0.05, Kind.STOCK_FUTURE, Kind.STOCK_OPTION,
        step, step, relative_volatility=character.volatility / 0.008, liquidity=8_000,
    )  # fmt: skip


def _families() -> dict[tuple[str, str], Family]:
    index = (Kind.INDEX_FUTURE, Kind.INDEX_OPTION)
    made = [
        Family("NIFTY", "NSE:NIFTY50-INDEX", 26000, NSE_DERIVATIVES, 65, 0.1, *index, 50.0, 500.0, True, (3, 8),
               liquidity=900_000),
        Family("BANKNIFTY", "NSE:NIFTYBANK-INDEX", 26009, NSE_DERIVATIVES, 30, 0.2, *index, 100.0, 500.0, False, (3, 0),
               relative_volatility=1.125, liquidity=300_000),
        Family("SENSEX", "BSE:SENSEX-INDEX", 1, BSE_DERIVATIVES, 20, 0.05, *index, 100.0, 500.0, True, (0, 0),
               liquidity=300_000),
        Family("CRUDEOIL", "MCX:CRUDEOIL", 294, MCX_COMMODITY, 1, 1.0, Kind.COMMODITY_FUTURE, fixed_day=19),
        Family("GOLDM", "MCX:GOLDM", 117, MCX_COMMODITY, 1, 1.0, Kind.COMMODITY_FUTURE, fixed_day=5),
        Family("CRUDEOIL", "NSE:CRUDEOIL", 294, NSE_COMMODITY, 1, 1.0, Kind.COMMODITY_FUTURE, fixed_day=17),
        Family("USDINR", "NSE:USDINR", -1, NSE_CURRENCY, 1, 0.0025, Kind.CURRENCY_FUTURE, fixed_day=-2),
        Family("EURINR", "NSE:EURINR", -1, NSE_CURRENCY, 1, 0.0025, Kind.CURRENCY_FUTURE, fixed_day=-2),
        *(_share_family(name, character) for name, character in sorted(listed_shares().items())),
    ]  # fmt: skip
    return {(one.segment.exchange, one.root): one for one in made}


StrikesOn = Callable[[Family, Expiry, int], list[float]]
FAMILIES = _families()


def _first_tokens() -> dict[tuple[str, str], tuple[int, int]]:
    """Return the first tokens of each family's futures and options; each exchange token is unique in its segment."""
    first: dict[tuple[str, str], tuple[int, int]] = {}
    for segment in {family.segment for family in FAMILIES.values()}:
        families = [(key, family) for key, family in FAMILIES.items() if family.segment == segment]
        options_from = _TOKENS_FROM + len(families) * _FUTURE_SLOTS
        for number, (key, family) in enumerate(families):
            first[key] = (_TOKENS_FROM + number * _FUTURE_SLOTS, options_from)
            options_from += family.tokens if family.step else 0
    return first


_FIRST_TOKENS = _first_tokens()
BY_UNDERLYING = {family.underlying: family for family in FAMILIES.values()}
# Daily prices that the contracts without a listed underlying are made of.
CURRENCY_HOURS = (9 * 3600, 17 * 3600)
COMMODITY_HOURS = (9 * 3600, 23 * 3600 + 30 * 60)
REFERENCES = {
    "MCX:CRUDEOIL": Character(5_400.0, 0.018, 0, 0.1, COMMODITY_HOURS),
    "MCX:GOLDM": Character(124_000.0, 0.009, 0, -0.2, COMMODITY_HOURS),
    "NSE:CRUDEOIL": Character(5_400.0, 0.018, 0, 0.1, COMMODITY_HOURS),
    "NSE:USDINR": Character(89.5, 0.0025, 0, -0.3, CURRENCY_HOURS),
    "NSE:EURINR": Character(103.5, 0.004, 0, -0.1, CURRENCY_HOURS),
}


def _trading_day_until(day: int) -> int:
    """Return the last trading day not after a day."""
    while not is_trading_day(day) or _is_fixed_holiday(day):
        day -= 1
    return day


def _is_fixed_holiday(day: int) -> bool:
    on = to_date(day)
    return on.year > 2026 and (on.month, on.day) in _FIXED_HOLIDAYS


def _weekday(exchange: str, day: int) -> int:
    is_nse, is_new = exchange == "NSE", day >= _NEW_WEEKDAYS_FROM
    return _TUESDAY if is_nse == is_new else _THURSDAY


@lru_cache(maxsize=2_000)
def _month_expiry(exchange: str, fixed_day: int, year: int, month: int) -> int:
    """Return the expiry of a month: its last Tuesday or Thursday, a day of the month, or days before its end (< 0)."""
    last = from_date(date(year, month, monthrange(year, month)[1]))
    if fixed_day > 0:
        return _trading_day_until(from_date(date(year, month, fixed_day)))
    if fixed_day < 0:
        day = _trading_day_until(last)
        for _ in range(-fixed_day):
            day = _trading_day_until(day - 1)
        return day
    return _trading_day_until(last - (to_date(last).weekday() - _weekday(exchange, last)) % 7)


@lru_cache(maxsize=4_000)
def _expiries(root: str, exchange: str, day: int) -> tuple[Expiry, ...]:
    family = FAMILIES[exchange, root]
    today = to_date(day)
    months = [
        (today.year + (today.month - 1 + ahead) // 12, (today.month - 1 + ahead) % 12 + 1)
        for ahead in range(72 if family.far_months[1] else 18)
    ]
    upcoming = [(year, month) for year, month in months if family.expiry_of(year, month) >= day]
    chosen, later = upcoming[:3], upcoming[3:]
    quarters, halves = family.far_months
    chosen += [month for month in later if month[1] % 3 == 0][:quarters]
    chosen += [month for month in later if month[1] % 6 == 0 and month not in chosen][:halves]
    monthly = [family.expiry_of(*month) for month in chosen]
    found = {expiry: Expiry(expiry, is_monthly=True) for expiry in monthly}
    if family.has_weeklies:
        for expiry in family.weekly_expiries(day):
            found.setdefault(expiry, Expiry(expiry, is_monthly=False))
    return tuple(found[expiry] for expiry in sorted(found))


def expiries(family: Family, day: int) -> tuple[Expiry, ...]:
    """Return the expiries of the options that are listed on a day, nearest first.

    NIFTY has five weeks, three months, three further quarters and eight further half-years (Fyers API v3 docs,
    "Option Chain", sample of 24 March 2026).
    """
    return _expiries(family.root, family.segment.exchange, day)


def future_expiries(family: Family, day: int) -> tuple[Expiry, ...]:
    """Return the expiries of the futures that are listed on a day: three months."""
    return tuple(expiry for expiry in expiries(family, day) if expiry.is_monthly)[:3]


def expires_at(contract: Instrument, day: int) -> int:
    """Return the moment of the expiry as Fyers writes it on a day: 15:30, and since August 2026 15:40 (masters)."""
    assert contract.expiry is not None  # noqa: S101  only contracts get here
    return expiry_moment(FAMILIES[contract.segment.exchange, contract.name], contract.expiry, day)


def expiry_moment(family: Family, expiry: int, day: int) -> int:
    """Return the moment of an expiry as Fyers writes it on a day."""
    hours = REFERENCES[family.underlying].hours if family.underlying in REFERENCES else None
    if hours is not None:
        return moment(expiry, hours[1])
    return moment(expiry, derivatives_close(day, CLOSE_S + moment(day, 0)) - moment(day, 0))


def number_text(value: float) -> str:
    """Return a strike without zeros at its end: `23050`, `82.5`."""
    return f"{value:f}".rstrip("0").rstrip(".")


def future(family: Family, expiry: Expiry) -> Instrument:
    """Return a future."""
    on = to_date(expiry.day)
    token = _first(family)[0] + family.slot_of(expiry)
    return Instrument(
        f"{family.segment.exchange}:{family.root}{on:%y}{_MONTHS[on.month - 1]}FUT", family.root,
        f"{family.root} {on:%d %b %y} FUT", token, "", family.future_tick, family.segment, family.future_kind,
        family.lot, expiry=expiry.day, underlying=family.underlying, underlying_token=family.underlying_token,
    )  # fmt: skip


def option(family: Family, expiry: Expiry, strike: float, option_type: str) -> Instrument:
    """Return an option. The last expiry of a month is written with the month's letters, others with their date."""
    on, text = to_date(expiry.day), number_text(strike)
    middle = _MONTHS[on.month - 1] if expiry.is_monthly else f"{_WEEKLY_MONTHS[on.month - 1]}{on:%d}"
    slot = family.slot_of(expiry) * _STRIKE_SLOTS + round(strike / family.step) % _STRIKE_SLOTS
    token = _first(family)[1] + slot * 2 + (option_type == "PE")
    return Instrument(
        f"{family.segment.exchange}:{family.root}{on:%y}{middle}{text}{option_type}", family.root,
        f"{family.root} {on:%d %b %y} {text} {option_type}", token, "", 0.05, family.segment, family.option_kind,
        family.lot, expiry=expiry.day, strike=strike, option_type=option_type, underlying=family.underlying,
        underlying_token=family.underlying_token,
    )  # fmt: skip


def _first(family: Family) -> tuple[int, int]:
    return _FIRST_TOKENS[family.segment.exchange, family.root]


@lru_cache(maxsize=20_000)
def contract_of(symbol: str) -> Instrument | None:
    """Return the contract of a symbol whatever the day, `None` if there never is such a contract."""
    match = _CONTRACT.fullmatch(symbol)
    family = FAMILIES.get((match["exchange"], match["root"])) if match else None
    if match is None or family is None:
        return None
    expiry = _expiry_in(match, family)
    if expiry is None:
        return None
    if match["strike"] is None:
        return future(family, expiry) if expiry.is_monthly else None
    strike = float(match["strike"])
    if not family.step or not strike or strike % family.step:
        return None
    made = option(family, expiry, strike, match["type"])
    return made if made.symbol == symbol else None


def _expiry_in(match: re.Match[str], family: Family) -> Expiry | None:
    year = 2000 + int(match["year"])
    if match["month"]:
        if match["month"] not in _MONTHS:
            return None
        return Expiry(family.expiry_of(year, _MONTHS.index(match["month"]) + 1), is_monthly=True)
    month = _WEEKLY_MONTHS.index(match["week"]) + 1
    if not family.has_weeklies or not 1 <= int(match["day"]) <= monthrange(year, month)[1]:
        return None
    day = from_date(date(year, month, int(match["day"])))
    is_weekly = day in family.weekly_expiries(day) and day != family.expiry_of(year, month)
    return Expiry(day, is_monthly=False) if is_weekly else None


def strikes_between(family: Family, expiry: Expiry, day: int, low: float, high: float) -> list[float]:
    """Return the strikes that are listed on a day between two prices, lowest first.

    Quarters and half-years after the next three months have fewer; the others are added when they come nearer.
    """
    if not family.step:
        return []
    is_near = expiry.day <= future_expiries(family, day)[-1].day
    step = family.step if is_near else family.far_step
    return [round(number * step, 2) for number in range(max(1, int(low // step)), int(high // step) + 2)]


def contract_of_token(segment: Segment, token: int, day: int, strikes: StrikesOn) -> Instrument | None:
    """Return the contract that has a token on a day, of those with the strikes that a function lists."""
    for family in FAMILIES.values():
        if family.segment != segment:
            continue
        futures_from, options_from = _first(family)
        for expiry in future_expiries(family, day):
            if token == futures_from + family.slot_of(expiry):
                return future(family, expiry)
        if not (family.step and options_from <= token < options_from + family.tokens):
            continue
        slot, at = divmod((token - options_from) // 2, _STRIKE_SLOTS)
        for expiry in expiries(family, day):
            listed = strikes(family, expiry, day) if family.slot_of(expiry) == slot else []
            for strike in listed:
                if round(strike / family.step) % _STRIKE_SLOTS == at:
                    return option(family, expiry, strike, "PE" if (token - options_from) % 2 else "CE")
    return None


def nearest(strikes: list[float], price: float) -> int:
    """Return the position of the strike nearest to a price."""
    at = bisect_left(strikes, price)
    around = [index for index in (at - 1, at) if 0 <= index < len(strikes)]
    return min(around, key=lambda index: abs(strikes[index] - price))
