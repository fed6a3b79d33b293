import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from limits import ANSWER_LIMIT_S
from structlog.testing import capture_logs

from fyers.conftest import CANARY, make_credential
from fyers.scripted import ScriptedReply
from hullwatch.domain.failures import (
    Answered,
    BrokerService,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
    UnreadableReply,
)
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.secrets import AccessToken, AppSecret, AuthCode, Pin, RefreshToken
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.fyers.breakers import UNANSWERED_FOR_S
from hullwatch.fyers.login import login_url
from hullwatch.fyers.rate_limit import PacingLimits
from hullwatch.fyers.transport import TimeLimits

APP = FyersApp("HULLWATCH-100", AppSecret("simulator"), "http://127.0.0.1:8000/api/fyers/callback?x=1")
SBIN, MNM, NIFTY = Symbol("NSE:SBIN-EQ"), Symbol("NSE:M&M-EQ"), Symbol("NSE:NIFTY50-INDEX")
STATUS = {
    "s": "ok",
    "code": 200,
    "message": "",
    "marketStatus": [
        {"exchange": 10, "segment": 11, "market_type": "NORMAL", "status": "CLOSED"},
        {"exchange": 10, "segment": 10, "market_type": "AUCTION", "status": "CLOSED"},
        {"exchange": 10, "segment": 10, "market_type": "NORMAL", "status": "OPEN"},
    ],
}
FUNDS = {"code": 200, "message": "", "s": "ok", "fund_limit": [{"id": 1, "title": "Total Balance"}]}
ROOMY = PacingLimits(per_second=1000, per_minute=1000)
HTML = "<!DOCTYPE html><html><title>your access token has expired, please login</title></html>"


def cloudflare_page(status: int) -> ScriptedReply:
    """Return a page of Cloudflare whose text mentions a login without meaning one."""
    return ScriptedReply(status, HTML, "text/html")


async def test_a_call_carries_app_and_token_in_fyers_form(server, client, credential):
    """The header is ``<app id>:<token>``, and the token is nowhere else."""
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS))

    assert await client.check_trading(credential) == Answered(None)

    (received,) = server.received
    assert received.headers["Authorization"] == f"HULLWATCH-100:{CANARY}"
    assert received.headers["version"] == "3"
    assert "Cookie" not in received.headers
    assert CANARY not in received.raw_path


async def test_cookies_are_not_sent_back(server, client, credential):
    """A cookie from one account's answer must not reach another account's call."""
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS, headers={"Set-Cookie": "__cf_bm=abc; Path=/"}))

    await client.check_trading(credential)
    await client.check_trading(make_credential("bela", "XB00002"))

    assert all("Cookie" not in received.headers for received in server.received)


async def test_the_profile_gives_the_fyers_id_alone(server, client, credential):
    """The other data of a profile is personal."""
    data = {"fy_id": "XA00001", "name": "ASHA", "email_id": "a@example.com", "PAN": "ABCDE1234F"}
    server.always(
        "/api/v3/profile", ScriptedReply(body={"s": "ok", "code": 200, "message": "", "data": data})
    )

    assert await client.profile_id(credential) == Answered("XA00001")


async def test_an_ampersand_stays_in_its_symbol(server, client, credential):
    """``M&M`` is sent as one symbol and its quote is found."""
    item = {"n": "NSE:M&M-EQ", "s": "ok", "v": {"lp": 3012.5, "volume": 1200, "tt": "1795406100"}}
    server.always("/data/quotes", ScriptedReply(body={"s": "ok", "code": 200, "d": [item]}))

    answer = await client.quotes(credential, [SBIN, MNM])

    (received,) = server.received
    assert received.raw_path == "/data/quotes?symbols=NSE%3ASBIN-EQ%2CNSE%3AM%26M-EQ"
    assert [(quote.symbol, quote.ltp, quote.volume) for quote in answer.value] == [(MNM, 3012.5, 1200)]


