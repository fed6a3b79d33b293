"""What Fyers says about an old session, heard after its user has logged in again, is void."""

import pytest

from journeys.browser import Browser
from journeys.town import Town, until

SLOWLY = {"count": 1, "latencyMs": 2000}


@pytest.fixture
async def asha(town: Town) -> Browser:
    """Return a user who is watched and whose session the broker has just revoked."""
    (browser,) = await town.settle_in(1, "NSE:SBIN-EQ")
    await town.step(5, [browser])
    await town.broker.revoke(browser.fyers_id)
    await town.broker.forget_calls()
    return browser


async def test_a_slow_first_refusal(town: Town, asha: Browser) -> None:
    """The refusal of a call with the old token, sent before the new login and answered after it, is not even a doubt."""
    await town.broker.fault("latency", path="/data/quotes", fyersId=asha.fyers_id, **SLOWLY)
    await town.advance(5)
    await until(lambda: _is_struck(town), "the slow call is under way")

    await asha.connect()
    assert await _refusals(town, asha) == 0  # the refusal is still on its way
    tab = await asha.open_tab()
    await until(lambda: _refusals(town, asha), "the refusal arrives")

    await _goes_on(town, asha)
    assert await _refusals(town, asha) == 1
    assert tab.data("connection") == [] or {one["state"] for one in tab.data("connection")} == {"connected"}


async def test_a_slow_second_look(town: Town, asha: Browser) -> None:
    """A second look that was begun for the old session ends nothing of the new one."""
    await town.broker.fault("latency", path="/api/v3/profile", fyersId=asha.fyers_id, **SLOWLY)
    await town.advance(5)
    await until(lambda: _refusals(town, asha), "the first refusal")
    await until(lambda: _is_struck(town), "the second look is under way")

    await asha.connect()
    assert await _refusals(town, asha) == 1
    await until(lambda: _refusals_reach(town, asha, 2), "the second refusal arrives")

    await _goes_on(town, asha)
    assert await _refusals(town, asha) == 2


async def _is_struck(town: Town) -> bool:
    """Whether the one-time fault has struck."""
    return not [fault for fault in (await town.broker.order("GET", "/faults"))["faults"] if fault["left"]]


async def _refusals(town: Town, person: Browser) -> int:
    return int((await town.broker.calls(person.fyers_id))["byStatus"].get("401", 0))


async def _refusals_reach(town: Town, person: Browser, count: int) -> bool:
    return await _refusals(town, person) >= count


async def _goes_on(town: Town, person: Browser) -> None:
    """Check that the new session is used, confirmed and was never ended."""
    await until(lambda: _is_watching(person), "watching goes on")
    for _ in range(3):
        await town.advance(5)
        await until(lambda: _is_watching(person), "watching goes on")
    connection = await person.connection()
    assert (connection["state"], connection["verified"], connection["incidentId"]) == (
        "connected",
        True,
        None,
    )
    assert await person.notices() == []
    events = (await person.get("/api/admin/events?kind=connection."))["events"]
    assert [(event["kind"], event["generation"]) for event in events] == [
        ("connection.logged_in", 2),
        ("connection.logged_in", 1),
    ]
    assert (await person.quotes())["outcome"] == "ok"


async def _is_watching(person: Browser) -> bool:
    return (await person.state())["status"] == "watching"
