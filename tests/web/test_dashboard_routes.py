"""Routes of the pages: settings, the overview of the watchlist, charts, counts, progress, and the user of a page."""

from datetime import UTC, datetime, timedelta

import pytest
from fakes.broker import AccountState

from hullwatch.domain.events import ADMINS, SweepProgressed
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.signals.hma import hull_moving_average
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.circuit import CircuitReport, CircuitState
from web.web_environment import BASE, PASSWORD

SBIN = "NSE:SBIN-EQ"


def serve_morning(env):
    """Let the broker have the five-minute candles of the day from 09:15 IST to the clock's 09:30."""
    opened_at = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
    candles = [
        Candle(opened_at + timedelta(minutes=5 * number), 100.0, 102.0, 99.0, 100.0 + number % 3, 10)
        for number in range(75)
    ]
    today = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
    candles += [
        Candle(today + timedelta(minutes=5 * number), 101.0, 103.0, 100.0, 102.0, 10) for number in range(4)
    ]
    env.broker.serve_candles(Symbol.parse(SBIN), Resolution("5"), candles)


async def test_settings_of_the_install_need_no_login(env):
    """The page needs them for the registration and for the set-up of the Fyers app."""
    async with env.client() as client:
        answer = (await client.get("/api/dashboard")).json()

    assert answer["registration"] == "open"
    assert answer["callbackUrl"] == f"{BASE}/api/fyers/callback"
    assert answer["checkMinutes"] == 15
    assert answer["staleAfterSeconds"] == 15
    assert {"1", "5", "1D"} <= set(answer["resolutions"])
    assert datetime.fromisoformat(answer["now"]) == env.clock.now()


async def test_overview_of_a_connected_account(env):
    """Each watch has its quote with its time; unknown values are null, never 0."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.serve_quotes([Quote(Symbol.parse(SBIN), 812.5)])
        body = {"symbol": SBIN, "resolution": "5", "period": 5, "rule": "cross"}
        await client.post("/api/monitoring/watches", json=body)
        answer = (await client.get("/api/monitoring/overview")).json()

    (line,) = answer["lines"]
    assert line["watch"]["symbol"] == SBIN
    assert line["quote"]["ltp"] == 812.5
    assert datetime.fromisoformat(line["quotedAt"]) == env.clock.now()
    assert (line["hma"], line["lastSignal"]) == (None, None)
    assert answer["connection"]["state"] == "connected"
    assert answer["isBrokerOutage"] is False


async def test_overview_of_a_disconnected_account_makes_no_call(env):
    """After the disconnect the last quote is shown with its old time."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.serve_quotes([Quote(Symbol.parse(SBIN), 812.5)])
        body = {"symbol": SBIN, "resolution": "5", "period": 5, "rule": "cross"}
        await client.post("/api/monitoring/watches", json=body)
        quoted_at = (await client.get("/api/monitoring/overview")).json()["lines"][0]["quotedAt"]
        await client.post("/api/fyers/disconnect")
        calls = len(env.broker.calls)
        await env.clock.advance(600)
        answer = (await client.get("/api/monitoring/overview")).json()

    assert answer["connection"]["state"] == "disconnected"
    assert answer["lines"][0]["quotedAt"] == quoted_at
    assert len(env.broker.calls) == calls


async def test_chart_has_candles_average_and_the_line_of_the_forming_candle(env):
    """The average stands on each candle once it is warmed up, and its line gives what a price would make of it."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        serve_morning(env)
        answer = (await client.get(f"/api/market/chart?symbol={SBIN}&resolution=5&period=4")).json()
        again = (await client.get(f"/api/market/chart?symbol={SBIN}&resolution=5&period=4")).json()

    assert answer["outcome"] == "ok"
    assert [candle["hma"] is None for candle in answer["candles"]][-5:] == [False] * 5
    assert answer["candles"][0]["openedAt"] < answer["candles"][-1]["openedAt"]
    assert datetime.fromisoformat(answer["nextCloseAt"]) > env.clock.now()
    line, forming = answer["line"], answer["forming"]
    closes = [candle["close"] for candle in answer["candles"]] + [forming["close"]]
    expected = hull_moving_average(closes, 4)[-1]
    assert line["base"] + line["slope"] * forming["close"] == pytest.approx(expected, abs=1e-9)
    assert answer == again


async def test_chart_without_a_session_is_disconnected(env):
    """Without a session the chart is empty and its outcome says why; an impossible period is refused."""
    async with env.browser("asha") as client:
        answer = (await client.get(f"/api/market/chart?symbol={SBIN}")).json()
        refused = await client.get(f"/api/market/chart?symbol={SBIN}&period=1")

    assert (answer["outcome"], answer["candles"], answer["line"]) == ("disconnected", [], None)
    assert refused.status_code == 422


async def test_page_of_another_user_is_refused(env):
    """A page that names another user than the cookie's gets nothing, by header as by query; naming the right one changes nothing."""
    async with env.browser("asha") as client:
        me = (await client.get("/api/auth/me")).json()["id"]
        right = await client.get("/api/auth/me", headers={"X-Hullwatch-User": me})
        wrong = await client.get("/api/auth/me", headers={"X-Hullwatch-User": "usr_else"})
        wrong_status = await client.get(
            "/api/token-validation/status", headers={"X-Hullwatch-User": "usr_else"}
        )
        wrong_query = await client.get("/api/auth/me?user=usr_else")

    assert right.status_code == 200
    assert [answer.status_code for answer in (wrong, wrong_status, wrong_query)] == [401, 401, 401]


