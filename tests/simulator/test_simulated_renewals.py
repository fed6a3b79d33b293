"""Refresh tokens at the simulated broker are refused, as at Fyers, until a control call enables them."""

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from hullwatch.simulator.tokens import claims_in

APP_HASH = hashlib.sha256(b"HULLWATCH-100:simulator").hexdigest()
RENEW = "/api/v3/validate-refresh-token"


async def log_in(simulator, fyers_id: str = "XA00001", **person) -> str:
    """Log in on the login page and return the refresh token."""
    await simulator.control("POST", "/accounts", {"fyersId": fyers_id, **person})
    query = {
        "client_id": "HULLWATCH-100", "redirect_uri": "http://127.0.0.1:9/back", "response_type": "code", "fyersId": fyers_id,
    }  # fmt: skip
    path = "/api/v3/generate-authcode"
    async with simulator.http.get(path, params=query, allow_redirects=False) as page:
        code = parse_qs(urlsplit(page.headers["Location"]).query)["auth_code"][0]
    body = {"grant_type": "authorization_code", "appIdHash": APP_HASH, "code": code}
    _, answer = await simulator.call("/api/v3/validate-authcode", method="POST", json=body)
    return answer["refresh_token"]


async def renew(simulator, token: str, **changes):
    """Request a session with a refresh token."""
    body = {"grant_type": "refresh_token", "appIdHash": APP_HASH, "refresh_token": token, "pin": "1234"}
    return await simulator.call(RENEW, method="POST", json={**body, **changes})


@pytest.fixture
async def token(simulator) -> str:
    """Return Asha's refresh token at a broker that accepts it."""
    await simulator.control("POST", "/refresh", {"isOffered": True})
    return await log_in(simulator)


async def test_a_good_token_brings_a_session_and_no_other_refresh_token(simulator, token):
    """It can be used again for two weeks; each session lasts until the next 06:00 IST."""
    status, answer = await renew(simulator, token)

    assert (status, set(answer)) == (200, {"s", "code", "message", "access_token"})
    assert (await simulator.call("/api/v3/profile", answer["access_token"]))[1]["data"]["fy_id"] == "XA00001"
    assert claims_in(answer["access_token"])["exp"] < claims_in(token)["exp"]
    assert (await renew(simulator, token))[0] == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"grant_type": "authorization_code"}, 400, -441),
        ({"appIdHash": None}, 200, -371),
        ({"appIdHash": hashlib.sha256(b"HULLWATCH:simulator").hexdigest()}, 400, -5),
        ({"refresh_token": "made.up.token"}, 400, -501),
        ({"refresh_token": None}, 400, -501),
        ({"refresh_token": "härter"}, 400, -501),
        ({"pin": "4321"}, 400, -1049),
        ({"pin": 1234}, 400, -1049),
        ({"pin": None}, 400, -1049),
    ],
)
async def test_every_wrong_renewal_has_its_own_answer(simulator, token, changes, status, code):
    """Each mistake is answered with its own code."""
    refused, answer = await renew(simulator, token, **changes)

    assert (refused, answer["s"], answer["code"]) == (status, "error", code)


async def test_a_changed_or_foreign_token_is_refused(simulator, token):
    """The broker checks the signature, the app and the kind of the token."""
    other = {"appId": "OTHER-100", "secret": "x", "redirectUri": "http://127.0.0.1:9/back"}
    await simulator.control("POST", "/apps", other)
    other_hash = hashlib.sha256(b"OTHER-100:x").hexdigest()
    head, body, signature = token.split(".")
    access = (await simulator.control("POST", "/accounts/XA00001/token", {}))[1]["accessToken"]

    for wrong in (f"{head}.{body}.{signature[::-1]}", f"{head}.{body[:-2]}AA.{signature}", access, body):
        assert (await renew(simulator, wrong))[1]["code"] == -501
    assert (await renew(simulator, token, appIdHash=other_hash))[1]["code"] == -501
    assert (await renew(simulator, token))[0] == 200


async def test_a_refresh_token_expires(simulator, token):
    """It is refused from the expiry in the token on."""
    left_s = claims_in(token)["exp"] - simulator.server.broker.clock.epoch()

    simulator.time.value += left_s - 1
    assert (await renew(simulator, token))[0] == 200
    simulator.time.value += 1
    assert (await renew(simulator, token))[1]["code"] == -501


async def test_every_account_has_a_pin(simulator):
    """The PIN is 1234 unless another one was set."""
    await simulator.control("POST", "/refresh", {"isOffered": True})
    token = await log_in(simulator, "XB00002", pin="998877")

    assert (await renew(simulator, token))[1]["code"] == -1049
    assert (await renew(simulator, token, pin="998877"))[0] == 200
    status, answer = await simulator.control("POST", "/accounts", {"fyersId": "XB00002", "pin": "12"})
    assert (status, answer["field"]) == (422, "pin")


async def test_renewed_tokens_can_be_refused_everywhere(simulator, token):
    """The renewal succeeds, and every service refuses its token."""
    await simulator.control("POST", "/refresh", {"isOffered": True, "kind": "dead_tokens"})

    status, answer = await renew(simulator, token)

    assert status == 200
    for path in ("/api/v3/profile", "/api/v3/funds", "/data/marketStatus"):
        assert (await simulator.call(path, answer["access_token"]))[0] == 401


async def test_the_offer_is_read_and_withdrawn(simulator, token):
    """After the withdrawal every token is refused with Fyers' message."""
    assert (await simulator.control("GET", "/refresh"))[1] == {"isOffered": True, "kind": "offered"}
    await simulator.control("POST", "/refresh", {"isOffered": False})

    status, answer = await renew(simulator, token)

    assert (status, answer["code"]) == (400, -16)
    assert "SEBI" in answer["message"]
    assert (await simulator.control("GET", "/refresh"))[1] == {"isOffered": False, "kind": "disabled"}


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({}, "isOffered"),
        ({"isOffered": "yes"}, "isOffered"),
        ({"isOffered": True, "kind": "disabled"}, "kind"),
        ({"isOffered": False, "kind": "offered"}, "kind"),
        ({"isOffered": True, "kind": ["offered"]}, "kind"),
    ],
)
async def test_an_invalid_control_call_is_refused(simulator, order, field):
    """The error names the field, and nothing changes."""
    status, answer = await simulator.control("POST", "/refresh", order)

    assert (status, answer["field"]) == (422, field)
    assert (await simulator.control("GET", "/refresh"))[1]["isOffered"] is False
