"""Ten accounts, three of them in trouble of their own: the other seven notice nothing."""

from datetime import timedelta

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution
from journeys.town import Town, until

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ")
STEPS = 40


async def test_seven_complete_while_three_are_in_trouble(open_here) -> None:
    """One account hangs, one gets garbage, one is limited; seven complete every cycle at its moment and judge every candle."""
    async with open_here(fyers_timeout_seconds=120) as town:
        people = await town.settle_in(10, *SYMBOLS)
        hanging, garbled, limited, *well = people
        tabs = [await person.open_tab() for person in well]
        await town.broker.fault("hang", fyersId=hanging.fyers_id)
        await town.broker.fault("malformed_json", fyersId=garbled.fyers_id)
        await town.broker.fault("rate_limit", fyersId=limited.fyers_id)
        since, before = town.clock.now(), [await person.state() for person in well]

        for _ in range(STEPS):
            await town.step(5, well)

        closes = closes_between(
            since, town.clock.now() - timedelta(seconds=1), Resolution.parse("5"), nse_calendar()
        )
        for person, tab, state in zip(well, tabs, before, strict=True):
            after = await person.state()
            assert (after["cycles"], after["missedCycles"]) == (state["cycles"] + STEPS, 0)
            assert (after["status"], (await person.connection())["verified"]) == ("watching", True)
            await until(lambda tab=tab: _heard(tab, closes * len(SYMBOLS)), f"{person.name}'s candles")
            assert len(tab.data("candle")) == closes * len(SYMBOLS) > 0
        await _says_what_is_true(town, hanging, garbled, limited)


async def _heard(tab, count: int) -> bool:
    return len(tab.data("candle")) >= count


async def _says_what_is_true(town: Town, hanging, garbled, limited) -> None:
    """The three are told what is wrong, and none of them is logged out."""
    assert (await garbled.state())["status"] == "fyers_unavailable"
    assert (await limited.state())["status"] == "rate_limited"
    for person in (hanging, garbled, limited):
        assert (await person.connection())["state"] == "connected"
        assert await person.notices() == []
    # It rested a minute, then two: three tries in all, each of at most one call a symbol.
    assert (await town.broker.calls(limited.fyers_id))["byStatus"]["429"] <= 3 * len(SYMBOLS)
