"""Ten accounts, three of them in outage of their own: the other seven notice nothing."""

from datetime import timedelta

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution
from journeys.environment import Environment, until

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ")
STEPS = 40


async def test_failing_accounts_do_not_affect_others(open_env) -> None:
    """One account hangs, one gets garbage, one is limited; seven complete every cycle at its moment and judge every candle."""
    async with open_env(fyers_timeout_seconds=120) as environment:
        people = await environment.add_users(10, *SYMBOLS)
        hanging, garbled, limited, *well = people
        tabs = [await person.open_tab() for person in well]
        await environment.broker.fault("hang", fyersId=hanging.fyers_id)
        await environment.broker.fault("malformed_json", fyersId=garbled.fyers_id)
        await environment.broker.fault("rate_limit", fyersId=limited.fyers_id)
        since, before = environment.clock.now(), [await person.state() for person in well]

        for _ in range(STEPS):
            await environment.step(5, well)

        closes = closes_between(
            since, environment.clock.now() - timedelta(seconds=1), Resolution.parse("5"), nse_calendar()
        )
        for person, tab, state in zip(well, tabs, before, strict=True):
            after = await person.state()
            assert (after["cycles"], after["missedCycles"]) == (state["cycles"] + STEPS, 0)
            assert (after["status"], (await person.connection())["verified"]) == ("watching", True)
            await until(lambda tab=tab: _heard(tab, closes * len(SYMBOLS)), f"{person.name}'s candles")
            assert len(tab.data("candle")) == closes * len(SYMBOLS) > 0
        await assert_status_of_failing_accounts(environment, hanging, garbled, limited)


async def _heard(tab, count: int) -> bool:
    return len(tab.data("candle")) >= count


async def assert_status_of_failing_accounts(environment: Environment, hanging, garbled, limited) -> None:
    """The three are told what is wrong, and none of them is logged out."""
    assert (await garbled.state())["status"] == "fyers_unavailable"
    assert (await limited.state())["status"] == "rate_limited"
    for person in (hanging, garbled, limited):
        assert (await person.connection())["state"] == "connected"
        assert await person.notices() == []
    # It rested a minute, then two: three tries in all, each of at most one call a symbol.
    assert (await environment.broker.calls(limited.fyers_id))["byStatus"]["429"] <= 3 * len(SYMBOLS)
