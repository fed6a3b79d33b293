"""Renewal by refresh token against the simulator."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from journeys.browser import Browser
from journeys.candles import assert_each_candle_came_once
from journeys.environment import Environment, until
from journeys.test_restart import assert_signals_stored, expected

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ")
RENEW = "/api/v3/validate-refresh-token"
LIFETIME = timedelta(minutes=20)
BEFORE_SIX = datetime.fromisoformat("2026-11-25T05:20:00+05:30")
"""Of a trading day."""


@pytest.fixture
async def environment(start_environment) -> AsyncIterator[Environment]:
    """An environment whose server offers renewal."""
    async with start_environment(fyers_refresh=True) as opened:
        yield opened


async def connect_asha(environment: Environment, *, lifetime: timedelta | None = None) -> Browser:
    """Add Asha as admin; she consents to renewal, logs in and watches."""
    asha = environment.browser("Asha", "FY00001", *SYMBOLS)
    await asha.register()
    await environment.broker.add_account(asha.fyers_id, lifetime=lifetime)
    await asha.call("PUT", "/api/fyers/renewal", {"pin": "1234"})
    await asha.connect()
    await asha.watch("cross", "turn")
    return asha


async def offer_renewal(environment: Environment, kind: str = "offered") -> None:
    """Let the simulator accept refresh tokens."""
    await environment.broker.control("POST", "/refresh", {"isOffered": True, "kind": kind})


async def renewal_calls(environment: Environment) -> int:
    """Return the number of renewal calls that the simulator received."""
    return int((await environment.broker.calls(path=RENEW))["total"])


async def audit_events(asha: Browser, kind: str) -> list[dict[str, Any]]:
    """Return events of the audit trail, oldest first."""
    return (await asha.get(f"/api/admin/events?kind={kind}&limit=500"))["events"][::-1]


async def _has_outcome(asha: Browser) -> bool:
    """Whether a renewal has ended."""
    return (await asha.get("/api/fyers/renewal"))["lastOutcome"] not in (None, "under_way")


async def _is_session(asha: Browser, began_after: datetime) -> bool:
    connection = await asha.connection()
    began_at = connection["connectedAt"]
    return (
        connection["state"] in ("connected", "expiring")
        and connection["verified"]
        and datetime.fromisoformat(began_at) >= began_after
    )


async def test_a_session_is_renewed_before_its_expiry(environment: Environment) -> None:
    """No cycle, candle or signal is missed at the first session's expiry, and no notice is sent."""
    await offer_renewal(environment)
    asha = await connect_asha(environment, lifetime=LIFETIME)
    await environment.broker.add_account(asha.fyers_id)  # the next session lasts until 06:00 IST
    first_expiry = datetime.fromisoformat((await asha.connection())["expiresAt"])
    tab = await asha.open_tab()
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])
    since, before = environment.clock.now(), await asha.state()

    steps = 0
    while environment.clock.now() < first_expiry + timedelta(minutes=4):
        await environment.step(5, [asha])
        steps += 1

    await until(lambda: _is_session(asha, since), "the renewed session")
    after = await asha.state()
    assert after["missedCycles"] == 0
    assert (
        after["cycles"] >= before["cycles"] + steps
    )  # a new session starts a cycle at once, beside the schedule
    await assert_each_candle_came_once(environment, tab, since, len(SYMBOLS))
    await environment.advance(2)
    await assert_signals_stored(asha, await environment.advance_until_done(expected(asha)))
    assert not any(signal["isLate"] for signal in await asha.signals())
    assert await asha.notices() == []
    assert "disconnected" not in {one["state"] for one in tab.data("connection")}
    assert await renewal_calls(environment) == 1
    [_, renewed] = await audit_events(asha, "connection.logged_in")
    assert (renewed["actor"], renewed["evidence"]["kind"]) == ("hullwatch", "renewal")
    assert (await asha.get("/api/fyers/renewal"))["lastOutcome"] == "renewed"


async def test_a_session_is_renewed_after_six_before_market_open(start_environment) -> None:
    """A session renewed before 06:00 IST would expire at 06:00, so the renewal is repeated then."""
    async with start_environment(starts_at=BEFORE_SIX, fyers_refresh=True) as environment:
        await offer_renewal(environment)
        asha = await connect_asha(environment)
        six = datetime.fromisoformat((await asha.connection())["expiresAt"])
        await environment.advance_to(six - timedelta(minutes=9))
        await until(lambda: _has_outcome(asha), "the renewal before the expiry")
        assert (await asha.connection())["state"] == "expiring"
        await environment.advance_to(six)
        await until(lambda: _is_disconnected(asha), "the expiry")
        await environment.advance(5)
        await until(lambda: _is_session_until(asha, six + timedelta(days=1)), "the session of the new day")
        close = six + timedelta(hours=3, minutes=20)  # of the first candle
        await environment.advance_to(close + timedelta(seconds=1))
        await environment.advance_until_done(until(lambda: _is_evaluated(asha, close), "the first candle"))

        assert not any(signal["isLate"] for signal in await asha.signals())
        assert await asha.notices() == []
        assert await renewal_calls(environment) == 2
        outcomes = [
            (line["reason"], line["evidence"]["occasion"])
            for line in await audit_events(asha, "renewal.tried")
        ]
        assert outcomes == [("expires_no_later", "before_expiry"), ("renewed", "at_expiry")]


