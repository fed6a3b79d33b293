"""The login of the simulated broker: page, redirect, code exchange, tokens."""

import hashlib
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest

APP_HASH = hashlib.sha256(b"HULLWATCH-100:simulator").hexdigest()
LOGIN = {
    "client_id": "HULLWATCH-100", "redirect_uri": "http://127.0.0.1:8000/back?keep=1", "response_type": "code",
    "state": "st&te",
}  # fmt: skip


async def login(simulator, **query):
    """Request the login page without following redirects; return status, location's query and text."""
    async with simulator.http.get(
        "/api/v3/generate-authcode", params=LOGIN | query, allow_redirects=False
    ) as response:
        location = response.headers.get("Location", "")
        return response.status, dict(parse_qsl(urlsplit(location).query)), await response.text()


async def exchange(simulator, **body):
    """Exchange a code; a field set to None is left out."""
    order = {"grant_type": "authorization_code", "appIdHash": APP_HASH, "code": "x"} | body
    order = {name: value for name, value in order.items() if value is not None}
    return await simulator.call("/api/v3/validate-authcode", method="POST", json=order)


@pytest.fixture
async def code(simulator):
    """Return a fresh auth code of XA00001."""
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001", "name": "Asha"})
    _, query, _ = await login(simulator, fyersId="XA00001")
    return query["auth_code"]


async def test_a_named_person_is_redirected_at_once(simulator):
    """With fyersId, the login redirects with code, state and the address's own query."""
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001", "name": "Asha"})

    status, query, _ = await login(simulator, fyersId="XA00001")

    assert status == 302
    assert (query["s"], query["code"], query["state"], query["keep"]) == ("ok", "200", "st&te", "1")
    claims = jwt.decode(query["auth_code"], options={"verify_signature": False})
    assert claims["sub"] == "auth_code"
    assert claims["app_id"] == "HULLWATCH"
    assert claims["exp"] - claims["iat"] == 30_000
    assert isinstance(claims["aud"], str)


async def test_the_page_escapes_what_it_shows(simulator):
    """No value of the query and no name becomes markup."""
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001", "name": "<b>Asha"})

    status, _, page = await login(simulator, state='"><script>alert(1)</script>')

    assert status == 200
    assert "<script>" not in page
    assert "<b>Asha" not in page
    assert "&lt;b&gt;Asha" in page


async def test_a_person_may_refuse(simulator):
    """The redirect has s=error, a negative code, a message and the state."""
    status, query, _ = await login(simulator, decision="refuse")

    assert status == 302
    assert query["s"] == "error"
    assert int(query["code"]) < 0
    assert query["message"]
    assert query["state"] == "st&te"
    assert "auth_code" not in query


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_id": "NOBODY-100"}, -352),
        ({"redirect_uri": "https://evil.example/back"}, -50),
        ({"redirect_uri": "javascript://127.0.0.1/%0aalert(1)"}, -50),
        ({"redirect_uri": "http://127.0.0.1.evil.example/"}, -50),
        ({"response_type": "token"}, -50),
        ({"fyersId": "NOBODY"}, -50),
    ],
)
async def test_an_invalid_login_request_is_refused(simulator, change, code):
    """Unknown apps, foreign redirect addresses and unknown people are never redirected."""
    async with simulator.http.get(
        "/api/v3/generate-authcode", params=LOGIN | change, allow_redirects=False
    ) as response:
        answer = await response.json()

    assert response.status == 400
    assert answer["s"] == "error"
    assert answer["code"] == code


async def test_an_own_app_takes_its_own_redirect_address_only(simulator):
    """The redirect address must equal the registered one."""
    app = {"appId": "MINE-200", "secret": "hush", "redirectUri": "https://example.org/cb"}
    await simulator.control("POST", "/apps", app)
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001", "name": "Asha"})

    wrong, _, _ = await login(simulator, client_id="MINE-200", fyersId="XA00001")
    right, query, _ = await login(
        simulator, client_id="MINE-200", fyersId="XA00001", redirect_uri="https://example.org/cb"
    )
    app_hash = hashlib.sha256(b"MINE-200:hush").hexdigest()
    _, answer = await exchange(simulator, code=query["auth_code"], appIdHash=app_hash)

    assert (wrong, right) == (400, 302)
    assert jwt.decode(answer["access_token"], options={"verify_signature": False})["appType"] == 200


