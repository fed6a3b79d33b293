"""Canaries everywhere: nothing that is secret is in an answer, a log line, a metric, an event or the database file, except where it is handed out."""

import asyncio
import hashlib
import io
import re
import sqlite3
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest
from limits import ANSWER_LIMIT_S

from hullwatch.runtime.logs import configure_logging
from journeys.browser import Browser, Tab
from journeys.environment import Environment, until

PASSWORD = "canary-password-of-asha"
NEW_PASSWORD = "canary-password-of-asha-2"
OWN_APP = "CANARYAPP1-100"
APP_SECRET = "canaryAppSecret7Q"
PIN = "739146"
PIN_SHOWN = re.compile(rf"(?<![\d.]){PIN}(?!\d)")
"""A PIN is too short to be looked for like the others: as part of a longer number it is none."""
SYMBOL = "NSE:SBIN-EQ"


@dataclass
class Walk:
    """One user's way through the whole product, and every secret that came into being on it."""

    environment: Environment
    asha: Browser
    log: io.StringIO
    tabs: list[Tab] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, value: str) -> str:
        """Remember a secret."""
        assert len(value) >= 15, f"{name} is too short to be looked for"
        self.secrets[f"{name} {len(self.secrets)}"] = value
        return value

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> int:
        """Ask for something, whatever comes of it."""
        return (await self.asha.ask(method, path, body, **options)).status

    def cookie(self, name: str) -> str:
        """Return what the browser keeps under a name."""
        return next(cookie.value for cookie in self.asha.http.cookie_jar if cookie.key == name)

    # ---------------------------------------------------------------- scenes

    async def create_account(self) -> None:
        """Register, fail to register and to log in, change the password, make an API token and an invite."""
        asha, new = self.asha, {"email": self.asha.email, "password": PASSWORD, "fullName": "Asha"}
        self.keep("password", PASSWORD)
        self.keep("password", NEW_PASSWORD)
        await self.ask("POST", "/api/auth/register", new)
        self.keep("cookie", self.cookie("hullwatch_session"))
        for wrong in (
            new,
            new | {"email": PASSWORD},
            new | {"fullName": {"x": PASSWORD}},
            [PASSWORD],
            PASSWORD,
        ):
            assert await self.ask("POST", "/api/auth/register", wrong) in (409, 422)
        assert await self.ask("POST", "/api/auth/login", {"email": PASSWORD, "password": PASSWORD}) == 401
        assert await self.ask("POST", "/api/auth/login", raw=b'{"password": "' + PASSWORD.encode()) == 400
        change = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert await self.ask("PUT", "/api/auth/password", change) == 204
        self.keep("cookie", self.cookie("hullwatch_session"))
        token = self.keep(
            "API token", (await asha.call("POST", "/api/auth/tokens", {"name": "script"}))["token"]
        )
        for header in (f"Basic {token}", f"Bearer {token}x", f"Bearer {PASSWORD}"):
            assert await self.ask("GET", "/api/auth/me", Authorization=header) == 401
        assert await self.ask("GET", "/api/auth/me", Authorization=f"Bearer {token}") == 200
        invite = (await asha.call("POST", "/api/admin/invites"))["url"].rpartition("=")[2]
        self.keep("invite", invite)
        await self.ask("GET", "/api/auth/tokens")

    async def store_app(self) -> None:
        """Store the Fyers app, and fail to."""
        redirect_uri = f"{self.environment.url}/api/fyers/callback"
        app = {"appId": OWN_APP, "secret": APP_SECRET, "redirectUri": redirect_uri}
        await self.environment.broker.order("POST", "/apps", app)
        self.keep("app secret", APP_SECRET)
        self.keep("app id hash", hashlib.sha256(f"{OWN_APP}:{APP_SECRET}".encode()).hexdigest())
        for wrong in (app | {"appId": APP_SECRET}, app | {"redirectUri": APP_SECRET}, {"secret": APP_SECRET}):
            assert await self.ask("PUT", "/api/fyers/app", wrong) == 422
        assert await self.ask("PUT", "/api/fyers/app", app) == 200
        await self.ask("GET", "/api/fyers/app")

    async def consent_to_renewal(self) -> None:
        """Consent to renewals, and fail to."""
        for wrong in ({"pin": APP_SECRET}, {"pin": {"x": PIN}}, [PIN], PIN, {"pin": f"{PIN}{PIN}"}):
            assert await self.ask("PUT", "/api/fyers/renewal", wrong) == 422
        assert await self.ask("PUT", "/api/fyers/renewal", {"pin": PIN}) == 200
        await self.ask("GET", "/api/fyers/renewal")

    async def renew_session(self) -> None:
        """Have a renewal refused in words that echo what it was asked with, and the next one succeed."""
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        refresh = self.environment.simulator.broker.accounts.refresh_token(session)
        await self.echo_secrets(
            "/api/v3/validate-refresh-token", 400, -4711, f"{refresh} with {PIN} of {APP_SECRET}"
        )
        await self.environment.broker.revoke(self.asha.fyers_id)
        await self.environment.while_time_passes(
            until(lambda: self.asha.notices("session_disconnected"), "the session's end")
        )
        await self.environment.broker.end_faults()
        assert await self.ask("PUT", "/api/fyers/renewal", {"pin": PIN}) == 200
        await self.connect()
        await self.environment.broker.revoke(self.asha.fyers_id)
        await self.environment.while_time_passes(until(lambda: _is_renewed(self.asha), "the renewal"))
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.keep("access token", session.token)
        await self.environment.while_time_passes(self.read_everything())

    async def begin_login_here(self) -> tuple[str, str]:
        """Walk Fyers' login page; return the way back and the auth code in it."""
        back = await self.asha.begin_login()
        query = parse_qs(urlsplit(back).query)
        self.keep("state", query["state"][0])
        self.keep("nonce", self.cookie("hullwatch_link"))
        return back, self.keep("auth code", query["auth_code"][0])

    async def connect(self) -> str:
        """Connect, and use the same way back again; return the access token."""
        back, code = await self.begin_login_here()
        assert await self.ask("GET", back) == 303
        for again in (back, f"{back}&state=x", f"/api/fyers/callback?auth_code={code}&s=ok"):
            assert await self.ask("GET", again) in (400, 422)
        assert await self.ask("GET", back, Accept="text/html") == 400
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.keep("refresh token", self.environment.simulator.broker.accounts.refresh_token(session))
        return self.keep("access token", session.token)

    async def use_login_link(self) -> None:
        """Make a login link, use it well and badly, and once more when it is over."""
        url = (await self.asha.call("POST", "/api/fyers/link"))["url"]
        link = self.keep("login link", url.rpartition("#")[2])
        for wrong in ({"link": f"{link}x"}, {"link": {"x": link}}, [link], link):
            assert await self.ask("POST", "/api/reconnect/look", wrong) in (410, 422)
        assert await self.ask("GET", "/reconnect") == 200
        assert await self.ask("POST", "/api/reconnect/look", {"link": link}) == 200
        self.keep("link nonce", self.cookie("hullwatch_reconnect"))
        begun = await self.asha.call("POST", "/api/reconnect/begin", {"link": link})
        self.keep("link state", parse_qs(urlsplit(begun["url"]).query)["state"][0])
        page = await self.asha.ask("GET", f"{begun['url']}&fyersId={self.asha.fyers_id}")
        back = page.header("location")
        self.keep("auth code", parse_qs(urlsplit(back).query)["auth_code"][0])
        assert await self.ask("GET", back) == 303
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.keep("access token", session.token)
        for what, status in (("look", 410), ("begin", 410), ("again", 202)):
            assert await self.ask("POST", f"/api/reconnect/{what}", {"link": link}) == status
        assert await self.ask("POST", f"/api/admin/users/{link}/login-link") == 404
        assert await self.ask("GET", f"/reconnect/{link}?link={link}") == 404
        await self.ask("GET", "/api/admin/events?kind=login_link")

    async def fail_to_connect(self) -> None:
        """Fail to connect in every way that Fyers has, its answers echoing what they were sent."""
        for pasted in (
            "canary-pasted-code",
            f"https://x.in/?auth_code=canary-pasted-code&x={APP_SECRET}",
            {"a": PASSWORD},
        ):
            assert await self.ask("POST", "/api/fyers/authorize", {"authCode": pasted}) in (400, 422)
        self.keep("pasted", "canary-pasted-code")
        for status, code in ((400, -437), (400, -5), (401, -16), (500, -99), (200, -371)):
            back, auth_code = await self.begin_login_here()
            echo = f"invalid auth code {auth_code} of {APP_SECRET}"
            await self.echo_secrets("/api/v3/validate-authcode", status, code, echo)
            assert await self.ask("GET", back) in (400, 503)
            await self.environment.broker.end_faults()

    async def echo_secrets(self, path: str, status: int, code: int, message: str) -> None:
        """Let Fyers quote secrets in its errors."""
        body = {"s": "error", "code": code, "message": message}
        await self.environment.broker.fault(
            "http_error", path=path, status=status, body=body, headers={"X-Echo": message}
        )

    async def monitor(self, token: str) -> None:
        """Watch, ask for data well and badly, while Fyers quotes the token in its errors."""
        asha = self.asha
        await asha.watch()
        await self.environment.wait_for_cycles([asha])
        for status, code in ((400, -50), (403, -403), (500, -99), (401, -15), (422, -300)):
            await self.echo_secrets("/data/quotes", status, code, f"{OWN_APP}:{token} is not welcome")
            await self.environment.advance(5)
            await self.environment.while_time_passes(self.read_everything())
            await self.environment.broker.end_faults()
            await self.environment.while_time_passes(until(lambda: _watches_again(asha), "watching goes on"))
        for place in (token, f"NSE:{token}"):
            path = quote(place, safe="")
            await self.ask("GET", f"/api/hma/{path}")
            await self.ask("GET", f"/api/market/quotes?symbols={path}")
            await self.ask("GET", f"/api/{path}")
            await self.ask("GET", f"/api/admin/events?kind={path}&userId={path}&since={path}")
            await self.ask("DELETE", f"/api/monitoring/watches/{path}")
            line = {"symbol": place, "resolution": place, "period": place, "rule": place}
            await self.ask("POST", "/api/monitoring/watches", line)
            await self.ask("POST", f"/api/auth/tokens?x={path}", {"name": place * 20})

    async def read_everything(self) -> None:
        """Open everything that can be read."""
        for path in (
            "/", "/metrics", "/healthz", "/readyz", "/api/docs", "/api/openapi.json", "/api/auth/me", "/api/auth/tokens",
            "/api/fyers/app", "/api/fyers/renewal", "/api/fyers/status", "/api/token-validation/status", "/api/token-validation/cache-stats",
            "/api/market/status", f"/api/market/quotes?symbols={SYMBOL}", f"/api/hma/{SYMBOL}", "/api/monitoring/state",
            "/api/monitoring/watches", "/api/monitoring/signals", "/api/monitoring/coverage", "/api/notifications",
            "/api/admin/token-health", "/api/admin/events?limit=500", "/api/admin/jobs", "/api/market/instruments?query=SBIN",
        ):  # fmt: skip
            await self.ask("GET", path)
        await self.ask("POST", "/api/token-validation/validate-all")

    async def send_malformed_requests(self, token: str) -> None:
        """Send what no browser sends: broken HTTP, huge and undecodable bodies, other hosts, sockets of nobody."""
        host, port = urlsplit(self.environment.url).netloc.split(":")
        for line in (
            f"GET /api/fyers/callback?auth_code={token} HTTP/9.9\r\n\r\n",
            f"GET /{token} HTTP/1.1\r\nHost: x\r\nCookie: hullwatch_session={token}\r\n{PASSWORD}\r\n\r\n",
            f"{PASSWORD} / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(line.encode())
            await writer.drain()
            writer.write_eof()
            answer = (await asyncio.wait_for(reader.read(), ANSWER_LIMIT_S)).decode("latin-1")
            assert not any(secret in answer for secret in self.secrets.values())
            writer.close()
        await self.ask("POST", "/api/auth/login", raw=PASSWORD.encode() * 20_000)
        await self.ask(
            "POST", "/api/auth/login", raw=b'{"email": "\xff\xfe", "password": "' + PASSWORD.encode() + b'"}'
        )
        await self.ask("GET", "/api/auth/me", Host=f"{APP_SECRET.lower()}.example")
        await self.ask("POST", "/api/auth/logout", Origin=f"https://{APP_SECRET.lower()}.example")
        async with aiohttp.ClientSession(headers={"Cookie": f"hullwatch_session={token}"}) as nobody:
            socket = await nobody.ws_connect(f"{self.environment.url}/api/events?after={token}")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401

    async def damage_database(self) -> None:
        """Damage what is stored, so that requests break in ways that nobody foresaw."""
        statuses = []
        for damage, repair, path in (
            (
                "ALTER TABLE notifications RENAME TO gone",
                "ALTER TABLE gone RENAME TO notifications",
                "/api/notifications",
            ),
            (
                "ALTER TABLE signals RENAME TO gone",
                "ALTER TABLE gone RENAME TO signals",
                "/api/monitoring/signals",
            ),
            (f"UPDATE fyers_apps SET secret = '{APP_SECRET}'", "", "/api/fyers/app"),
        ):
            with sqlite3.connect(self.environment.data_dir / "hullwatch.db") as database:
                database.execute(damage)
            statuses.append(await self.ask("GET", path))
            statuses.append(await self.ask("POST", "/api/fyers/connect"))
            with sqlite3.connect(self.environment.data_dir / "hullwatch.db") as database:
                database.execute(repair or "DELETE FROM fyers_apps")
        assert [status for status in statuses if status >= 500]


async def _is_renewed(person: Browser) -> bool:
    return (await person.get("/api/fyers/renewal"))["lastOutcome"] == "renewed"


async def _watches_again(person: Browser) -> bool:
    return (await person.state())["status"] == "watching"


@pytest.fixture
async def walk(open_env) -> AsyncIterator[Walk]:
    """Return a user who has been everywhere, with everything logged that can be."""
    log = io.StringIO()
    configure_logging(
        json=True, level="DEBUG", stream=log
    )  # before the server is made, as the commands do it
    async with open_env(fyers_refresh=True) as environment:
        walk = Walk(environment, environment.browser("Asha", "FY00001", SYMBOL), log)
        await environment.broker.order(
            "POST", "/accounts", {"fyersId": "FY00001", "name": "Asha", "pin": PIN}
        )
        await environment.broker.order("POST", "/refresh", {"isOffered": True})
        await walk.create_account()
        await walk.store_app()
        await walk.consent_to_renewal()
        token = await walk.connect()
        walk.tabs.append(await walk.asha.open_tab())
        await walk.monitor(token)
        await walk.fail_to_connect()
        await walk.send_malformed_requests(token)
        await walk.use_login_link()
        await walk.renew_session()
        await environment.while_time_passes(walk.connect())
        await environment.while_time_passes(walk.read_everything())
        await walk.ask("POST", "/api/fyers/disconnect")
        await walk.read_everything()
        yield walk


async def test_no_secret_is_exposed(walk: Walk, capfd: pytest.CaptureFixture[str]) -> None:
    """Each secret is in one answer to its owner and nowhere else."""
    assert_no_secret_in_database(walk)
    await walk.damage_database()
    await walk.ask("POST", "/api/auth/logout")

    assert len(walk.asha.replies) > 200
    assert_no_secret_in_answers(walk)
    assert_cookies_are_protected(walk)
    assert_no_secret_in_output(walk, "".join(capfd.readouterr()))


HANDED_OUT_BY = {
    "cookie": {("POST", "/api/auth/register"), ("PUT", "/api/auth/password")},
    "API token": {("POST", "/api/auth/tokens")},
    "invite": {("POST", "/api/admin/invites")},
    "state": {("POST", "/api/fyers/connect")},
    "nonce": {("POST", "/api/fyers/connect")},
    "login link": {("POST", "/api/fyers/link")},
    "link nonce": {("POST", "/api/reconnect/look"), ("POST", "/api/reconnect/begin")},
    "link state": {("POST", "/api/reconnect/begin")},
}
"""The one answer in which a secret is handed out; all others are in none."""


def assert_no_secret_in_answers(walk: Walk) -> None:
    """Check bodies and headers of all answers."""
    for name, secret in walk.secrets.items():
        places = {
            (reply.method, urlsplit(reply.url).path)
            for reply in walk.asha.replies
            if secret in reply.text or secret in repr(reply.headers)
        }
        assert places <= HANDED_OUT_BY.get(name.rpartition(" ")[0], set()), name
    assert not any(PIN_SHOWN.search(reply.text + repr(reply.headers)) for reply in walk.asha.replies)


def assert_no_secret_in_output(walk: Walk, printed: str) -> None:
    """Check the log, the terminal and the event sockets."""
    logged, pushed = walk.log.getvalue(), repr([tab.messages for tab in walk.tabs])
    assert logged.count("\n") > 200
    assert "quotes" in pushed
    for name, secret in walk.secrets.items():
        assert secret not in logged, name
        assert secret not in pushed, name
        assert secret not in printed, name
    assert not any(PIN_SHOWN.search(text) for text in (logged, pushed, printed))


def assert_no_secret_in_database(walk: Walk) -> None:
    """Check the files beside the key, the write-ahead log included; all of them are the owner's alone."""
    folder = walk.environment.data_dir
    stored = b"".join(path.read_bytes() for path in folder.glob("hullwatch.db*"))
    assert walk.asha.email.encode() in stored
    assert not re.search(rf"(?<![\d.]){PIN}(?!\d)".encode(), stored)
    for name, secret in walk.secrets.items():
        assert secret.encode() not in stored, name
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def assert_cookies_are_protected(walk: Walk) -> None:
    """Check that cookies are HttpOnly and SameSite=Lax, and that no cache may keep an answer of the API."""
    cookies = [
        value.lower()
        for reply in walk.asha.replies
        for name, value in reply.headers
        if name.lower() == "set-cookie"
    ]
    assert len(cookies) > 5
    assert all("httponly" in cookie and "samesite=lax" in cookie for cookie in cookies)
    for reply in walk.asha.replies:
        if urlsplit(reply.url).path.startswith("/api/") and reply.status < 400:
            assert reply.header("cache-control") == "no-store", reply.url
