"""Login links over HTTP; `hullwatch.web.api.reconnect` and `hullwatch.web.link_page`."""

import re

import httpx2
import pytest
from fakes.clock import FakeClock

from hullwatch.domain.users.accounts import Role
from hullwatch.web.config import WebConfig
from web.web_environment import BASE, WebEnvironment, make_supervisor

FYERS = "XA00123"
AS_PAGE = {"Accept": "text/html"}


@pytest.fixture
async def link(env) -> str:
    """The value of a link for Asha, whose session is over."""
    async with env.browser("asha") as client:
        await env.link(client, FYERS)
        await client.post("/api/fyers/disconnect")
        await client.post("/api/auth/logout")
    (user_id,) = env.store.tables.users
    address = await env.login_links.link_for(user_id)
    page, _, value = address.reveal().partition("#")
    assert page == f"{BASE}/reconnect"
    return value


async def ask(client: httpx2.AsyncClient, what: str, link: str) -> httpx2.Response:
    """Ask as the page does."""
    return await client.post(f"/api/reconnect/{what}", json={"link": link})


async def press(client: httpx2.AsyncClient, link: str) -> str:
    """Press the button and return the state of the login."""
    answer = await ask(client, "begin", link)
    assert answer.status_code == 200, answer.text
    return httpx2.URL(answer.json()["url"]).params["state"]


async def come_back(env, client: httpx2.AsyncClient, state: str, fyers_id: str = FYERS, **options):
    """Come back from Fyers."""
    code = env.broker.issue_auth_code(fyers_id).reveal()
    query = {"s": "ok", "code": "200", "auth_code": code, "state": state}
    return await client.get("/api/fyers/callback", params=query, **options)


def asha(env):
    """Return the connection of the link's user."""
    (found,) = (one for one in env.connections.connections() if one.fyers_id == FYERS)
    return found