async def test_a_code_becomes_a_token_that_expires_at_six(simulator, code):
    """The exchange returns both tokens; the access token expires at the next 06:00 IST."""
    status, answer = await exchange(simulator, code=code)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})

    assert status == 200
    assert answer["s"] == "ok"
    assert answer["refresh_token"]
    assert claims["fy_id"] == "XA00001"
    assert claims["iss"] == "api.fyers.in"
    assert len(claims["hsm_key"]) == 56
    assert isinstance(claims["aud"], list)
    assert datetime.fromtimestamp(claims["exp"]).astimezone().isoformat() == (
        datetime.fromisoformat("2026-11-24T06:00:00+05:30").astimezone().isoformat()
    )
    assert (await simulator.call("/api/v3/profile", answer["access_token"]))[1]["data"]["fy_id"] == "XA00001"


async def test_a_login_before_six_expires_the_same_morning(simulator):
    """A token issued at 03:23 IST is valid for 2 h 37 min."""
    simulator.time.value += 17 * 3600 + 15 * 60 + 30
    token = await simulator.person()

    claims = jwt.decode(token, options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == 2 * 3600 + 37 * 60


async def test_a_code_is_valid_once(simulator, code):
    """The second exchange of the same code is refused."""
    await exchange(simulator, code=code)

    status, answer = await exchange(simulator, code=code)

    assert status == 400
    assert answer == {"s": "error", "code": -437, "message": "invalid auth code"}


async def test_a_code_expires(simulator, code):
    """A code older than 30,000 s is refused."""
    simulator.time.value += 30_000

    assert (await exchange(simulator, code=code))[1]["code"] == -437


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"code": "made-up"}, 400, -437),
        ({"appIdHash": None}, 200, -371),
        ({"appIdHash": hashlib.sha256(b"HULLWATCH:simulator").hexdigest()}, 400, -5),
        ({"grant_type": "password"}, 400, -441),
        ({"code": None}, 400, -374),
        ({"code": 5}, 400, -374),
    ],
)
async def test_every_wrong_exchange_has_its_own_answer(simulator, body, status, code):
    """The codes are those of Fyers."""
    refused, answer = await exchange(simulator, **body)

    assert (refused, answer["s"], answer["code"]) == (status, "error", code)


async def test_refresh_tokens_are_disabled(simulator):
    """Every body gets the same refusal, even an unreadable one."""
    status, answer = await simulator.call("/api/v3/validate-refresh-token", method="POST", data=b"nonsense")

    assert status == 400
    assert answer["code"] == -16
    assert "SEBI" in answer["message"]


@pytest.mark.parametrize(
    ("path", "method"), [("/api/v3/generate-authcode", "GET"), ("/api/v3/validate-authcode", "POST")]
)
async def test_faults_reach_the_login_too(simulator, path, method):
    """A page of Cloudflare can replace the login page and the exchange."""
    await simulator.control("POST", "/faults", {"kind": "html_page", "path": path, "status": 503, "count": 1})

    status, text = await simulator.call(path, method=method)
    again, _ = await simulator.call(path, method=method)

    assert (status, again) == (503, 400)
    assert text.startswith("<!DOCTYPE html>")


async def test_a_skewed_broker_writes_skewed_tokens(simulator, code):
    """The times in a new token are shifted; its true expiry is not."""
    await simulator.control("POST", "/faults", {"kind": "clock_skew", "seconds": 7200})

    _, answer = await exchange(simulator, code=code)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False, "verify_iat": False})

    assert claims["iat"] == int(simulator.server.broker.clock.epoch()) + 7200
    assert (await simulator.call("/api/v3/profile", answer["access_token"]))[0] == 200


async def test_login_pages_are_not_counted_but_exchanges_are(simulator, code):
    """An exchange counts for no account."""
    await exchange(simulator, code=code)

    _, calls = await simulator.control("GET", "/calls")
    assert calls["byPath"] == {"/api/v3/validate-authcode": 1}
