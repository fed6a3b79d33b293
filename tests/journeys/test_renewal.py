"""Renewals by refresh token, before the real simulator: offered or refused, before the known end and at a refusal."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution
from journeys.browser import Browser
from journeys.environment import Environment, until
from journeys.test_restart import assert_signals_stored, expected

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ")
RENEW = "/api/v3/validate-refresh-token"
LIFETIME = timedelta(minutes=20)
BEFORE_SIX = datetime.fromisoformat("2026-11-25T05:20:00+05:30")
"""Of a trading day."""


@pytest.fixture
async def environment(open_env) -> AsyncIterator[Environment]:
    """An environment whose server offers renewals."""
    async with open_env(fyers_refresh=True) as opened:
        yield opened


async def asha_in(environment: Environment, *, lifetime: timedelta | None = None) -> Browser:
    """Let Asha, who is the admin, consent to renewals, log in and watch."""
    asha = environment.browser("Asha", "FY00001", *SYMBOLS)
    await asha.register()
    await environment.broker.person(asha.fyers_id, lifetime=lifetime)
    await asha.call("PUT", "/api/fyers/renewal", {"pin": "1234"})
    await asha.connect()
    await asha.watch("cross", "turn")
    return asha


async def offer(environment: Environment, kind: str = "offered") -> None:
    """Let the broker take refresh tokens."""
    await environment.broker.order("POST", "/refresh", {"isOffered": True, "kind": kind})


async def tries(environment: Environment) -> int:
    """Return how often the broker was asked for a renewal."""
    return int((await environment.broker.calls(path=RENEW))["total"])


async def lines(asha: Browser, kind: str) -> list[dict[str, Any]]:
    """Return lines of the audit trail, oldest first."""
    return (await asha.get(f"/api/admin/events?kind={kind}&limit=500"))["events"][::-1]


async def _has_outcome(asha: Browser) -> bool:
    """Whether a try has ended."""
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
    """Through the moment at which the first session would have ended every cycle runs, every candle is judged in time, and nobody is told."""
    await offer(environment)
    asha = await asha_in(environment, lifetime=LIFETIME)
    await environment.broker.person(asha.fyers_id)  # the next session lasts as long as others
    first_end = datetime.fromisoformat((await asha.connection())["expiresAt"])
    tab = await asha.open_tab()
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])
    since, before = environment.clock.now(), await asha.state()

    steps = 0
    while environment.clock.now() < first_end + timedelta(minutes=4):
        await environment.step(5, [asha])
        steps += 1

    await until(lambda: _is_session(asha, since), "the renewed session")
    after = await asha.state()
    assert after["missedCycles"] == 0
    assert after["cycles"] >= before["cycles"] + steps  # a new session is watched at once, beside the rhythm
    closes = closes_between(
        since, environment.clock.now() - timedelta(seconds=1), Resolution.parse("5"), nse_calendar()
    )
    await until(lambda: _heard(tab, closes * len(SYMBOLS)), "every candle")
    assert len(tab.data("candle")) == closes * len(SYMBOLS) > 0
    await environment.advance(2)
    await assert_signals_stored(asha, await environment.while_time_passes(expected(asha)))
    assert not any(signal["isLate"] for signal in await asha.signals())
    assert await asha.notices() == []
    assert "disconnected" not in {one["state"] for one in tab.data("connection")}
    assert await tries(environment) == 1
    [_, renewed] = await lines(asha, "connection.logged_in")
    assert (renewed["actor"], renewed["evidence"]["kind"]) == ("hullwatch", "renewal")
    assert (await asha.get("/api/fyers/renewal"))["lastOutcome"] == "renewed"


async def _heard(tab: Any, count: int) -> bool:
    return len(tab.data("candle")) >= count


async def test_a_session_is_renewed_after_six_before_market_open(open_env) -> None:
    """The session that counts is asked for right after 06:00, since one from before would end then; the first candle is judged in time."""
    async with open_env(starts_at=BEFORE_SIX, fyers_refresh=True) as environment:
        await offer(environment)
        asha = await asha_in(environment)
        six = datetime.fromisoformat((await asha.connection())["expiresAt"])
        await environment.advance_to(six - timedelta(minutes=9))
        await until(lambda: _has_outcome(asha), "the try before the end")
        assert (await asha.connection())["state"] == "expiring"
        await environment.advance_to(six)
        await until(lambda: _is_disconnected(asha), "the known end")
        await environment.advance(5)
        await until(lambda: _is_session_until(asha, six + timedelta(days=1)), "the session of the new day")
        close = six + timedelta(hours=3, minutes=20)  # of the first candle
        await environment.advance_to(close + timedelta(seconds=1))
        await environment.while_time_passes(until(lambda: _judged(asha, close), "the first candle"))

        assert not any(signal["isLate"] for signal in await asha.signals())
        assert await asha.notices() == []
        assert await tries(environment) == 2
        outcomes = [
            (line["reason"], line["evidence"]["occasion"]) for line in await lines(asha, "renewal.tried")
        ]
        assert outcomes == [("expires_no_later", "before_expiry"), ("renewed", "at_expiry")]


async def _is_disconnected(asha: Browser) -> bool:
    return (await asha.connection())["state"] == "disconnected"


async def _is_session_until(asha: Browser, end: datetime) -> bool:
    connection = await asha.connection()
    return connection["state"] == "connected" and datetime.fromisoformat(connection["expiresAt"]) == end


async def _judged(asha: Browser, close: datetime) -> bool:
    watches = (await asha.get("/api/monitoring/watches"))["watches"]
    return all(datetime.fromisoformat(line["evaluatedThrough"]) >= close for line in watches)


async def test_a_refused_renewal_is_an_ordinary_expiry(
    environment: Environment,
) -> None:
    """One try in all, and watching goes on until the known end; the one notice says when, why, and that renewal was refused."""
    asha = await asha_in(environment, lifetime=LIFETIME)
    end = datetime.fromisoformat((await asha.connection())["expiresAt"])
    await environment.advance_to(end - timedelta(seconds=30))
    await until(lambda: _has_outcome(asha), "the try")
    assert (await asha.connection())["state"] == "expiring"
    await environment.advance(31)
    await until(lambda: asha.notices("session_disconnected"), "the notice")
    await environment.broker.forget_calls()
    await environment.advance(3600)

    connection = await asha.connection()
    assert (connection["state"], connection["reason"]) == ("disconnected", "expired")
    assert datetime.fromisoformat(connection["lastDisconnectTime"]) == end
    [notice] = await asha.notices()
    assert "Fyers refused to renew it" in notice["text"]
    [line] = await lines(asha, "connection.reached_expiry")
    assert (line["reason"], line["evidence"]["renewal"]) == ("expired", "refused_by_fyers")
    assert len(await lines(asha, "renewal.tried")) == 1
    assert await environment.broker.total() == 0
    assert (await asha.get("/api/fyers/renewal"))["lastOutcome"] == "refused_by_fyers"


async def test_a_revoked_session_is_renewed_and_watchingassert_monitoring_continues(
    environment: Environment,
) -> None:
    """Within the same cycle's interval; no candle is missed, nobody is told, and what is revoked once more is not renewed again."""
    await offer(environment)
    asha = await asha_in(environment)
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])
    began = environment.clock.now()

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await until(lambda: _is_session(asha, began), "the renewed session")
    await environment.advance_to(began.replace(minute=40, second=1))  # 10:10:01 IST
    await environment.while_time_passes(
        until(lambda: _judged(asha, began.replace(minute=40, second=0)), "the next candle")
    )
    await assert_signals_stored(asha, await environment.while_time_passes(expected(asha)))
    assert not any(signal["isLate"] for signal in await asha.signals())
    assert await asha.notices() == []
    assert [line["kind"] for line in await lines(asha, "connection.")] == [
        "connection.logged_in",
        "connection.refusal_confirmed",
        "connection.logged_in",
    ]

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await until(lambda: asha.notices("session_disconnected"), "the end of the renewed session")
    await environment.advance(600)
    assert len(await asha.notices()) == 1
    assert await tries(environment) == 1