async def test_too_many_symbols_are_a_mistake_of_the_caller(client, credential):
    """Fewer quotes would hide the mistake; no symbols need no call."""
    with pytest.raises(ValueError, match="51 symbols"):
        await client.quotes(credential, [SBIN] * 51)

    assert await client.quotes(credential, []) == Answered(())


async def test_history_is_requested_in_epoch_seconds(server, client, credential):
    """Only candles that open within the range are returned, in order."""
    start = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
    opens = [int(start.timestamp()) + 300 * step for step in (1, 0, 2, -1)]
    rows = [[opened, 10.0, 12.0, 9.0, 11.0, 100] for opened in opens]
    server.always("/data/history", ScriptedReply(body={"s": "ok", "candles": rows}))

    answer = await client.candles(
        credential, SBIN, Resolution("5"), start=start, end=start + timedelta(minutes=10)
    )

    assert server.received[0].query == {
        "symbol": "NSE:SBIN-EQ",
        "resolution": "5",
        "date_format": "0",
        "range_from": str(opens[1]),
        "range_to": str(opens[2]),
        "cont_flag": "1",
    }
    assert [int(candle.opened_at.timestamp()) for candle in answer.value.candles] == sorted(opens)[1:]


async def test_no_data_is_an_answer(server, client, credential):
    """``no_data`` gives no candles and no failure."""
    server.always("/data/history", ScriptedReply(body={"candles": [], "message": "", "s": "no_data"}))
    start = datetime(2026, 11, 22, tzinfo=UTC)

    answer = await client.candles(credential, SBIN, Resolution("1D"), start=start, end=start)

    assert isinstance(answer, Answered)
    assert answer.value.candles == ()


async def test_a_market_status_confirms_the_session(server, client, credential):
    """The status of any market shows that the data service accepts the token."""
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))

    assert await client.check_data(credential) == Answered(None)


async def test_signing_out_posts_null(server, client, credential):
    """The official SDK sends the literal null."""
    server.always(
        "/api/v3/logout",
        ScriptedReply(body={"s": "ok", "code": 200, "message": "you are successfully logged out"}),
    )

    assert await client.sign_out(credential) == Answered(None)
    assert (server.received[0].method, server.received[0].body) == ("POST", b"null")


async def test_an_auth_code_is_exchanged_with_a_hash(server, client):
    """The secret itself and an Authorization header are never sent."""
    answer = {"s": "ok", "code": 200, "message": "", "access_token": CANARY, "refresh_token": "re.fre.sh"}
    server.always("/api/v3/validate-authcode", ScriptedReply(body=answer))

    brought = await client.exchange_auth_code(APP, AuthCode("one-use"))

    assert brought == Answered(FreshLogin(AccessToken(CANARY), RefreshToken("re.fre.sh")))

    (received,) = server.received
    assert json.loads(received.body) == {
        "grant_type": "authorization_code",
        "appIdHash": hashlib.sha256(b"HULLWATCH-100:simulator").hexdigest(),
        "code": "one-use",
    }
    assert "Authorization" not in received.headers


async def test_an_exchange_is_never_retried(server, client):
    """An auth code is valid once."""
    server.next("/api/v3/validate-authcode", cloudflare_page(502), cloudflare_page(502))

    answer = await client.exchange_auth_code(APP, AuthCode("one-use"))

    assert answer == Unavailable(BrokerService.LOGIN, cause="http_502", http_status=502)
    assert len(server.received) == 1


RENEW = "/api/v3/validate-refresh-token"


