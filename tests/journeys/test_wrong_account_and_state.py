"""Logins with another Fyers account, and redirects that are foreign, used or too old."""

from urllib.parse import urlencode

import pytest

from journeys.browser import Browser
from journeys.environment import Environment


@pytest.fixture
async def asha(environment: Environment) -> Browser:
    """Return a user who is connected."""
    browser = environment.browser("Asha", "FY00001", "NSE:SBIN-EQ")
    await browser.register()
    for fyers_id in ("FY00001", "FY00002"):
        await environment.broker.add_account(fyers_id)
    await browser.connect()
    return browser


@pytest.fixture
async def ravi(environment: Environment, asha: Browser) -> Browser:
    """Return another user, not connected yet."""
    browser = environment.browser("Ravi", "FY00002", "NSE:INFY-EQ")
    await browser.register()
    return browser


async def test_wrong_account_guard(environment: Environment, asha: Browser) -> None:
    """A login with another account is refused with both ids, unless the user has confirmed the switch."""
    before = await asha.connection()
    refused = await asha.request("GET", await asha.begin_login(fyers_id="FY00002"))

    assert refused.status == 409
    assert refused.json["type"] == "urn:hullwatch:problem:wrong-account"
    assert "FY00002" in refused.json["detail"]
    assert "FY00001" in refused.json["detail"]
    assert await asha.connection() == before
    assert (await asha.quotes())["outcome"] == "ok"

    confirmed = await asha.request("GET", await asha.begin_login(fyers_id="FY00002", switchAccount=True))

    assert confirmed.status == 303
    assert (await asha.connection())["fyersId"] == "FY00002"


async def test_an_account_stays_linked_while_disconnected(environment: Environment, asha: Browser) -> None:
    """A login with another account is refused then too, so that no watchlist changes its owner unnoticed."""
    await asha.call("POST", "/api/fyers/disconnect")

    refused = await asha.request("GET", await asha.begin_login(fyers_id="FY00002"))

    assert refused.status == 409
    connection = await asha.connection()
    assert (connection["state"], connection["reason"]) == ("disconnected", "signed_out")


async def test_foreign_and_reused_state(environment: Environment, asha: Browser, ravi: Browser) -> None:
    """A redirect works once and only in its browser, not with changed parameters."""
    mine = await asha.begin_login()
    foreign = await ravi.request("GET", mine)
    assert foreign.status == 400
    assert foreign.json["type"] == "urn:hullwatch:problem:link-refused"
    assert (await ravi.connection())["state"] == "never_connected"

    used = await asha.request("GET", mine)
    assert used.status == 400  # the other browser may have copied it, so the login must start again

    again = await asha.begin_login()
    assert (await asha.request("GET", again)).status == 303
    connected = await asha.connection()
    assert (await asha.request("GET", again)).status == 400
    assert (await asha.request("GET", again.replace("state=", "state=x"))).status == 400
    assert (await asha.request("GET", again.partition("?")[0])).status == 400
    assert await asha.connection() == connected


async def test_pasting_somebody_elses_redirect(
    environment: Environment, asha: Browser, ravi: Browser
) -> None:
    """A user cannot connect with the redirect address of another user."""
    theirs = await asha.begin_login()

    pasted = await ravi.request("POST", "/api/fyers/authorize", {"authCode": theirs})

    assert pasted.status == 400
    assert (await ravi.connection())["state"] == "never_connected"


async def test_the_browser_that_began_may_finish_signed_out(
    environment: Environment, asha: Browser, ravi: Browser
) -> None:
    """A logout from hullwatch does not stop a login at Fyers. Only another browser cannot finish it."""
    await environment.advance(5)
    redirect = await asha.begin_login()
    await asha.call("POST", "/api/auth/logout")
    finished = await asha.request("GET", redirect)
    assert finished.status == 303

    login = {"email": asha.email, "password": asha.password}
    await asha.call("POST", "/api/auth/login", login)
    assert (await asha.connection())["connectedAt"] is not None
    stolen = await asha.begin_login()
    nobody = environment.browser("Nobody")
    assert (await nobody.request("GET", stolen)).status == 400


async def test_a_state_lasts_ten_minutes(environment: Environment, asha: Browser) -> None:
    """A later redirect is refused, and the present session stays connected."""
    before = await asha.connection()
    redirect = await asha.begin_login()
    await environment.advance(601)

    late = await asha.request("GET", redirect)

    assert late.status == 400
    assert (await asha.connection())["connectedAt"] == before["connectedAt"]


async def test_a_refusal_at_fyers_changes_nothing(environment: Environment, asha: Browser) -> None:
    """After Refuse on the page of Fyers, or with a wrong auth code, the present session stays connected."""
    before = await asha.connection()
    url = (await asha.call("POST", "/api/fyers/connect"))["url"]
    page = await asha.request("GET", f"{url}&decision=refuse")
    refused = await asha.request("GET", page.header("location"))
    assert refused.status == 400

    url = (await asha.call("POST", "/api/fyers/connect"))["url"]
    state = url.partition("state=")[2].partition("&")[0]
    query = urlencode({"s": "ok", "code": "200", "auth_code": "no-such-code", "state": state})
    wrong = await asha.request("GET", f"/api/fyers/callback?{query}", Accept="text/html")
    assert wrong.status == 400
    assert "text/html" in wrong.header("content-type")
    assert "no-such-code" not in wrong.text
    assert await asha.connection() == before
