"""A late answer about an old session does not affect a new login."""

import pytest

from journeys.browser import Browser
from journeys.environment import Environment, until

ONE_SLOW_CALL = {"count": 1, "latencyMs": 2000}


@pytest.fixture
async def asha(environment: Environment) -> Browser:
    """Return a monitored user whose session Fyers has just revoked."""
    (browser,) = await environment.add_users(1, "NSE:SBIN-EQ")
    await environment.step(5, [browser])
    await environment.broker.revoke(browser.fyers_id)
    await environment.broker.reset_calls()
    return browser


async def test_a_slow_first_refusal(environment: Environment, asha: Browser) -> None:
    """A refusal of the old token that arrives after the new login starts no verification."""
    await environment.broker.start_fault(
        "latency", path="/data/quotes", fyersId=asha.fyers_id, **ONE_SLOW_CALL
    )
    await environment.advance(5)
    await until(lambda: _was_fault_applied(environment), "the slow call is under way")

    await asha.connect()
    assert await _refusals(environment, asha) == 0  # the refusal is still on its way
    tab = await asha.open_tab()
    await until(lambda: _refusals(environment, asha), "the refusal arrives")

    await assert_monitoring_continues(environment, asha)
    assert await _refusals(environment, asha) == 1
    assert tab.data("connection") == [] or {one["state"] for one in tab.data("connection")} == {"connected"}


async def test_a_slow_verification_call(environment: Environment, asha: Browser) -> None:
    """A verification of the old session that ends after the new login does not disconnect the new session."""
    await environment.broker.start_fault(
        "latency", path="/api/v3/profile", fyersId=asha.fyers_id, **ONE_SLOW_CALL
    )
    await environment.advance(5)
    await until(lambda: _refusals(environment, asha), "the first refusal")
    await until(lambda: _was_fault_applied(environment), "the verification call is under way")

    await asha.connect()
    assert await _refusals(environment, asha) == 1
    await until(lambda: _refusals_reach(environment, asha, 2), "the second refusal arrives")

    await assert_monitoring_continues(environment, asha)
    assert await _refusals(environment, asha) == 2


async def _was_fault_applied(environment: Environment) -> bool:
    """Whether the one-time fault has affected a call."""
    return not [
        fault for fault in (await environment.broker.control("GET", "/faults"))["faults"] if fault["left"]
    ]


async def _refusals(environment: Environment, person: Browser) -> int:
    return int((await environment.broker.calls(person.fyers_id))["byStatus"].get("401", 0))


async def _refusals_reach(environment: Environment, person: Browser, count: int) -> bool:
    return await _refusals(environment, person) >= count


async def assert_monitoring_continues(environment: Environment, person: Browser) -> None:
    """Check that the new session is used, verified and was never disconnected."""
    await until(lambda: _is_watching(person), "monitoring continues")
    for _ in range(3):
        await environment.advance(5)
        await until(lambda: _is_watching(person), "monitoring continues")
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