async def test_a_renewal_is_requested_with_a_hash(server, client):
    """Token, PIN and hash are in the body, and no header holds a secret."""
    server.always(RENEW, ScriptedReply(body={"s": "ok", "code": 200, "message": "", "access_token": CANARY}))

    answer = await client.renew_access_token(APP, RefreshToken("re.fre.sh"), Pin("739146"))

    assert answer == Answered(AccessToken(CANARY))
    (received,) = server.received
    assert json.loads(received.body) == {
        "grant_type": "refresh_token",
        "appIdHash": hashlib.sha256(b"HULLWATCH-100:simulator").hexdigest(),
        "refresh_token": "re.fre.sh",
        "pin": "739146",
    }
    assert "Authorization" not in received.headers


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (cloudflare_page(502), Unavailable(BrokerService.LOGIN, cause="http_502", http_status=502)),
        (cloudflare_page(200), Unavailable(BrokerService.LOGIN, cause="not_fyers", http_status=200)),
        (ScriptedReply(how="reset"), Unavailable(BrokerService.LOGIN, cause="connection")),
        (
            ScriptedReply(400, {"s": "error", "code": -16, "message": "disabled"}),
            RequestRefused(BrokerService.LOGIN, -16, 400, "disabled"),
        ),
        (
            ScriptedReply(429, {"s": "error", "code": 429, "message": "slow"}, headers={"Retry-After": "7"}),
            RateLimited(BrokerService.LOGIN, 7.0),
        ),
        (
            ScriptedReply(body={"s": "ok", "code": 200, "message": ""}),
            UnreadableReply(BrokerService.LOGIN, cause="unreadable", http_status=200),
        ),
    ],
)
async def test_a_renewal_is_sent_once(server, client, reply, expected):
    """A wrong PIN that is sent twice could lock the account."""
    server.always(RENEW, reply)

    assert await client.renew_access_token(APP, RefreshToken("re.fre.sh"), Pin("1234")) == expected
    assert len(server.received) == 1


async def test_a_bad_auth_code_is_a_refused_request(server, client):
    """-437 asks the user to log in again and touches no session."""
    server.always(
        "/api/v3/validate-authcode",
        ScriptedReply(400, {"s": "error", "code": -437, "message": "invalid auth code"}),
    )

    answer = await client.exchange_auth_code(APP, AuthCode("stale"))

    assert answer == RequestRefused(BrokerService.LOGIN, -437, 400, "invalid auth code")


def test_the_login_page_gets_the_redirect_address_whole():
    """A query in the address must survive the encoding."""
    url = login_url("https://api-t1.fyers.in/api/v3/", APP, "a b&c")

    assert url == (
        "https://api-t1.fyers.in/api/v3/generate-authcode?client_id=HULLWATCH-100"
        "&redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fapi%2Ffyers%2Fcallback%3Fx%3D1"
        "&response_type=code&state=a+b%26c"
    )


async def test_a_clear_refusal_is_not_retried(server, client, credential):
    """A refusal code with 401 is a refused login after one request."""
    server.always(
        "/data/marketStatus",
        ScriptedReply(401, {"message": "Please provide valid token", "code": -15, "s": "error"}),
    )

    answer = await client.check_data(credential)

    assert answer == LoginRefused(BrokerService.DATA, -15, 401, "/marketStatus")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("reply", "cause", "requests"),
    [
        (cloudflare_page(502), "http_502", 3),
        (
            ScriptedReply(500, {"s": "error", "code": -99, "message": "Something went wrong"}),
            "fyers_error",
            3,
        ),
        (cloudflare_page(401), "http_401", 1),
        (ScriptedReply(401, b""), "http_401", 1),
        (ScriptedReply(200, b""), "empty_body", 3),
        (ScriptedReply(200, b'{"s":"ok","code":200,"fund_li'), "not_fyers", 3),
        (ScriptedReply(200, FUNDS, how="half"), "half_body", 3),
        (ScriptedReply(how="reset"), "connection", 3),
        (ScriptedReply(302, b"", headers={"Location": "/elsewhere"}), "http_302", 1),
        (ScriptedReply(503, b"", headers={"Retry-After": "7"}), "http_503", 1),
        (ScriptedReply(401, {"s": "error", "code": -4711, "message": "token expired"}), "unknown_code", 1),
        (
            ScriptedReply(200, {"s": "error", "code": -16, "message": "Could not authenticate the user"}),
            "refused_without_401",
            1,
        ),
        (ScriptedReply(200, HTML.encode(), headers={"Content-Encoding": "gzip"}), "half_body", 3),
    ],
)
async def test_a_failure_of_fyers_is_unavailable(server, client, credential, reply, cause, requests):
    """Only failures that may pass at once are retried."""
    server.always("/api/v3/funds", reply)

    answer = await client.check_trading(credential)

    assert isinstance(answer, Unavailable)
    assert (answer.cause, len(server.received)) == (cause, requests)


