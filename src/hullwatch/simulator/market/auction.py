"""The closing auction of NSE, since 3 August 2026: stocks with derivatives stop at 15:15 and get one more price.

Known (SEBI circular HO/47/11/11(3)2025-MRD-POD2/I/2765/2026): no continuous trading from 15:15, an auction until 15:35
whose order entry ends at a random second from 15:28 to 15:30, post-close trading from 15:50 to 16:00. Stocks without
derivatives trade until 15:30 as before.

Assumed: the trade is dated by the end of order entry, as in files of another broker, and reported at a random second
from 15:31 to 15:34. An index has no value between 15:15 and the auction, and then the one of its stocks' prices.
Shares that change hands after 15:15 are a third of those that did before the auction was introduced.
"""

import random
from collections.abc import Sequence

from hullwatch.simulator.market.calendar import LATE_DERIVATIVES_FROM, moment, to_date
from hullwatch.simulator.market.candles import Row, TradingDay

BEGINS_S = 15 * 3600 + 15 * 60
"""15:15, when continuous trading stops, in seconds of the day."""
ENDS_S = 15 * 3600 + 35 * 60
_ORDERS_END_S = 15 * 3600 + 28 * 60
_REPORTED_S = 15 * 3600 + 31 * 60

WITHOUT_DERIVATIVES = frozenset({"NSE:RAYMOND-EQ"})
"""The listed stocks without an auction."""


def is_auction_day(day: int) -> bool:
    """Return whether a trading day has a closing auction."""
    return to_date(day) >= LATE_DERIVATIVES_FROM


def has_auction(symbol: str, day: int) -> bool:
    """Return whether an instrument of NSE's cash market has a closing auction on a day."""
    is_cash = symbol.startswith("NSE:") and symbol.endswith(("-EQ", "-INDEX"))
    return is_auction_day(day) and is_cash and symbol not in WITHOUT_DERIVATIVES


def auction_day(rows: Sequence[Row], base_s: int, symbol: str, day: int) -> TradingDay:
    """Return a day with one trade at its closing price in place of everything from 15:15 on."""
    chance = random.Random(f"{symbol}|{day}|auction")  # noqa: S311  a market, not a secret
    begins_at = moment(day, BEGINS_S)
    traded = [row for row in rows if row.start < begins_at]
    late = rows[len(traded) :]
    dated = moment(day, _ORDERS_END_S + chance.randrange(120))
    price = rows[-1].close
    start = dated - (dated - rows[0].start) % base_s
    trade = Row(start, price, price, price, price, sum(row.volume for row in late) // 3)
    return TradingDay.of(
        [*traded, trade], base_s, auction_at=moment(day, _REPORTED_S + chance.randrange(180))
    )