async def test_app_is_checked_without_a_login(env):
    """Fyers accepts a right pair of app id and secret and refuses a wrong one."""
    async with env.browser("asha") as client:
        app = {
            "appId": "HULLWATCH-100",
            "secret": "canary-app-secret",
            "redirectUri": f"{BASE}/api/fyers/callback",
        }
        await client.put("/api/fyers/app", json=app)
        checked = (await client.post("/api/fyers/app/check")).json()

    assert checked["outcome"] == "accepted"
    assert "canary" not in str(checked)


async def test_admin_validates_one_account(env):
    """The check of an admin disconnects a session that Fyers refuses twice; traders cannot check accounts."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("ravi") as ravi:
        await env.link(ravi, "XR001")
        ravis = (await ravi.get("/api/auth/me")).json()["id"]
        good = (await admin.post(f"/api/token-validation/validate/{ravis}")).json()
        env.broker.set_state("XR001", AccountState.REVOKED)
        await admin.post(f"/api/token-validation/validate/{ravis}")
        await env.confirm_refusals()
        bad = (await admin.post(f"/api/token-validation/validate/{ravis}")).json()
        forbidden = await ravi.post(f"/api/token-validation/validate/{ravis}")

    assert (good["state"], good["verified"]) == ("connected", True)
    assert (bad["state"], bad["reason"]) == ("disconnected", "rejected")
    assert forbidden.status_code == 403


async def test_sweep_publishes_its_progress_to_admins(env):
    """One event for each validated account."""
    async with env.browser("asha", role=Role.ADMIN) as admin:
        await env.link(admin, "XA001")
        async with env.hub.subscribe(ADMINS) as published:
            await admin.post("/api/token-validation/validate-all")
            steps = [(await anext(published)).message for _ in range(published.pending)]

    assert [(step.done, step.total) for step in steps if isinstance(step, SweepProgressed)] == [(1, 1)]


async def test_broker_as_a_whole(env):
    """Admins see each circuit breaker and the time of its next probe."""
    opened_at = datetime(2026, 11, 23, 4, tzinfo=UTC)
    env.circuits = [CircuitReport("circuit_open", CircuitState.OPEN, opened_at, 4.5)]
    async with env.browser("asha", role=Role.ADMIN) as admin:
        answer = (await admin.get("/api/admin/broker")).json()

    assert answer["brokerOutage"] is None
    (circuit,) = answer["circuits"]
    assert (circuit["name"], circuit["state"], circuit["retryAfterSeconds"]) == ("circuit_open", "open", 4.5)


async def test_calls_are_counted_by_account_and_day(env):
    """Token health shows the calls and refusals of the day; the next day in IST starts with none."""
    async with env.browser("asha", role=Role.ADMIN) as admin:
        me = (await admin.get("/api/auth/me")).json()["id"]
        env.call_counts.note(me, "ok")
        env.call_counts.note(me, "login_refused")
        (today,) = (await admin.get("/api/admin/token-health")).json()["accounts"]
        await env.clock.advance(timedelta(days=1).total_seconds())
        login = {"email": "asha@b.in", "password": PASSWORD}
        assert (await admin.post("/api/auth/login", json=login)).status_code == 200
        (tomorrow,) = (await admin.get("/api/admin/token-health")).json()["accounts"]

    assert (today["calls"], today["refusals"]) == (2, 1)
    assert (tomorrow["calls"], tomorrow["refusals"]) == (0, 0)