async def test_a_short_failure_is_retried(server, client, credential):
    """An interrupted connection and a 502 before a good answer cost only time."""
    server.next("/api/v3/funds", ScriptedReply(how="reset"), cloudflare_page(502), ScriptedReply(body=FUNDS))

    assert await client.check_trading(credential) == Answered(None)


async def test_a_call_without_an_answer_times_out(server, client_for, credential):
    """It is not retried, so that its caller waits once."""
    server.always("/api/v3/funds", ScriptedReply(how="hang"))

    async with client_for(server.url, time_limits=TimeLimits(0.2, ANSWER_LIMIT_S)) as client:
        answer = await client.check_trading(credential)

    assert answer == Unavailable(BrokerService.TRADING, cause="timeout")
    assert len(server.received) <= 1


async def test_a_refused_connection_is_unavailable(client_for, credential):
    """No method raises for a failure of the network."""
    async with client_for("http://127.0.0.1:9") as client:
        answer = await client.check_trading(credential)

    assert answer == Unavailable(BrokerService.TRADING, cause="connection")


async def test_a_closed_client_is_unavailable(server, client, credential):
    """A late call during the shutdown must not raise."""
    await client.close()

    assert await client.check_trading(credential) == Unavailable(BrokerService.TRADING, cause="closed")


async def test_an_endless_reply_is_cut_off(server, client, credential):
    """A body over the limit is not read to its end."""
    server.always("/api/v3/funds", ScriptedReply(how="endless"))

    answer = await client.check_trading(credential)

    assert answer == Unavailable(BrokerService.TRADING, cause="too_large")


async def test_a_missing_permission_refuses_no_login(server, client, credential):
    """-403 concerns the app, and the session stays."""
    body = {"s": "error", "code": -403, "message": "You do not have permission to access this application"}
    server.always("/api/v3/funds", ScriptedReply(403, body))

    answer = await client.check_trading(credential)

    assert answer == NotPermitted(BrokerService.TRADING, -403, 403, body["message"])


@pytest.mark.parametrize("is_over", [True, False])
async def test_an_expired_session_sends_nothing(server, client, clock, is_over):
    """This holds for a closed lease and for the expiry time."""
    credential = make_credential()
    if is_over:
        credential.lease.is_closed = True
    else:
        await clock.advance_to(credential.expires_at)

    assert await client.check_trading(credential) == SessionDisconnected(BrokerService.TRADING)
    assert server.received == []


async def test_calls_that_wait_are_dropped_at_expiry(server, client_for, clock, credential):
    """A queued call must not reach Fyers after the lease is closed."""
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS))
    async with client_for(server.url, pacing=PacingLimits(per_second=2)) as client:
        calls = [asyncio.create_task(client.check_trading(credential)) for _ in range(4)]
        await server.wait_for(2)
        await calls[1]
        await clock.settle()

        credential.lease.is_closed = True
        await clock.advance(2)
        answers = await asyncio.gather(*calls)

    over = SessionDisconnected(BrokerService.TRADING)
    assert answers == [Answered(None), Answered(None), over, over]
    assert len(server.received) == 2


async def test_an_expired_session_is_not_retried(server, client, credential):
    """The session ended while its call failed."""
    server.next("/api/v3/funds", ScriptedReply(502, HTML, "text/html", how="hang"), ScriptedReply(body=FUNDS))
    call = asyncio.create_task(client.check_trading(credential))
    await server.wait_for(1)

    credential.lease.is_closed = True
    server.release.set()

    assert await call == SessionDisconnected(BrokerService.TRADING)
    assert len(server.received) == 1


