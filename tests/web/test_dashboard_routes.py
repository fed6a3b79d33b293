"""What the pages ask for: the install's settings, the watchlist at a glance, charts, counts, progress, and whose page asks."""

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


async def test_settings_of_the_install_are_told_to_anyone(env):
    """Before anybody is signed in the page knows how to register, which redirect address to enter, and what can be watched."""
    async with env.client() as client:
        told = (await client.get("/api/dashboard")).json()

    assert told["registration"] == "open"
    assert told["callbackUrl"] == f"{BASE}/api/fyers/callback"
    assert told["checkMinutes"] == 15
    assert told["staleAfterSeconds"] == 15
    assert {"1", "5", "1D"} <= set(told["resolutions"])
    assert datetime.fromisoformat(told["now"]) == env.clock.now()


async def test_glance_of_a_connected_watchlist(env):
    """Each line comes with its quote and the moment of it; what is not known yet is null, never 0."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.serve_quotes([Quote(Symbol.parse(SBIN), 812.5)])
        body = {"symbol": SBIN, "resolution": "5", "period": 5, "rule": "cross"}
        await client.post("/api/monitoring/watches", json=body)
        told = (await client.get("/api/monitoring/overview")).json()

    (line,) = told["lines"]
    assert line["watch"]["symbol"] == SBIN
    assert line["quote"]["ltp"] == 812.5
    assert datetime.fromisoformat(line["quotedAt"]) == env.clock.now()
    assert (line["hma"], line["lastSignal"]) == (None, None)
    assert told["connection"]["state"] == "connected"
    assert told["isBrokerOutage"] is False


async def test_glance_of_a_disconnected_account_makes_no_call(env):
    """After the session's end the last quote stays, dated as it was, and Fyers is not asked."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.serve_quotes([Quote(Symbol.parse(SBIN), 812.5)])
        body = {"symbol": SBIN, "resolution": "5", "period": 5, "rule": "cross"}
        await client.post("/api/monitoring/watches", json=body)
        quoted_at = (await client.get("/api/monitoring/overview")).json()["lines"][0]["quotedAt"]
        await client.post("/api/fyers/disconnect")
        calls = len(env.broker.calls)
        await env.clock.advance(600)
        told = (await client.get("/api/monitoring/overview")).json()

    assert told["connection"]["state"] == "disconnected"
    assert told["lines"][0]["quotedAt"] == quoted_at
    assert len(env.broker.calls) == calls


async def test_chart_has_candles_average_and_the_line_of_the_forming_candle(env):
    """The average stands on each candle once it is warmed up, and its line gives what a price would make of it."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        serve_morning(env)
        told = (await client.get(f"/api/market/chart?symbol={SBIN}&resolution=5&period=4")).json()
        again = (await client.get(f"/api/market/chart?symbol={SBIN}&resolution=5&period=4")).json()

    assert told["outcome"] == "ok"
    assert [candle["hma"] is None for candle in told["candles"]][-5:] == [False] * 5
    assert told["candles"][0]["openedAt"] < told["candles"][-1]["openedAt"]
    assert datetime.fromisoformat(told["nextCloseAt"]) > env.clock.now()
    line, forming = told["line"], told["forming"]
    closes = [candle["close"] for candle in told["candles"]] + [forming["close"]]
    expected = hull_moving_average(closes, 4)[-1]
    assert line["base"] + line["slope"] * forming["close"] == pytest.approx(expected, abs=1e-9)
    assert told == again


async def test_chart_without_a_session_says_so(env):
    """Without a session the chart is empty and its outcome says why; an impossible period is refused."""
    async with env.browser("asha") as client:
        told = (await client.get(f"/api/market/chart?symbol={SBIN}")).json()
        refused = await client.get(f"/api/market/chart?symbol={SBIN}&period=1")

    assert (told["outcome"], told["candles"], told["line"]) == ("disconnected", [], None)
    assert refused.status_code == 422


async def test_page_of_somebody_else_is_refused(env):
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
    """A pair that Fyers knows is told from one that it does not."""
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


async def test_operator_checks_one_account(env):
    """A session that Fyers refuses twice is found over when an operator checks it; a trader may not check anybody."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("ravi") as ravi:
        await env.link(ravi, "XR001")
        ravis = (await ravi.get("/api/auth/me")).json()["id"]
        good = (await admin.post(f"/api/token-validation/validate/{ravis}")).json()
        env.broker.set_state("XR001", AccountState.REVOKED)
        bad = (await admin.post(f"/api/token-validation/validate/{ravis}")).json()
        forbidden = await ravi.post(f"/api/token-validation/validate/{ravis}")

    assert (good["state"], good["verified"]) == ("connected", True)
    assert (bad["state"], bad["reason"]) == ("disconnected", "rejected")
    assert forbidden.status_code == 403


async def test_sweep_tells_operators_how_far_it_is(env):
    """While all are checked the operators' topic hears of each step."""
    async with env.browser("asha", role=Role.ADMIN) as admin:
        await env.link(admin, "XA001")
        async with env.hub.subscribe(ADMINS) as told:
            await admin.post("/api/token-validation/validate-all")
            steps = [(await anext(told)).message for _ in range(told.pending)]

    assert [(step.done, step.total) for step in steps if isinstance(step, SweepProgressed)] == [(1, 1)]


async def test_broker_as_a_whole(env):
    """An operator sees each circuit, and when it will be tried again."""
    opened_at = datetime(2026, 11, 23, 4, tzinfo=UTC)
    env.circuits = [CircuitReport("circuit_open", CircuitState.OPEN, opened_at, 4.5)]
    async with env.browser("asha", role=Role.ADMIN) as admin:
        told = (await admin.get("/api/admin/broker")).json()

    assert told["brokerOutage"] is None
    (circuit,) = told["circuits"]
    assert (circuit["name"], circuit["state"], circuit["retryAfterSeconds"]) == ("circuit_open", "open", 4.5)


async def test_calls_are_counted_by_account_and_day(env):
    """Token health tells each account's calls and refusals of the day; the next day in IST begins with none."""
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
