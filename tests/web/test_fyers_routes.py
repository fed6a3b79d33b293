"""Linking a Fyers account over HTTP; `hullwatch.web.api.fyers`."""

import httpx2
import pytest
from fakes.broker import AccountState

from hullwatch.domain.failures import BrokerService, Unavailable
from hullwatch.runtime.circuit import CircuitReport, CircuitState
from web.web_environment import APP_SECRET


async def begin(client: httpx2.AsyncClient) -> str:
    """Begin a login and return its state."""
    return httpx2.URL((await client.post("/api/fyers/connect")).json()["url"]).params["state"]


def redirect(env, state: str, fyers_id: str = "XA001") -> dict[str, str]:
    """Return the query of Fyers' redirect."""
    return {
        "s": "ok",
        "code": "200",
        "auth_code": env.broker.issue_auth_code(fyers_id).reveal(),
        "state": state,
    }


async def test_round_trip_ends_on_the_dashboard(env):
    """A finished login leads to the dashboard by 303, so that a reload does not repeat it, and the session stands."""
    async with env.browser("asha") as client:
        before = (await client.get("/api/fyers/status")).json()
        answer = await client.get("/api/fyers/callback", params=redirect(env, await begin(client)))
        after = (await client.get("/api/fyers/status")).json()

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert before["state"] == "never_connected"
    assert after["state"] == "connected"
    assert after["fyersId"] == "XA001"
    assert set(after) == {
        "state", "reason", "message", "verified", "expiresAt", "connectedAt", "lastValidatedAt", "lastDisconnectTime",
        "fyersId", "incidentId",
    }  # fmt: skip


async def test_nonce_cookie_goes_to_the_callback_only(env):
    """The cookie that binds a login to its browser is HttpOnly and sent nowhere else."""
    async with env.browser("asha") as client:
        answer = await client.post("/api/fyers/connect")

    parts = {part.strip() for part in answer.headers["set-cookie"].split(";")}
    assert {"HttpOnly", "SameSite=lax", "Path=/api/fyers/callback"} <= parts


async def test_browser_that_was_signed_out_can_complete_the_login(env):
    """The nonce identifies the browser after its hullwatch login was ended."""
    async with env.browser("asha") as client:
        state = await begin(client)
        await client.post("/api/auth/logout")
        answer = await client.get("/api/fyers/callback", params=redirect(env, state))

    assert answer.status_code == 303


async def test_other_browser_is_refused(env):
    """A redirect is refused in a browser that did not start the login, signed in or not."""
    async with env.browser("asha") as client, env.browser("biren") as other, env.client() as nobody:
        for browser in (other, nobody):
            answer = await browser.get("/api/fyers/callback", params=redirect(env, await begin(client)))
            assert answer.status_code == 400
            assert answer.json()["type"] == "urn:hullwatch:problem:link-refused"
        status = await client.get("/api/fyers/status")

    assert status.json()["state"] == "never_connected"


@pytest.mark.parametrize(
    "query", ["", "state=x", "state=x&auth_code=y&s=ok", "s=error&code=-1&message=<b>no</b>"]
)
async def test_refused_callback_is_a_page_for_people(env, query):
    """A browser gets a page in plain words, which quotes nothing from the address and runs no script."""
    async with env.browser("asha") as client:
        answer = await client.get(f"/api/fyers/callback?{query}", headers={"Accept": "text/html,*/*"})

    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "Start again" in answer.text
    assert "<b>" not in answer.text
    assert "<script" not in answer.text