async def test_only_verification_is_sent_during_verification(server, client, credential):
    """Other calls would use a token that may be refused."""
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS))
    credential.lease.is_under_verification = True

    assert await client.check_trading(credential) == SessionDisconnected(BrokerService.TRADING)
    assert await client.check_trading(credential.for_verification()) == Answered(None)


@pytest.mark.parametrize(
    "parts",
    [
        {"app_id": " HULLWATCH-100"},
        {"app_id": "HULLWATCH-100\r\nX-Other: 1"},
        {"token": AccessToken(f"{CANARY}\n")},
        {"token": AccessToken("tökén")},
        {"token": AccessToken("")},
    ],
)
async def test_an_impossible_header_is_not_sent(server, client, parts):
    """The HTTP library would quote the token in its error."""
    with capture_logs() as logs:
        answer = await client.check_trading(make_credential(**parts))

    assert answer == Unavailable(BrokerService.TRADING, cause="unsendable_header")
    assert server.received == []
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert CANARY not in repr(logs)


async def test_a_429_pauses_its_account_alone(server, client, clock, credential):
    """Calls of the account return at once, and another account is served."""
    limited = {"s": "error", "code": 429, "message": "request limit reached"}
    server.next("/data/marketStatus", ScriptedReply(429, limited, headers={"Retry-After": "5"}))
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))

    assert await client.check_data(credential) == RateLimited(BrokerService.DATA, 5.0)
    await clock.advance(2)
    assert await client.check_data(credential) == RateLimited(BrokerService.DATA, 3.0)
    assert await client.check_data(make_credential("bela", "XB00002")) == Answered(None)
    assert len(server.received) == 2

    await clock.advance(3)

    assert await client.check_data(credential) == Answered(None)


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(429, {"s": "error", "code": 429, "message": "request limit reached"}),
        ScriptedReply(
            429, {"code": -429, "message": "Request limit reached, refresh after few mins", "s": "error"}
        ),
        ScriptedReply(
            429, {"s": "error", "code": -353, "message": "API Limit exceeded overall per sec (per min)"}
        ),
        cloudflare_page(429),
        ScriptedReply(429, b""),
    ],
)
async def test_every_shape_of_429_is_a_limit(server, client, credential, reply):
    """Logs show four bodies, and an empty one is possible."""
    server.always("/data/marketStatus", reply)

    answer = await client.check_data(credential)

    assert isinstance(answer, RateLimited)
    assert answer.retry_after_s > 0
    assert len(server.received) == 1


async def test_a_call_with_a_long_wait_returns_at_once(server, client_for, clock, credential):
    """It names the seconds to wait, and nothing is queued."""
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))
    async with client_for(server.url, pacing=PacingLimits(per_second=5, per_minute=3)) as client:
        for _ in range(3):
            await client.check_data(credential)
        await clock.advance(20)

        assert await client.check_data(credential) == RateLimited(BrokerService.DATA, 40.0)
        assert len(server.received) == 3


async def test_a_hanging_account_uses_few_connections(server, client, clock, credential):
    """Another account is served meanwhile."""
    server.always("/data/marketStatus", ScriptedReply(how="hang", body=STATUS))
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS))
    calls = [asyncio.create_task(client.check_data(credential)) for _ in range(8)]
    await server.wait_for(4)
    await clock.settle()

    assert await client.check_trading(make_credential("bela", "XB00002")) == Answered(None)
    await clock.advance(5)
    given_up = [call for call in calls if call.done()]
    server.release.set()
    answers = await asyncio.gather(*calls)

    assert [call.result().cause for call in given_up] == ["too_many_in_flight"] * 4
    assert answers.count(Answered(None)) == 4
    assert len(server.received) == 5


