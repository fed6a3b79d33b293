"""Outages of single accounts."""

from journeys.candles import assert_each_candle_came_once
from journeys.environment import Environment

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ")
STEPS = 40


async def test_failing_accounts_do_not_affect_others(start_environment) -> None:
    """One account hangs, one gets malformed JSON, one is rate-limited. Seven miss no cycle and no candle."""
    async with start_environment(fyers_timeout_seconds=120) as environment:
        people = await environment.add_users(10, *SYMBOLS)
        hanging, garbled, limited, *well = people
        tabs = [await person.open_tab() for person in well]
        await environment.broker.start_fault("hang", fyersId=hanging.fyers_id)
        await environment.broker.start_fault("malformed_json", fyersId=garbled.fyers_id)
        await environment.broker.start_fault("rate_limit", fyersId=limited.fyers_id)
        since, before = environment.clock.now(), [await person.state() for person in well]

        for _ in range(STEPS):
            await environment.step(5, well)

        for person, state in zip(well, before, strict=True):
            after = await person.state()
            assert (after["cycles"], after["missedCycles"]) == (state["cycles"] + STEPS, 0)
            assert (after["status"], (await person.connection())["verified"]) == ("watching", True)
        for tab in tabs:
            await assert_each_candle_came_once(environment, tab, since, len(SYMBOLS))
        await assert_status_of_failing_accounts(environment, hanging, garbled, limited)


async def assert_status_of_failing_accounts(environment: Environment, hanging, garbled, limited) -> None:
    """Each failing account reports its failure and stays connected."""
    assert (await garbled.state())["status"] == "fyers_unavailable"
    assert (await limited.state())["status"] == "rate_limited"
    for person in (hanging, garbled, limited):
        assert (await person.connection())["state"] == "connected"
        assert await person.notices() == []
    # It pauses for a minute, then for two: three tries, each of at most one call per symbol.
    assert (await environment.broker.calls(limited.fyers_id))["byStatus"]["429"] <= 3 * len(SYMBOLS)
