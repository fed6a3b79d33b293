"""The closing auction of NSE, played since 3 August 2026."""

from datetime import date, datetime

import pytest

from hullwatch.domain.market.calendar import IST, nse_calendar
from hullwatch.simulator.market.auction import BEGINS_S, ENDS_S
from hullwatch.simulator.market.calendar import from_date, moment
from hullwatch.simulator.market.synthetic import SyntheticMarket

DAY = "2026-11-25"
SBIN, RAYMOND, NIFTY = "NSE:SBIN-EQ", "NSE:RAYMOND-EQ", "NSE:NIFTY50-INDEX"


def epoch(clock: str, day: str = DAY) -> int:
    """Return a time of a day."""
    return int(datetime.fromisoformat(f"{day}T{clock}+05:30").timestamp())


async def advance_to(simulator, clock):
    """Move the simulated time forward."""
    simulator.time.value += epoch(clock) - simulator.server.broker.clock.epoch()


async def test_stocks_with_derivatives_stop_at_a_quarter_past_three(simulator):
    """The quote stands still; one trade follows, reported after 15:30 and dated before it."""
    token = await simulator.person(lifetimeSeconds=10**6)
    quotes = {}
    for clock in ("15:14:59", "15:15:30", "15:30:59", "15:34:00"):
        await advance_to(simulator, clock)
        quotes[clock] = await simulator.quote(token)
        rows = await simulator.candles(token, DAY, "1")
        assert len(rows) == (361 if clock == "15:34:00" else 360)
    five = await simulator.candles(token, DAY)

    assert quotes["15:15:30"] == quotes["15:30:59"]
    assert quotes["15:34:00"]["volume"] > quotes["15:30:59"]["volume"]
    assert rows[-1][1] == rows[-1][2] == rows[-1][3] == rows[-1][4] == quotes["15:34:00"]["lp"]
    assert epoch("15:28:00") <= rows[-1][0] < epoch("15:30:00")
    assert [row[0] for row in five[-2:]] == [epoch("15:10:00"), epoch("15:25:00")]
    assert five[-1][1:] == rows[-1][1:]


async def test_the_day_closes_at_the_price_of_the_auction(simulator):
    """Of an index as well; its value has no volume."""
    token = await simulator.person(lifetimeSeconds=10**6)
    await advance_to(simulator, "18:00:00")
    for symbol in (SBIN, NIFTY):
        [day] = await simulator.candles(token, DAY, "1D", symbol=symbol)
        minutes = await simulator.candles(token, DAY, "1", symbol=symbol)

        assert day[4] == minutes[-1][4] == (await simulator.quote(token, symbol))["lp"]
        assert len(minutes) == 361


@pytest.mark.parametrize(("symbol", "day"), [(RAYMOND, DAY), (SBIN, "2026-07-31")])
async def test_others_trade_until_half_past_three(simulator, symbol, day):
    """Stocks without derivatives do, and every stock before August 2026."""
    token = await simulator.person(lifetimeSeconds=10**6)
    await advance_to(simulator, "18:00:00")

    rows = await simulator.candles(token, day, "1", symbol=symbol)

    assert (len(rows), rows[-1][0]) == (375, epoch("15:29:00", day))


@pytest.mark.parametrize(("clock", "auction"), [("15:14", "CLOSED"), ("15:15", "OPEN"), ("15:35", "CLOSED")])
async def test_market_status_names_the_auction(simulator, clock, auction):
    """The normal market stays open until 15:30 for stocks without derivatives."""
    token = await simulator.person(lifetimeSeconds=10**6)
    await advance_to(simulator, f"{clock}:00")

    _, answer = await simulator.call("/data/marketStatus", token)
    rows = {
        (row["exchange"], row["segment"], row["market_type"]): row["status"] for row in answer["marketStatus"]
    }

    assert rows[10, 10, "AUCTION"] == auction
    assert rows[10, 10, "NORMAL"] == ("OPEN" if clock < "15:30" else "CLOSED")


def test_the_hours_are_those_of_hullwatchs_calendar():
    """The two calendars are written independently."""
    (session,) = nse_calendar().sessions_on(date.fromisoformat(DAY))
    assert session.auction is not None
    day = from_date(date.fromisoformat(DAY))

    hours = [datetime.fromtimestamp(moment(day, second), IST) for second in (BEGINS_S, ENDS_S)]

    assert hours == [session.auction.begins_at, session.auction.ends_at]


def test_the_trade_is_reported_in_time():
    """Between 15:31 and 15:34 on each of forty days, at changing seconds."""
    market = SyntheticMarket(seed=1)
    last = from_date(date.fromisoformat(DAY))
    days = market.days(SBIN, last - 58, last)
    reported = [market.day(SBIN, day).auction_at - moment(day, 0) for day in days]

    assert len(set(reported)) > 20
    assert 15 * 3600 + 31 * 60 <= min(reported) <= max(reported) < 15 * 3600 + 34 * 60