async def test_an_outage_stops_calls_until_a_probe_succeeds(server, client, clock):
    """Several accounts must see the outage."""
    accounts = [make_credential(f"user{n}", f"XU{n:05}") for n in range(4)]
    server.always("/api/v3/funds", cloudflare_page(502))
    with capture_logs() as logs:
        for account in accounts:
            await client.check_trading(account)
        await clock.advance(UNANSWERED_FOR_S)
        assert len(server.received) == 12
        await client.check_trading(accounts[0])
        during = len(server.received)

        held = await client.check_trading(accounts[0])
        assert held.cause == "circuit_open"
        assert held.retry_after_s > 0
        assert len(server.received) == during

        server.always("/api/v3/funds", ScriptedReply(body=FUNDS))
        await clock.advance(held.retry_after_s + 0.01)
        assert await client.check_trading(accounts[1]) == Answered(None)
        assert await client.check_trading(accounts[2]) == Answered(None)

    ours = [entry["event"] for entry in logs if entry.get("component") == "FyersClient"]
    assert ours == ["fyers.calls_stopped", "fyers.calls_resumed"]


async def fetch_candles(client, credential):
    """Fetch an hour of candles."""
    end = datetime(2026, 11, 23, 5, tzinfo=UTC)
    return await client.candles(credential, SBIN, Resolution("5"), start=end - timedelta(hours=1), end=end)


@pytest.mark.parametrize("page", [cloudflare_page(502), ScriptedReply(500, {"s": "error", "code": -99})])
async def test_one_symbol_on_many_watchlists_stops_no_calls(server, client, clock, page):
    """The failure may concern the symbol alone, however many accounts see it."""
    accounts = [make_credential(f"user{n}", f"XU{n:05}") for n in range(4)]
    server.always("/data/history", page)
    server.always("/data/quotes", page)
    for _ in range(3):
        for account in accounts:
            assert (await fetch_candles(client, account)).http_status == page.status
            assert (await client.quotes(account, [SBIN])).http_status == page.status
        await clock.advance(UNANSWERED_FOR_S)

    assert all(report.opened_at is None for report in client.circuits())


async def test_failed_index_checks_stop_calls(server, client, clock):
    """During an outage the calls about an index fail too."""
    accounts = [make_credential(f"user{n}", f"XU{n:05}") for n in range(4)]
    server.always("/data/history", cloudflare_page(502))
    for account in accounts:
        await client.check_symbol(account, BrokerService.HISTORY, SBIN)
    await clock.advance(UNANSWERED_FOR_S)
    await client.check_symbol(accounts[0], BrokerService.HISTORY, SBIN)

    assert (await fetch_candles(client, accounts[1])).cause == "circuit_open"


async def test_a_forbidden_page_for_a_symbol_blocks_nothing(server, client):
    """A rule of Cloudflare may concern the characters of one symbol."""
    accounts = [make_credential(f"user{n}", f"XU{n:05}") for n in range(4)]
    server.always("/data/history", cloudflare_page(403))
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))
    for account in accounts:
        await fetch_candles(client, account)

        assert await client.check_data(account) == Answered(None)
    assert all(report.opened_at is None for report in client.circuits())


async def test_half_of_the_accounts_failing_stops_no_calls(server, client, clock):
    """Failures in a row by chance are no outage while others are answered."""
    failing = [make_credential(f"user{n}", f"XU{n:05}") for n in range(6)]
    healthy = make_credential("bela", "XB00002")
    server.always("/api/v3/funds", cloudflare_page(502))
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))
    for _ in range(4):
        for account in failing:
            await client.check_trading(account)

        assert await client.check_data(healthy) == Answered(None)
        await clock.advance(UNANSWERED_FOR_S / 2)


async def test_failures_of_one_account_stop_no_others(server, client_for, credential):
    """An outage needs failures of several accounts."""
    server.always("/api/v3/funds", cloudflare_page(502))
    async with client_for(server.url, pacing=ROOMY) as client:
        for _ in range(10):
            await client.check_trading(credential)
        server.always("/api/v3/funds", ScriptedReply(body=FUNDS))

        assert await client.check_trading(make_credential("bela", "XB00002")) == Answered(None)
    assert len(server.received) == 31