@pytest.mark.parametrize(
    ("kind", "outcome", "words"),
    [
        (None, "refused_by_fyers", "Fyers refused to renew it"),
        ("dead_tokens", "not_accepted", "did not accept the renewed session"),
    ],
)
async def test_a_failed_renewal_is_reported_once(
    environment: Environment, kind: str | None, outcome: str, words: str
) -> None:
    """One try, one notice with its sentence, and not one call more for this account."""
    if kind is not None:
        await offer(environment, kind)
    asha = await asha_in(environment)
    await environment.advance((1 - environment.clock.now().second) % 5)
    await environment.wait_for_cycles([asha])

    await environment.broker.revoke(asha.fyers_id)
    await environment.advance(5)
    await until(lambda: asha.notices("session_disconnected"), "the notice")
    assert await tries(environment) == 1
    await environment.broker.forget_calls()
    await environment.advance(3600)

    connection = await asha.connection()
    assert (connection["state"], connection["reason"]) == ("disconnected", "rejected")
    [notice] = await asha.notices()
    assert words in notice["text"]
    [line] = await lines(asha, "renewal.tried")
    assert (line["reason"], line["incidentId"]) == (outcome, connection["incidentId"])
    assert await environment.broker.total() == 0


async def test_renewal_can_be_switched_off(open_env) -> None:
    """Without the setting nobody can consent, and a server that is started without it forgets what was kept."""
    async with open_env(fyers_refresh=True) as environment:
        await offer(environment)
        asha = await asha_in(environment, lifetime=LIFETIME)
        await environment.stop_server()
        environment._settings["fyers_refresh"] = False
        await environment.start_server()

        refused = await asha.ask("PUT", "/api/fyers/renewal", {"pin": "1234"})
        standing = await asha.get("/api/fyers/renewal")
        await environment.advance(LIFETIME.total_seconds() + 60)
        await until(lambda: asha.notices("session_disconnected"), "an ordinary end")

        assert (refused.status, "SEBI" in refused.text) == (403, True)
        assert (standing["isOffered"], standing["isOptedIn"]) == (False, False)
        [line] = await lines(asha, "renewal.removed")
        assert (line["actor"], line["reason"]) == ("hullwatch", "not_offered")
        assert await tries(environment) == 0
        [notice] = await asha.notices("session_disconnected")
        assert "renew" not in notice["text"]
