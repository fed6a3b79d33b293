"""Readiness before the market opens, and the first candle after it."""

from datetime import datetime
from typing import Any

from journeys.browser import Browser
from journeys.environment import Environment, until
from journeys.test_restart import assert_signals_stored, expected

EARLY_MONDAY = datetime.fromisoformat("2026-11-23T08:20:31+05:30")
SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ")
SHORT = 2
"""A period at which nearly every candle gives a signal."""


def at(text: str) -> datetime:
    """Return a time of that Monday, IST."""
    return datetime.fromisoformat(f"2026-11-23T{text}+05:30")


async def readiness_of(person: Browser) -> dict[str, Any]:
    """Return a user's readiness."""
    return await person.get("/api/monitoring/readiness")


async def checked_since(environment: Environment, admin: Browser, moment: datetime) -> dict[str, Any]:
    """Wait for a readiness check after `moment`, and return the list for admins."""

    async def found() -> dict[str, Any] | None:
        everybody = await admin.get("/api/admin/readiness")
        checked_at = everybody["checkedAt"]
        return everybody if checked_at and datetime.fromisoformat(checked_at) >= moment else None

    everybody = await environment.advance_until_done(until(found, f"the check of {moment}"))
    assert everybody is not None
    return everybody


async def wait_for_readiness(environment: Environment, person: Browser, wanted: str) -> dict[str, Any]:
    """Wait until a user's readiness has this value, and return it."""

    async def found() -> dict[str, Any] | None:
        line = await readiness_of(person)
        return line if line["result"] == wanted else None

    line = await environment.advance_until_done(until(found, f"{person.name} is {wanted}"))
    assert line is not None
    return line


async def incidents(person: Browser, kind: str) -> list[str]:
    """Return the incident ids of a user's notices of one kind, oldest first."""
    return [notice["incidentId"] for notice in reversed(await person.notices(kind))]


async def test_a_morning_from_the_first_check_to_the_first_candle(start_environment) -> None:
    """A user who is not ready is notified once and logs in. The first candle gives signals to all three."""
    async with start_environment(starts_at=EARLY_MONDAY) as environment:
        people = [
            environment.browser(name, f"FY{n}", *SYMBOLS) for n, name in enumerate(("Asha", "Ravi", "Meena"))
        ]
        asha, ravi, meena = people
        for person in people:
            await person.register()
            await environment.broker.add_account(person.fyers_id)
        for person in (asha, ravi):
            await environment.advance_until_done(person.connect())
        for person in people:
            for symbol in SYMBOLS:
                await person.add_watch(symbol, period=SHORT)
            await person.watch()
        assert (await readiness_of(meena))["reason"] == "never_connected"

        # The first readiness check.
        await environment.advance_to(at("08:30"))
        everybody = await checked_since(environment, asha, at("08:30"))
        assert (everybody["phase"], everybody["percent"], everybody["total"]) == ("before_open", 66.6, 3)
        assert everybody["accounts"][0]["email"] == meena.email
        assert everybody["accounts"][0]["doThis"] == "Log in to Fyers."
        for person in (asha, ravi):
            line = await wait_for_readiness(environment, person, "ready")
            assert line["lines"] == {"total": 6, "warm": 6, "symbols": 3, "monitored": 3}
        await until(lambda: meena.notices("not_ready"), "the notice that Meena is not ready")
        assert await incidents(meena, "not_ready") == ["ready-2026-11-23"]
        assert await environment.broker.total(meena.fyers_id) == 0

        # Meena logs in, and is ready without another check.
        tab = await meena.open_tab()
        await environment.advance_until_done(meena.connect())
        line = await wait_for_readiness(environment, meena, "ready")
        assert line["lines"] == {"total": 6, "warm": 6, "symbols": 3, "monitored": 3}
        await until(lambda: meena.notices("now_ready"), "the notice that Meena is ready")
        assert {"result": "ready", "reason": None} in [
            {name: one[name] for name in ("result", "reason")} for one in tab.data("readiness")
        ]
        assert (await asha.get("/api/admin/readiness"))["percent"] == 100

        # A check requests no history again, and validates each session once.
        await environment.broker.reset_calls()
        await environment.advance_to(at("09:00"))
        await checked_since(environment, asha, at("09:00"))
        for person in people:
            counted = await environment.broker.calls(person.fyers_id)
            assert "/data/history" not in counted["byPath"]
            assert set(counted["byStatus"]) == {"200"}
        assert await incidents(meena, "not_ready") == ["ready-2026-11-23"]
        assert await incidents(meena, "now_ready") == ["ready-2026-11-23"]

        # The market opens, and the first candle closes.
        await environment.advance_to(at("09:15:06"))
        for person in people:
            await wait_for_readiness(environment, person, "watching")
        everybody = await asha.get("/api/admin/readiness")
        assert (everybody["phase"], everybody["percent"]) == ("watching", 100)
        overview = await meena.get("/api/monitoring/overview")
        assert all(one["hma"] is not None for one in overview["lines"])
        await environment.advance_to(at("09:20:01"))
        for person in people:
            await environment.advance_until_done(
                until(lambda person=person: is_evaluated(person, at("09:20")), "the first candle")
            )
            await assert_signals_stored(person, await environment.advance_until_done(expected(person)))
        found = await meena.signals()
        assert found
        assert {signal["isLate"] for signal in found} == {False}
        assert {datetime.fromisoformat(signal["candleOpenedAt"]) for signal in found} == {at("09:15")}


async def is_evaluated(person: Browser, moment: datetime) -> bool:
    """Whether the candles of every watch have been evaluated up to a time."""
    lines = (await person.get("/api/monitoring/watches"))["watches"]
    return all(datetime.fromisoformat(line["evaluatedThrough"]) >= moment for line in lines)