@pytest.mark.parametrize("status", [403, 429])
async def test_cloudflare_blocks_of_several_accounts_stop_all(server, client, status):
    """They mean a ban of this server's address, which further calls lengthen."""
    server.always("/data/marketStatus", cloudflare_page(status))
    for n in range(3):
        await client.check_data(make_credential(f"user{n}", f"XU{n:05}"))

    answer = await client.check_data(make_credential("other", "XO00001"))

    assert answer.cause == "cloudflare_blocked"
    assert answer.retry_after_s > 0
    assert len(server.received) == 3


async def test_one_blocked_account_pauses_alone(server, client, credential):
    """One block is no proof of a ban."""
    server.next("/data/marketStatus", cloudflare_page(429))
    server.always("/data/marketStatus", ScriptedReply(body=STATUS))

    first = await client.check_data(credential)
    again = await client.check_data(credential)

    assert isinstance(first, RateLimited)
    assert isinstance(again, RateLimited)
    assert await client.check_data(make_credential("bela", "XB00002")) == Answered(None)
    assert len(server.received) == 2


async def test_a_cancelled_probe_is_replaced(server, client, clock):
    """The next caller becomes the probe."""
    accounts = [make_credential(f"user{n}", f"XU{n:05}") for n in range(4)]
    server.always("/api/v3/funds", cloudflare_page(502))
    for account in accounts:
        await client.check_trading(account)
    await clock.advance(UNANSWERED_FOR_S)
    assert (await client.check_trading(accounts[0])).cause == "circuit_open"
    await clock.advance(60)
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS, how="hang"))
    received = len(server.received)
    probe = asyncio.create_task(client.check_trading(accounts[0]))
    await server.wait_for(received + 1)

    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    server.always("/api/v3/funds", ScriptedReply(body=FUNDS))

    assert await client.check_trading(accounts[1]) == Answered(None)


async def test_an_unreadable_reply_is_logged_once(server, client, credential):
    """The line has keys and types and no value."""
    body = {"s": "ok", "code": 200, "message": "", "data": {"fyId": CANARY}}
    server.always("/api/v3/profile", ScriptedReply(body=body))
    with capture_logs() as logs:
        first = await client.profile_id(credential)
        await client.profile_id(credential)

    assert first == UnreadableReply(BrokerService.PROFILE, cause="unreadable", http_status=200)
    (entry,) = logs
    assert entry["event"] == "fyers.reply_unreadable"
    assert entry["shape"] == "{s: str, code: int, message: str, data: {fyId: str}}"
    assert CANARY not in repr(logs)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 422, 429, 500])
async def test_an_echoed_secret_is_dropped(server, client_for, credential, status):
    """Fyers may repeat a token, hash, secret or code in its message."""
    code, refresh, pin = AuthCode("auth-code-canary"), RefreshToken("refresh-canary"), Pin("pin-canary")
    proof = hashlib.sha256(b"HULLWATCH-100:simulator").hexdigest()
    secrets = (CANARY, "auth-code-canary", "refresh-canary", "pin-canary", proof)
    for number in (-50, -437, -403, -16, -99, 200):
        echo = {"s": "error", "code": number, "message": f"no: {' '.join(secrets)}", CANARY: CANARY}
        server.always("/api/v3/funds", ScriptedReply(status, echo))
        server.always("/api/v3/validate-authcode", ScriptedReply(status, echo))
        server.always(RENEW, ScriptedReply(status, echo))
        with capture_logs() as logs:
            async with client_for(server.url) as client:
                results = [
                    await client.check_trading(credential),
                    await client.exchange_auth_code(APP, code),
                    await client.renew_access_token(APP, refresh, pin),
                ]
                shown = repr(results) + str(results) + repr(logs) + repr(credential) + repr(client.__dict__)

        assert len(server.received) >= 2
        assert not any(secret in shown for secret in secrets)


