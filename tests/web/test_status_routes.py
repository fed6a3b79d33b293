"""The polled status, the validation cache, and the answers of market, HMA and monitoring over HTTP."""

from datetime import UTC, datetime

import httpx2
import pytest
from fakes.broker import AccountState

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.users.accounts import Role

FIELDS = {
    "success", "isValid", "userId", "hasToken", "isConnected", "verified", "state", "reason", "message", "expiresAt",
    "lastValidatedAt", "lastDisconnectTime", "fromCache",
}  # fmt: skip
STATUS = "/api/token-validation/status"


async def status_of(client: httpx2.AsyncClient) -> dict:
    """Return the polled status, whose fields are always the same."""
    answer = await client.get(STATUS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == FIELDS
    return answer.json()


async def test_status_without_a_session(env):
    """An account that was never linked has no valid token and causes no call."""
    async with env.browser("asha") as client:
        status = await status_of(client)

    assert (status["success"], status["isValid"], status["hasToken"], status["isConnected"]) == (
        True,
        False,
        False,
        False,
    )
    assert status["state"] == "never_connected"
    assert not env.broker.calls


async def test_status_calls_fyers_once_and_then_uses_the_cache(env):
    """`fromCache` shows which answers come from the cache."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        first, second = await status_of(client), await status_of(client)
        await client.post("/api/token-validation/clear-cache")
        third = await status_of(client)

    assert [status["fromCache"] for status in (first, second, third)] == [False, True, False]
    assert all(status["isValid"] and status["verified"] for status in (first, second, third))
    assert [call.name for call in env.broker.calls].count("check_data") == 2


async def test_status_of_a_revoked_token(env):
    """A token that Fyers refuses twice is invalid, with reason and time."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.REVOKED)
        first = await status_of(client)
        await env.confirm_refusals()
        status = await status_of(client)

    assert (first["isValid"], first["verified"], first["state"]) == (True, False, "connected")

    assert (status["isValid"], status["isConnected"], status["state"]) == (False, False, "disconnected")
    assert status["reason"] == "rejected"
    assert status["lastDisconnectTime"] is not None


async def test_status_in_an_outage_is_unverified_and_valid(env):
    """An outage of Fyers ends no session, so the status is valid but unverified."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.UNAVAILABLE)
        status = await status_of(client)

    assert (status["isValid"], status["isConnected"], status["verified"]) == (True, True, False)
    assert status["state"] == "connected"


async def test_status_needs_a_login(env):
    """Without a login the answer is a problem document with 401."""
    async with env.client() as client:
        answer = await client.get(STATUS)
        posted = await client.post(STATUS)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert posted.status_code == 405


async def test_sweep_is_for_admins(env):
    """An admin validates everybody and gets the totals; a trader may not."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        await env.link(trader, "XB001")
        refused = await trader.post("/api/token-validation/validate-all")
        answer = await admin.post("/api/token-validation/validate-all")

    assert refused.status_code == 403
    results = answer.json()["results"]
    assert answer.json()["success"] is True
    assert results | {"durationMs": 0} == {
        "total": 1, "valid": 1, "invalid": 0, "unverified": 0, "errors": 0, "durationMs": 0,
    }  # fmt: skip


async def test_cache_entries_are_shown_to_admins_and_their_users(env):
    """An admin sees all entries, a trader only one; no entry contains a token."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        for client, fyers_id in ((admin, "XA001"), (trader, "XB001")):
            await env.link(client, fyers_id)
            await status_of(client)
        everybody = (await admin.get("/api/token-validation/cache-stats")).json()["stats"]
        own = (await trader.get("/api/token-validation/cache-stats")).json()["stats"]

    assert everybody["size"] == 2
    assert everybody["shared"] == {"isUsed": False, "isAnswering": False}
    assert own["size"] == 1
    assert set(own["entries"][0]) == {"userId", "isValid", "ageSeconds"}


async def test_market_status_comes_from_the_calendar(env):
    """No call to Fyers is needed; Monday 09:30 IST is open."""
    async with env.browser("asha") as client:
        status = (await client.get("/api/market/status")).json()

    assert status["isOpen"] is True
    assert status["exchangeDay"] == "2026-11-23"
    assert status["nextCloseAt"] == "2026-11-23T10:00:00Z"
    assert status["phase"] == "continuous"
    assert status["changesAt"] == "2026-11-23T09:45:00Z"
    assert status["session"]["settlesAt"] == "2026-11-23T10:05:00Z"
    assert set(status) >= {"nextOpenAt", "holidayName"}
    assert not env.broker.calls


async def test_market_status_includes_derivatives(env):
    """At 15:32 IST the cash market's auction is being matched while derivatives trade on until 15:40."""
    await env.clock.advance_to(datetime(2026, 11, 23, 10, 2, tzinfo=UTC))
    async with env.browser("asha") as client:
        status = (await client.get("/api/market/status")).json()

    assert (status["isOpen"], status["phase"], status["session"]) == (False, "closing_auction", None)
    assert status["changesAt"] == "2026-11-23T10:05:00Z"
    derivatives = status["derivatives"]
    assert (derivatives["isOpen"], derivatives["phase"]) == (True, "continuous")
    assert derivatives["nextCloseAt"] == derivatives["changesAt"] == "2026-11-23T10:10:00Z"
    assert derivatives["session"]["kind"] == "regular"


async def test_quotes_have_an_outcome(env):
    """An empty list must never mean an error."""
    env.broker.serve_quotes([Quote(Symbol("NSE:M&M-EQ"), 3011.5)])
    async with env.browser("asha") as client:
        disconnected = (await client.get("/api/market/quotes", params={"symbols": "NSE:M&M-EQ"})).json()
        await env.link(client, "XA001")
        connected = (
            await client.get("/api/market/quotes", params={"symbols": "NSE:M&M-EQ,NSE:SBIN-EQ"})
        ).json()
        bad = await client.get("/api/market/quotes", params={"symbols": "SBIN"})

    assert (disconnected["outcome"], disconnected["quotes"], disconnected["connection"]["state"]) == (
        "disconnected",
        [],
        "never_connected",
    )
    assert connected["outcome"] == "ok"
    assert [(quote["symbol"], quote["ltp"]) for quote in connected["quotes"]] == [("NSE:M&M-EQ", 3011.5)]
    assert bad.status_code == 422
    assert bad.json()["type"] == "urn:hullwatch:problem:unknown-symbol"


async def test_missing_quotes_are_named_with_a_suggestion(env):
    """An answer without a symbol must not look complete."""
    env.broker.serve_quotes([Quote(Symbol("NSE:SBIN-EQ"), 812.0)])
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        answer = await client.get(
            "/api/market/quotes", params={"symbols": "NSE:SBIN-EQ,NSE:NIFTY50-EQ,NSE:ZZTOP-EQ"}
        )

    found = answer.json()
    assert (found["outcome"], [quote["symbol"] for quote in found["quotes"]]) == ("ok", ["NSE:SBIN-EQ"])
    assert found["missing"] == [
        {
            "symbol": "NSE:NIFTY50-EQ",
            "reason": "Fyers has no quote for NSE:NIFTY50-EQ. Did you mean NSE:NIFTY50-INDEX?",
            "suggestion": "NSE:NIFTY50-INDEX",
        },
        {
            "symbol": "NSE:ZZTOP-EQ",
            "reason": "Fyers has no quote for NSE:ZZTOP-EQ. Check its spelling.",
            "suggestion": None,
        },
    ]


async def test_a_doubtful_quote_is_shown_as_doubtful(env):
    """The page strikes it out; nothing is computed from it."""
    env.broker.serve_quotes([Quote(Symbol("NSE:SBIN-EQ"), 8.0, previous_close=800.0)])
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        [quote] = (await client.get("/api/market/quotes", params={"symbols": "NSE:SBIN-EQ"})).json()["quotes"]

    assert (quote["ltp"], quote["isDoubtful"]) == (8.0, True)
    assert "previous close" in quote["doubtfulReason"]


async def test_the_segment_of_a_market_status_counts(env):
    """Derivatives trade on at 15:35 IST, and the hours of commodities are not known here."""
    await env.clock.advance_to(datetime(2026, 11, 23, 10, 5, 1, tzinfo=UTC))
    async with env.browser("asha") as client:
        cash = (await client.get("/api/market/status?segment=cash")).json()
        derivatives = (await client.get("/api/market/status?segment=derivatives")).json()
        commodity = await client.get("/api/market/status?segment=commodity")
        unknown = await client.get("/api/market/status?segment=bonds")

    assert (cash["isOpen"], derivatives["isOpen"]) == (False, True)
    assert (commodity.status_code, unknown.status_code) == (422, 422)
    assert "trading hours of the commodity segment" in commodity.json()["detail"]


async def test_hma_without_session_is_disconnected(env):
    """Without a session there is no average, and the answer has the reason; the & of the symbol is encoded."""
    async with env.browser("asha") as client:
        reading = (await client.get("/api/hma/NSE%3AM%26M-EQ?period=21&resolution=15")).json()
        default = (await client.get("/api/hma/NSE:SBIN-EQ")).json()
        bad = await client.get("/api/hma/NSE:SBIN-EQ?resolution=7")

    assert (reading["symbol"], reading["status"], reading["currentHma"]) == (
        "NSE:M&M-EQ",
        "DISCONNECTED",
        None,
    )
    assert (reading["period"], reading["resolution"]) == (21, "15")
    assert (default["period"], default["resolution"]) == (55, "5")
    assert bad.status_code == 422


async def test_watches_are_added_changed_and_removed(env):
    """A second watch of the same kind is refused with 409."""
    body = {"symbol": "NSE:SBIN-EQ", "resolution": 5, "period": 55, "rule": "cross"}
    async with env.browser("asha") as client:
        added = await client.post("/api/monitoring/watches", json=body)
        twice = await client.post("/api/monitoring/watches", json=body)
        address = f"/api/monitoring/watches/{added.json()['id']}"
        changed = await client.patch(address, json={"rule": "turn", "resolution": "15"})
        listed = (await client.get("/api/monitoring/watches")).json()["watches"]
        removed = await client.delete(address)
        again = await client.delete(address)

    assert added.status_code == 201
    assert twice.status_code == 409
    assert listed == [changed.json()]
    assert (changed.json()["rule"], changed.json()["resolution"], changed.json()["period"]) == (
        "turn",
        "15",
        55,
    )
    assert (removed.status_code, again.status_code) == (204, 404)


async def test_watches_of_others_do_not_exist(env):
    """Nobody reads, changes or removes somebody else's watchlist."""
    body = {"symbol": "NSE:SBIN-EQ", "resolution": "5", "period": 55, "rule": "cross"}
    async with env.browser("asha") as client, env.browser("biren") as other:
        address = f"/api/monitoring/watches/{(await client.post('/api/monitoring/watches', json=body)).json()['id']}"
        seen = (await other.get("/api/monitoring/watches")).json()
        changed = await other.patch(address, json={"period": 21})
        removed = await other.delete(address)

    assert seen == {"watches": []}
    assert changed.status_code == removed.status_code == 404


async def test_monitoring_is_wanted_until_stopped(env):
    """Start and stop answer what is wanted, what runs, and why not."""
    async with env.browser("asha") as client:
        before = (await client.get("/api/monitoring/state")).json()
        started = (await client.post("/api/monitoring/start")).json()
        stopped = (await client.post("/api/monitoring/stop")).json()

    assert (before["isWanted"], before["status"]) == (False, "not_wanted")
    assert started["isWanted"] is True
    assert started["reason"]
    assert (stopped["isWanted"], stopped["isRunning"]) == (False, False)


@pytest.mark.parametrize(
    "address", ["/signals", "/coverage", "/coverage?day=2026-11-20", "/signals?limit=5&symbol=NSE:SBIN-EQ"]
)
async def test_history_of_nothing_is_empty(env, address):
    """A user without history gets empty lists, not errors."""
    async with env.browser("asha") as client:
        answer = await client.get(f"/api/monitoring{address}")

    assert answer.status_code == 200
    assert answer.json().get("signals", answer.json().get("stretches")) == []


@pytest.mark.parametrize(
    "address",
    [
        "/api/monitoring/signals?since=0001-01-01T00:00:00%2B05:30",
        "/api/monitoring/signals?before=9999-12-31T23:59:59-05:30",
        "/api/monitoring/signals?since=2026-11-23T09:00:00",
        "/api/monitoring/signals?limit=0",
        "/api/monitoring/coverage?day=0001-01-01",
        "/api/monitoring/coverage?day=9999-12-31",
        "/api/market/candles?symbol=NSE:SBIN-EQ&start=2026-11-23T09:00:00Z&end=2026-11-22T09:00:00Z",
        "/api/market/candles?symbol=NSE:SBIN-EQ&start=2020-01-01T00:00:00Z&end=2026-01-01T00:00:00Z",
        "/api/market/quotes?symbols=",
        "/api/market/quotes",
        "/api/hma/NSE:SBIN-EQ?period=1",
        "/api/hma/NSE:SBIN-EQ?period=99999999999999999999999",
        "/api/hma/%00",
    ],
)
async def test_invalid_parameters_are_422(env, address):
    """Moments out of range or without zone, empty lists and impossible numbers are the caller's mistake."""
    async with env.browser("asha") as client:
        answer = await client.get(address)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_notices_are_read_by_their_user(env):
    """A disconnect stores a notice, which only its user can mark as read."""
    async with env.browser("asha") as client, env.browser("biren") as other:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.REVOKED)
        await status_of(client)
        await env.confirm_refusals()
        notices = (await client.get("/api/notifications")).json()["notifications"]
        address = f"/api/notifications/{notices[0]['id']}/read"
        foreign = await other.post(address)
        own = await client.post(address)
        unread = (await client.get("/api/notifications?unreadOnly=true")).json()["notifications"]

    assert [notice["kind"] for notice in notices] == ["session_disconnected"]
    assert (foreign.status_code, own.status_code, unread) == (404, 204, [])