def kind(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and kind of a problem."""
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/reconnect", "/reconnect/done", "/reconnect.js", "/reconnect.css"])
async def test_opening_the_page_changes_nothing(env, link, method, path):
    """Mail scanners fetch links; every request gets the same page and stores nothing."""
    before = env.store.tables.copy()
    async with env.client() as client:
        plain = await client.request(method, path)
        with_query = await client.request(method, f"{path}?link={link}")

    assert plain.status_code == 200
    assert plain.text == with_query.text
    assert "set-cookie" not in plain.headers
    assert env.store.tables == before


async def test_the_page_runs_under_the_strict_policy(env):
    """It brings its own script and style from here, has nothing inline and nothing foreign, and says what to do without JavaScript."""
    async with env.client() as client:
        page = await client.get("/reconnect")

    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page.text)) == {
        "/reconnect.css",
        "/reconnect.js",
        "/",
        "data:,",
    }
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]* src=)", page.text)
    assert "sign in to hullwatch" in page.text.partition("<noscript>")[2]


# ---------------------------------------------------------------- the link


async def test_an_opened_link_shows_masked_details(env, link):
    """E-mail address and Fyers id are masked, and opening changes nothing."""
    before = env.store.tables.copy()
    async with env.client() as client:
        answer = await ask(client, "open", link)

    seen = answer.json()
    assert env.store.tables == before
    assert seen == {
        "requestedBy": "hullwatch",
        "requestedAt": "2026-11-23T04:00:00Z",
        "message": "You disconnected Fyers on 23 Nov 2026, 09:30 IST. Log in to Fyers again.",
        "email": "a•••@b.in",
        "fyersId": "XA•••23",
        "expiresAt": "2026-11-23T05:00:00Z",
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_a_phone_that_is_not_signed_in_connects(env, link):
    """The last page shows the expiry, and the browser is not signed in to hullwatch."""
    async with env.client() as client:
        await ask(client, "open", link)
        back = await come_back(env, client, await press(client, link))
        done = await client.get(back.headers["location"])
        me = await client.get("/api/auth/me")

        assert (back.status_code, back.headers["location"]) == (303, "/reconnect/done")
        assert "hullwatch_session" not in client.cookies

    assert "You are connected until 24 Nov 2026, 06:00 IST" in done.text
    assert "You can close this page" in done.text
    assert me.status_code == 401
    assert asha(env).has_session


async def test_the_last_page_without_a_cookie_shows_no_time(env):
    """An invalid cookie is not quoted."""
    async with env.client() as client:
        plain = await client.get("/reconnect/done")
        odd = await client.get("/reconnect/done", headers={"Cookie": "hullwatch_until=<b>2099"})

    assert plain.text == odd.text
    assert "You are connected." in plain.text


async def test_a_signed_in_browser_continues_to_the_dashboard(env, link):
    """The user of the link is signed in there."""
    async with env.client() as client:
        login = {"email": "asha@b.in", "password": "correct horse battery"}
        await client.post("/api/auth/login", json=login)
        back = await come_back(env, client, await press(client, link))

    assert (back.status_code, back.headers["location"]) == (303, "/")


async def test_a_failed_login_leads_back_to_the_link(env, link):
    """Another Fyers account is refused by a page that offers no switch; the same link goes on."""
    async with env.client() as client:
        wrong = await come_back(env, client, await press(client, link), "XB00999", headers=AS_PAGE)
        right = await come_back(env, client, await press(client, link))

    assert wrong.status_code == 409
    assert "href='/reconnect'" in wrong.text
    assert "switch" not in wrong.text
    assert FYERS not in wrong.text
    assert right.status_code == 303


async def test_a_used_link_is_invalid_everywhere(env, link):
    """After the login neither the link nor the redirect can be used again, in any browser."""
    async with env.client() as client, env.client() as other:
        state = await press(client, link)
        assert (await come_back(env, client, state)).status_code == 303
        generation = asha(env).generation
        replays = [
            kind(await ask(browser, what, link)) for browser in (client, other) for what in ("open", "begin")
        ]
        back = [kind(await come_back(env, browser, state)) for browser in (client, other)]

    assert set(replays) == {(410, "login-link-expired")}
    assert set(back) == {(400, "link-refused")}
    assert asha(env).generation == generation


async def test_another_browser_sees_that_the_link_is_in_use(env, link):
    """The other browser can neither open nor use the link, nor complete the login of the first."""
    async with env.client() as client, env.client() as other:
        state = await press(client, link)
        refused = [kind(await ask(other, what, link)) for what in ("open", "begin")]
        back = await come_back(env, other, state)

    assert set(refused) == {(409, "login-link-in-use")}
    assert kind(back) == (400, "link-refused")
    assert not asha(env).has_session


async def test_a_press_whose_answer_was_lost_can_be_repeated(env, link):
    """The browser gets its nonce when it opens the link, so a lost answer to the button does not lock it out."""
    async with env.client() as client:
        await ask(client, "open", link)
        known = client.cookies["hullwatch_reconnect"]
        await press(client, link)
        client.cookies.clear()
        client.cookies.set("hullwatch_reconnect", known, domain="127.0.0.1", path="/api/reconnect")

        back = await come_back(env, client, await press(client, link))

    assert back.status_code == 303


async def test_another_signed_in_user_is_refused(env, link):
    """The sentence has the next step, and the link stays unused."""
    async with env.browser("biren") as foreign, env.client() as client:
        refused = await ask(foreign, "begin", link)
        assert await press(client, link)

    assert kind(refused) == (403, "not-allowed")
    assert "Sign out" in refused.json()["detail"]


@pytest.mark.parametrize("opened_at", ["http://localhost:8000", "http://[::1]:8000"])
async def test_a_link_under_another_host_is_refused_before_fyers(env, link, opened_at):
    """Fyers would return to the redirect address, where this browser has no cookie; the link stays unused."""
    host = {"Host": opened_at.removeprefix("http://"), "Origin": opened_at, "Sec-Fetch-Site": "same-origin"}
    async with env.client() as client:
        seen = await client.post("/api/reconnect/open", json={"link": link}, headers=host)
        refused = await client.post("/api/reconnect/begin", json={"link": link}, headers=host)
        assert env.store.tables.pending == {}
        back = await come_back(env, client, await press(client, link))

    assert seen.status_code == 200
    assert kind(refused) == (409, "login-address-differs")
    assert refused.json()["advice"]["openAt"] == BASE
    assert refused.json()["detail"] == (
        f"This link is open at {opened_at}, but Fyers returns to {BASE}. Open the link exactly as you received it."
    )
    assert back.status_code == 303
    assert asha(env).has_session


async def test_a_link_at_a_forwarded_port_works(env, link):
    """Cookies belong to a host, whatever the port."""
    forwarded = {"Origin": "http://127.0.0.1:9000", "Sec-Fetch-Site": "same-origin"}
    async with env.client() as client:
        begun = await client.post("/api/reconnect/begin", json={"link": link}, headers=forwarded)

    assert begun.status_code == 200


async def test_expired_and_unknown_links_answer_the_same(env, link):
    """The answers do not reveal which links existed; a new one is sent only for the expired link."""
    await env.clock.advance(3600)
    async with env.client() as client:
        answers = [
            [(await ask(client, what, value)) for value in (link, "made-up-value")]
            for what in ("open", "begin", "again")
        ]

    for ended, unknown in answers:
        assert ended.status_code == unknown.status_code
        assert ended.text == unknown.text
        assert "set-cookie" not in ended.headers
    assert [pair[0].status_code for pair in answers] == [410, 410, 202]
    asked = [one for one in env.store.tables.notifications.values() if one.kind == "not_ready"]
    assert len(asked) == 1
    assert link not in repr(asked)


async def test_cookies_of_the_link_page_go_nowhere_else(env, link):
    """They are HttpOnly, and are sent to the routes of the page and to the callback alone."""
    async with env.client() as client:
        answer = await ask(client, "begin", link)

    cookies = answer.headers.get_list("set-cookie")
    assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in cookies)
    assert [re.search("Path=([^;]+)", cookie)[1] for cookie in cookies] == [
        "/api/reconnect",
        "/api/fyers/callback",
    ]


async def test_a_foreign_page_cannot_press(env, link):
    """A request from a page of another website is refused before the link is read."""
    async with env.client(headers={"Origin": "https://evil.example"}) as client:
        answers = [await ask(client, what, link) for what in ("open", "begin", "again")]

    assert {answer.status_code for answer in answers} == {403}
    assert env.store.tables.pending == {}


async def test_guessing_is_locked_by_address(env):
    """After thirty unknown links the address has to wait, and the refusal has the time."""
    async with env.client() as client:
        for number in range(30):
            assert (await ask(client, "open", f"guess-{number}")).status_code == 410
        locked = await ask(client, "open", "one-more")

    assert kind(locked) == (429, "too-many-attempts")
    assert int(locked.headers["retry-after"]) > 0


# ---------------------------------------------------------------- asking


async def test_users_make_links_for_their_phones(env):
    """The link is shown once with its expiry; without a linked account there is none."""
    async with env.browser("asha") as client:
        early = await client.post("/api/fyers/link")
        await env.link(client, FYERS)
        made = await client.post("/api/fyers/link")
    async with env.client() as phone:
        seen = await ask(phone, "open", made.json()["url"].partition("#")[2])

    assert kind(early) == (400, "link-refused")
    assert made.status_code == 201
    assert made.json()["expiresAt"] == "2026-11-23T05:00:00Z"
    assert seen.json()["requestedBy"] == "You, from the dashboard"
    assert asha(env).has_session


async def test_admins_request_a_login_without_seeing_the_link(env, link):
    """The user gets a notice; the answer contains no link; a second request at once and traders are refused."""
    (user_id,) = env.store.tables.users
    path = f"/api/admin/users/{user_id}/login-link"
    async with env.browser("admin", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        asked = await admin.post(path)
        again = await admin.post(path)
        foreign = await trader.post(path)
        nobody = await admin.post("/api/admin/users/usr_none/login-link")
        admin_id = (await admin.get("/api/auth/me")).json()["id"]
    address = await env.login_links.link_for(user_id, requested_by=admin_id)
    async with env.client() as phone:
        seen = await ask(phone, "open", address.reveal().partition("#")[2])

    assert asked.status_code == 200
    assert "reconnect" not in asked.text
    assert kind(again) == (429, "too-many-attempts")
    assert (foreign.status_code, nobody.status_code) == (403, 404)
    assert seen.json()["requestedBy"] == "Admin, an administrator"
    titles = [one.title for one in env.store.tables.notifications.values() if one.user_id == user_id]
    assert "An administrator asks you to log in to Fyers" in titles


async def test_a_server_under_https_makes_https_links_and_secure_cookies(clock_and_supervisor):
    """Links follow the public address, and the cookies of the page do not travel over http."""
    clock, supervisor = clock_and_supervisor
    env = WebEnvironment(supervisor, clock, WebConfig(public_url="https://127.0.0.1:8000"))
    user = await env.add_user("asha")
    app = {
        "app_id": "OWNAPP1-100",
        "secret": "ownsecret",
        "redirect_uri": "https://127.0.0.1:8000/api/fyers/callback",
    }
    await env.services.fyers_login.put_app(user.id, *app.values())
    await env.services.fyers_login.authorize(user.id, env.broker.issue_auth_code(FYERS).reveal())
    made = await env.login_links.own_link(user.id)
    async with env.client() as client:
        answer = await ask(client, "begin", made.address.reveal().partition("#")[2])

    assert made.address.reveal().startswith("https://127.0.0.1:8000/reconnect#")
    assert all("Secure" in cookie for cookie in answer.headers.get_list("set-cookie"))


@pytest.fixture
async def clock_and_supervisor():
    """What an environment of another configuration is made with."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        yield clock, supervisor