async def test_every_sent_request_is_counted(server, client_for, credential):
    """A call that was not sent must not appear in the metrics."""
    seen = []
    server.next("/api/v3/funds", cloudflare_page(502), ScriptedReply(body=FUNDS))
    async with client_for(
        server.url, on_call=lambda kind, word, seconds: seen.append((kind.path, word, seconds >= 0))
    ) as client:
        await client.check_trading(credential)
        credential.lease.is_closed = True
        await client.check_trading(credential)

    assert seen == [("/funds", "http_502", True), ("/funds", "ok", True)]


async def test_requests_of_a_session_are_counted_for_its_user(server, client_for, credential):
    """Admins see the calls of each account."""
    seen = []
    server.next("/api/v3/funds", cloudflare_page(502), ScriptedReply(body=FUNDS))
    async with client_for(
        server.url, on_session_call=lambda user_id, word: seen.append((user_id, word))
    ) as client:
        await client.check_trading(credential)
        await client.exchange_auth_code(APP, AuthCode("x"))
        credential.lease.is_closed = True
        await client.check_trading(credential)

    assert seen == [(credential.user_id, "http_502"), (credential.user_id, "ok")]


async def test_circuits_are_reported_by_name(client):
    """Both are closed while all is well."""
    assert {report.name for report in client.circuits()} == {"circuit_open", "cloudflare_blocked"}
    assert all(report.opened_at is None and report.retry_after_s == 0 for report in client.circuits())


ROW = "10100000003045,STATE BANK OF INDIA,0,1,0.05,INE062A01020,0915-1530|1815-1915:,2025-05-15,,NSE:SBIN-EQ,10,10,3045,SBIN,3045,-1.0,XX,10100000003045,None,1,3.6"
BSE_ROW = ROW.replace("NSE:SBIN-EQ,10,10", "BSE:SBIN-A,12,10").replace("10100000003045", "12100000500112")


async def test_instruments_come_from_both_exchanges(server, client):
    """The files of the two cash markets become one list."""
    server.always(
        "/sym_details/NSE_CM.csv",
        ScriptedReply(body=f"{ROW}\nbroken\n{ROW.replace('SBIN-EQ', 'TCS-EQ')}\n", content_type="text/csv"),
    )
    server.always("/sym_details/BSE_CM.csv", ScriptedReply(body=BSE_ROW, content_type="text/csv"))

    answer = await client.instruments()

    assert [instrument.symbol.text for instrument in answer.value] == [
        "NSE:SBIN-EQ",
        "NSE:TCS-EQ",
        "BSE:SBIN-A",
    ]
    assert all("Authorization" not in received.headers for received in server.received)


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (cloudflare_page(200), "unreadable"),
        (cloudflare_page(503), "http_503"),
        (cloudflare_page(404), "http_404"),
    ],
)
async def test_a_failed_file_gives_no_instruments(server, client, reply, cause):
    """A list of one exchange would look like delisted symbols."""
    server.always("/sym_details/NSE_CM.csv", ScriptedReply(body=ROW, content_type="text/csv"))
    server.always("/sym_details/BSE_CM.csv", reply)

    answer = await client.instruments()

    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


async def test_only_an_empty_nse_file_is_a_failure(server, client):
    """The file of the BSE may be empty."""
    server.always("/sym_details/NSE_CM.csv", ScriptedReply(body=ROW, content_type="text/csv"))
    server.always("/sym_details/BSE_CM.csv", ScriptedReply(body=b"", content_type="text/csv"))
    assert [instrument.symbol for instrument in (await client.instruments()).value] == [SBIN]

    server.always("/sym_details/NSE_CM.csv", ScriptedReply(body=b"", content_type="text/csv"))

    assert await client.instruments() == Unavailable(BrokerService.PUBLIC, "empty_body", 200)
