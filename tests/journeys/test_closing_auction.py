"""The close of a day with a closing auction, on `hullwatch serve` at the simulator's time."""

from datetime import UTC, datetime, timedelta

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import Rule
from hullwatch.simulator.market.calendar import day_of
from journeys.browser import Browser
from journeys.environment import until
from journeys.market.oracle import true_signals
from journeys.served import Served

STARTS_AT = datetime.fromisoformat("2026-11-25T15:06:00+05:30")
CLOSES_AT = datetime.fromisoformat("2026-11-25T15:30:00+05:30")
AUCTION, CONTINUOUS = "NSE:SBIN-EQ", "NSE:RAYMOND-EQ"
RULES = tuple(map(Rule, ("cross", "turn")))
PERIOD = 2
"""Short, so that nearly every candle gives a signal."""
STEPS = (2, 5, 8, 12, 30)
"""Seconds after a close to which the time is moved: a first reading, a second one, and later cycles."""


def final_candles(served: Served, symbol: str) -> list[Candle]:
    """Return the candles of two days as the simulator has them in the end."""
    market, last = served.simulator.broker.market, day_of(CLOSES_AT.timestamp())
    days = market.source.days(symbol, last - 5, last)[-2:]
    rows = [row for day in days for row in market.rows_at(symbol, day, 300, CLOSES_AT.timestamp() + 3600)]
    return [Candle(datetime.fromtimestamp(row.start, UTC), *row[1:]) for row in rows]


def expected(served: Served, symbol: str) -> set[tuple[datetime, str, float]]:
    """Return the signals of the candles that closed since the start of the journey."""
    candles = final_candles(served, symbol)
    found = [one for rule in RULES for one in true_signals(candles, rule, PERIOD)]
    since = STARTS_AT - timedelta(minutes=5)
    return {(one.opened_at, one.direction, one.close) for one in found if one.opened_at > since}


async def stored(person: Browser, symbol: str) -> set[tuple[datetime, str, float]]:
    """Return the signals of a symbol that were not withdrawn."""
    return {
        (datetime.fromisoformat(one["candleOpenedAt"]), one["direction"], one["close"])
        for one in await person.signals()
        if one["symbol"] == symbol and one["withdrawnAt"] is None
    }


async def test_a_day_with_a_closing_auction(start_served) -> None:
    """The stock in the auction misses no candle that it traded in; the last close is the auction's."""
    async with start_served(starts_at=STARTS_AT) as served:
        asha = await served.user("Asha", "FY00001", AUCTION, CONTINUOUS)
        for symbol in asha.symbols:
            for rule in RULES:
                await asha.add_watch(symbol, rule=rule, period=PERIOD)
        await asha.call("POST", "/api/monitoring/start")
        close = STARTS_AT + timedelta(minutes=4)
        while close <= CLOSES_AT:
            for seconds in STEPS:
                await served.advance_to(close + timedelta(seconds=seconds))
            close += timedelta(minutes=5)
        for minutes in (2, 5, 6, 15, 16):  # readings after the close, when the auction has been reported
            for seconds in STEPS:
                await served.advance_to(CLOSES_AT + timedelta(minutes=minutes, seconds=seconds))

        for symbol in asha.symbols:

            async def is_complete(symbol: str = symbol) -> bool:
                return await stored(asha, symbol) == expected(served, symbol)

            assert expected(served, symbol)
            await until(is_complete, f"the signals of {symbol}")
        last = final_candles(served, AUCTION)[-1]
        assert last.opened_at == datetime(2026, 11, 25, 9, 55, tzinfo=UTC)
        assert last.open == last.high == last.low == last.close
        assert (await asha.state())["status"] == "market_closed"