async def test_wrong_account_is_refused_unless_switching(env):
    """Another Fyers id is refused with 409 unless the user chose to switch."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        refused = await client.get("/api/fyers/callback", params=redirect(env, await begin(client), "XB002"))
        url = (await client.post("/api/fyers/connect", json={"switchAccount": True})).json()["url"]
        state = httpx2.URL(url).params["state"]
        done = await client.get("/api/fyers/callback", params=redirect(env, state, "XB002"))

    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:hullwatch:problem:wrong-account"
    assert done.status_code == 303


async def test_pasted_code_connects(env):
    """A code pasted by hand answers the connection."""
    async with env.browser("asha") as client:
        code = env.broker.issue_auth_code("XA001").reveal()
        answer = await client.post("/api/fyers/authorize", json={"authCode": code})
        again = await client.post("/api/fyers/authorize", json={"authCode": code})

    assert answer.json()["state"] == "connected"
    assert again.status_code == 400


async def test_unavailable_fyers_is_503(env):
    """The auth code could not be exchanged, so the user has to start again."""

    async def down(app, code):
        return Unavailable(BrokerService.LOGIN, cause="timeout", retry_after_s=7)

    env.broker.exchange_auth_code = down
    async with env.browser("asha") as client:
        answer = await client.post("/api/fyers/authorize", json={"authCode": "some-code"})

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["type"] == "urn:hullwatch:problem:fyers-unavailable"


async def test_app_is_stored_and_read_without_its_secret(env):
    """Reads of the Fyers app give its id and address, never its secret."""
    body = {"appId": "OWNAPP1-100", "secret": "ownsecret99", "redirectUri": "https://own.in/back"}
    async with env.browser("asha") as client:
        server = await client.get("/api/fyers/app")
        put = await client.put("/api/fyers/app", json=body)
        own = await client.get("/api/fyers/app")
        bad = await client.put("/api/fyers/app", json=body | {"appId": "nonsense"})
        gone = await client.delete("/api/fyers/app")
        after = await client.get("/api/fyers/app")

    assert (
        server.json()
        == after.json()
        == {
            "appId": "HULLWATCH-100",
            "redirectUri": "http://127.0.0.1:8000/api/fyers/callback",
            "isOwn": False,
        }
    )
    assert (
        put.json()
        == own.json()
        == {"appId": "OWNAPP1-100", "redirectUri": "https://own.in/back", "isOwn": True}
    )
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["field"] == "appId"
    assert gone.status_code == 204
    assert APP_SECRET not in server.text


async def test_disconnect_answers_the_new_state(env):
    """The answer does not depend on Fyers."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.HANGING)
        answer = (await client.post("/api/fyers/disconnect")).json()

    assert (answer["state"], answer["reason"]) == ("disconnected", "signed_out")
    assert "on 23 Nov 2026, 09:30 IST" in answer["message"]
    assert "Log in to Fyers again" in answer["message"]


async def test_expired_session_has_a_sentence(env):
    """After 06:00 IST the sentence has the time, the reason and the next step."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.connections.start_jobs()
        await env.clock.advance(24 * 3600)
        answer = (await client.get("/api/fyers/status")).json()

    assert (answer["state"], answer["reason"]) == ("disconnected", "expired")
    assert answer["message"].startswith(
        "Your Fyers session expired on 24 Nov 2026, 06:00 IST. Fyers sessions expire every day."
    )


async def test_a_browser_at_another_address_gets_advice(env):
    """It is refused before it goes to Fyers, can go on all the same, and a program is not refused."""
    async with env.browser("asha") as client:
        await client.put(
            "/api/fyers/app",
            json={
                "appId": "ABCD1234XY-100",
                "secret": APP_SECRET,
                "redirectUri": "http://127.0.0.1:8000/api/fyers/callback",
            },
        )
        browser = {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
        refused = await client.post("/api/fyers/connect", headers=browser)
        forced = await client.post("/api/fyers/connect", headers=browser, json={"ignoreAddress": True})
        fitting = await client.post("/api/fyers/connect", headers={"Origin": "http://127.0.0.1:8000"})

    problem = refused.json()
    assert (refused.status_code, problem["type"]) == (409, "urn:hullwatch:problem:login-address-differs")
    assert problem["advice"] == {
        "difference": "open_other_address",
        "message": problem["detail"],
        "openAt": "http://127.0.0.1:8000",
        "redirectUri": "http://localhost:8000/api/fyers/callback",
    }
    assert forced.json()["advice"]["difference"] == "open_other_address"
    assert (fitting.status_code, fitting.json()["advice"]) == (200, None)


async def test_a_program_gets_advice_and_pastes_the_code(env):
    """Its app redirects elsewhere, and the pasted code connects."""
    async with env.browser("asha") as client:
        await client.put(
            "/api/fyers/app",
            json={
                "appId": "ABCD1234XY-100",
                "secret": APP_SECRET,
                "redirectUri": "https://elsewhere.example/back",
            },
        )
        begun = await client.post("/api/fyers/connect")
        code = env.broker.issue_auth_code("XA001").reveal()
        connected = await client.post("/api/fyers/authorize", json={"authCode": code})

    assert begun.status_code == 200
    assert begun.json()["advice"]["difference"] == "returns_elsewhere"
    assert connected.json()["state"] == "connected"


async def test_a_browser_is_asked_before_a_login_in_an_outage(env):
    """A circuit is open; the login can be begun all the same, and a program is not asked."""
    opened = CircuitReport("circuit_open", CircuitState.OPEN, env.clock.now(), 30.0)
    origin = {"Origin": "http://127.0.0.1:8000"}
    async with env.browser("asha") as client:
        env.circuits = [opened]
        asked = await client.post("/api/fyers/connect", headers=origin)
        forced = await client.post("/api/fyers/connect", headers=origin, json={"ignoreOutage": True})
        program = await client.post("/api/fyers/connect")

    assert (asked.status_code, asked.json()["type"]) == (409, "urn:hullwatch:problem:fyers-outage")
    assert (forced.status_code, program.status_code) == (200, 200)