async def _is_disconnected(asha: Browser) -> bool:
    return (await asha.connection())["state"] == "disconnected"


async def _is_session_until(asha: Browser, expires_at: datetime) -> bool:
    connection = await asha.connection()
    return (
        connection["state"] == "connected" and datetime.fromisoformat(connection["expiresAt"]) == expires_at
    )


async def _is_evaluated(asha: Browser, close: datetime) -> bool:
    watches = (await asha.get("/api/monitoring/watches"))["watches"]
    return all(datetime.fromisoformat(line["evaluatedThrough"]) >= close for line in watches)


async def test_a_refused_renewal_is_an_ordinary_expiry(
    environment: Environment,
) -> None:
    """Monitoring continues until the expiry. The one notice contains the refusal of the renewal."""
    asha = await connect_asha(environment, lifetime=LIFETIME)
    expires_at = datetime.fromisoformat((await asha.connection())["expiresAt"])
    await environment.advance_to(expires_at - timedelta(seconds=30))
    await until(lambda: _has_outcome(asha), "the renewal")
    assert (await asha.connection())["state"] == "expiring"
    await environment.advance(31)
    await until(lambda: asha.notices("session_disconnected"), "the notice")
    await environment.broker.reset_calls()
    await environment.advance(3600)

    connection = await asha.connection()
    assert (connection["state"], connection["reason"]) == ("disconnected", "expired")
    assert datetime.fromisoformat(connection["lastDisconnectTime"]) == expires_at
    [notice] = await asha.notices()
    assert "Fyers refused to renew it" in notice["text"]
    [line] = await audit_events(asha, "connection.reached_expiry")
    assert (line["reason"], line["evidence"]["renewal"]) == ("expired", "refused_by_fyers")
    assert len(await audit_events(asha, "renewal.tried")) == 1
    assert await environment.broker.total() == 0
    assert (await asha.get("/api/fyers/renewal"))["lastOutcome"] == "refused_by_fyers"


async def test_a_revoked_session_is_renewed_once(
    environment: Environment,
) -> None:
    """No candle is missed and no notice is sent. A second revocation disconnects the user."""
    await offer_renewal(environment)
    asha = await connect_asha(environment)
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])
    began = environment.clock.now()

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await environment.advance_until_done(until(lambda: _is_session(asha, began), "the renewed session"))
    await environment.advance_to(began.replace(minute=40, second=1))  # 10:10:01 IST
    await environment.advance_until_done(
        until(lambda: _is_evaluated(asha, began.replace(minute=40, second=0)), "the next candle")
    )
    await assert_signals_stored(asha, await environment.advance_until_done(expected(asha)))
    assert not any(signal["isLate"] for signal in await asha.signals())
    assert await asha.notices() == []
    assert [line["kind"] for line in await audit_events(asha, "connection.")] == [
        "connection.logged_in",
        "connection.refusal_confirmed",
        "connection.logged_in",
    ]

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await environment.advance_until_done(
        until(lambda: asha.notices("session_disconnected"), "the disconnect of the renewed session")
    )
    await environment.advance(600)
    assert len(await asha.notices()) == 1
    assert await renewal_calls(environment) == 1


@pytest.mark.parametrize(
    ("kind", "outcome", "words"),
    [
        (None, "refused_by_fyers", "Fyers refused to renew it"),
        ("dead_tokens", "not_accepted", "did not accept calls with the renewed session"),
    ],
)
async def test_a_failed_renewal_is_reported_once(
    environment: Environment, kind: str | None, outcome: str, words: str
) -> None:
    """One renewal call, one notice with the outcome, and no more calls for this account."""
    if kind is not None:
        await offer_renewal(environment, kind)
    asha = await connect_asha(environment)
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await environment.advance_until_done(until(lambda: asha.notices("session_disconnected"), "the notice"))
    assert await renewal_calls(environment) == 1
    await environment.broker.reset_calls()
    await environment.advance(3600)

    connection = await asha.connection()
    assert (connection["state"], connection["reason"]) == ("disconnected", "rejected")
    [notice] = await asha.notices()
    assert words in notice["text"]
    [line] = await audit_events(asha, "renewal.tried")
    assert (line["reason"], line["incidentId"]) == (outcome, connection["incidentId"])
    assert await environment.broker.total() == 0


async def test_renewal_can_be_switched_off(start_environment) -> None:
    """A server started without the setting refuses consent and deletes stored refresh tokens."""
    async with start_environment(fyers_refresh=True) as environment:
        await offer_renewal(environment)
        asha = await connect_asha(environment, lifetime=LIFETIME)
        await environment.stop_server()
        environment._settings["fyers_refresh"] = False
        await environment.start_server()

        refused = await asha.request("PUT", "/api/fyers/renewal", {"pin": "1234"})
        renewal = await asha.get("/api/fyers/renewal")
        await environment.advance(LIFETIME.total_seconds() + 60)
        await until(lambda: asha.notices("session_disconnected"), "an ordinary expiry")

        assert (refused.status, "SEBI" in refused.text) == (403, True)
        assert (renewal["isOffered"], renewal["isOptedIn"]) == (False, False)
        [line] = await audit_events(asha, "renewal.removed")
        assert (line["actor"], line["reason"]) == ("hullwatch", "not_offered")
        assert await renewal_calls(environment) == 0
        [notice] = await asha.notices("session_disconnected")
        assert "renew" not in notice["text"]
