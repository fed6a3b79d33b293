"""No secret appears in answers, logs, metrics, events or the database, except in the answer that issues it."""

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
"""A PIN is short, so digits inside a longer number do not count."""
SYMBOL = "NSE:SBIN-EQ"


@dataclass
class SecretScenario:
    """A user who uses all functions, and all secrets of that user."""

    environment: Environment
    asha: Browser
    log: io.StringIO
    tabs: list[Tab] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def record(self, name: str, value: str) -> str:
        """Record a secret that must not appear elsewhere, and return it."""
        assert len(value) >= 15, f"{name} is too short to search for"
        self.secrets[f"{name} {len(self.secrets)}"] = value
        return value

    async def request(self, method: str, path: str, body: Any = None, **options: Any) -> int:
        """Send a request and return the status of the answer."""
        return (await self.asha.request(method, path, body, **options)).status

    def cookie(self, name: str) -> str:
        """Return the value of a cookie."""
        return next(cookie.value for cookie in self.asha.http.cookie_jar if cookie.key == name)

    # ---------------------------------------------------------------- steps

    async def create_account(self) -> None:
        """Register, change the password, create an API token and an invite, also with invalid requests."""
        asha, new = self.asha, {"email": self.asha.email, "password": PASSWORD, "fullName": "Asha"}
        self.record("password", PASSWORD)
        self.record("password", NEW_PASSWORD)
        await self.request("POST", "/api/auth/register", new)
        asha.user_id = (await asha.get("/api/auth/me"))["id"]
        self.record("cookie", self.cookie("hullwatch_session"))
        for wrong in (
            new,
            new | {"email": PASSWORD},
            new | {"fullName": {"x": PASSWORD}},
            [PASSWORD],
            PASSWORD,
        ):
            assert await self.request("POST", "/api/auth/register", wrong) in (409, 422)
        assert await self.request("POST", "/api/auth/login", {"email": PASSWORD, "password": PASSWORD}) == 401
        assert await self.request("POST", "/api/auth/login", raw=b'{"password": "' + PASSWORD.encode()) == 400
        change = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert await self.request("PUT", "/api/auth/password", change) == 204
        self.record("cookie", self.cookie("hullwatch_session"))
        token = self.record(
            "API token", (await asha.call("POST", "/api/auth/tokens", {"name": "script"}))["token"]
        )
        for header in (f"Basic {token}", f"Bearer {token}x", f"Bearer {PASSWORD}"):
            assert await self.request("GET", "/api/auth/me", Authorization=header) == 401
        assert await self.request("GET", "/api/auth/me", Authorization=f"Bearer {token}") == 200
        invite = (await asha.call("POST", "/api/admin/invites"))["url"].rpartition("=")[2]
        self.record("invite", invite)
        await self.request("GET", "/api/auth/tokens")

    async def store_app(self) -> None:
        """Store the Fyers app, also with invalid requests."""
        redirect_uri = f"{self.environment.url}/api/fyers/callback"
        app = {"appId": OWN_APP, "secret": APP_SECRET, "redirectUri": redirect_uri}
        await self.environment.broker.control("POST", "/apps", app)
        self.record("app secret", APP_SECRET)
        self.record("app id hash", hashlib.sha256(f"{OWN_APP}:{APP_SECRET}".encode()).hexdigest())
        for wrong in (app | {"appId": APP_SECRET}, app | {"redirectUri": APP_SECRET}, {"secret": APP_SECRET}):
            assert await self.request("PUT", "/api/fyers/app", wrong) == 422
        assert await self.request("PUT", "/api/fyers/app", app) == 200
        await self.request("GET", "/api/fyers/app")

    async def consent_to_renewal(self) -> None:
        """Consent to renewal, also with invalid requests."""
        for wrong in ({"pin": APP_SECRET}, {"pin": {"x": PIN}}, [PIN], PIN, {"pin": f"{PIN}{PIN}"}):
            assert await self.request("PUT", "/api/fyers/renewal", wrong) == 422
        assert await self.request("PUT", "/api/fyers/renewal", {"pin": PIN}) == 200
        await self.request("GET", "/api/fyers/renewal")

    async def renew_session(self) -> None:
        """Let Fyers refuse a renewal with an error that quotes the secrets, then let one succeed."""
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        refresh = self.environment.simulator.broker.accounts.refresh_token(session)
        await self.echo_secrets(
            "/api/v3/validate-refresh-token", 400, -4711, f"{refresh} with {PIN} of {APP_SECRET}"
        )
        await self.environment.broker.revoke(self.asha.fyers_id)
        await self.environment.advance_until_done(
            until(lambda: self.asha.notices("session_disconnected"), "the disconnect")
        )
        await self.environment.broker.end_faults()
        assert await self.request("PUT", "/api/fyers/renewal", {"pin": PIN}) == 200
        await self.connect()
        await self.environment.broker.revoke(self.asha.fyers_id)
        await self.environment.advance_until_done(until(lambda: _is_renewed(self.asha), "the renewal"))
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.record("access token", session.token)
        await self.environment.advance_until_done(self.read_everything())

    async def log_in_at_fyers(self) -> tuple[str, str]:
        """SecretScenario Fyers' login page; return the way redirect and the auth code in it."""
        redirect = await self.asha.begin_login()
        query = parse_qs(urlsplit(redirect).query)
        self.record("state", query["state"][0])
        self.record("nonce", self.cookie("hullwatch_link"))
        return redirect, self.record("auth code", query["auth_code"][0])

    async def connect(self) -> str:
        """Connect, and open the same redirect again; return the access token."""
        redirect, code = await self.log_in_at_fyers()
        assert await self.request("GET", redirect) == 303
        for again in (redirect, f"{redirect}&state=x", f"/api/fyers/callback?auth_code={code}&s=ok"):
            assert await self.request("GET", again) in (400, 422)
        assert await self.request("GET", redirect, Accept="text/html") == 400
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.record("refresh token", self.environment.simulator.broker.accounts.refresh_token(session))
        return self.record("access token", session.token)

    async def use_login_link(self) -> None:
        """Create and use a login link, also with invalid requests and after its use."""
        url = (await self.asha.call("POST", "/api/fyers/link"))["url"]
        link = self.record("login link", url.rpartition("#")[2])
        for wrong in ({"link": f"{link}x"}, {"link": {"x": link}}, [link], link):
            assert await self.request("POST", "/api/reconnect/open", wrong) in (410, 422)
        assert await self.request("GET", "/reconnect") == 200
        assert await self.request("POST", "/api/reconnect/open", {"link": link}) == 200
        self.record("link nonce", self.cookie("hullwatch_reconnect"))
        begun = await self.asha.call("POST", "/api/reconnect/begin", {"link": link})
        self.record("link state", parse_qs(urlsplit(begun["url"]).query)["state"][0])
        page = await self.asha.request("GET", f"{begun['url']}&fyersId={self.asha.fyers_id}")
        redirect = page.header("location")
        self.record("auth code", parse_qs(urlsplit(redirect).query)["auth_code"][0])
        assert await self.request("GET", redirect) == 303
        session = self.environment.simulator.broker.accounts.newest_session(self.asha.fyers_id)
        self.record("access token", session.token)
        for what, status in (("open", 410), ("begin", 410), ("again", 202)):
            assert await self.request("POST", f"/api/reconnect/{what}", {"link": link}) == status
        assert await self.request("POST", f"/api/admin/users/{link}/login-link") == 404
        assert await self.request("GET", f"/reconnect/{link}?link={link}") == 404
        await self.request("GET", "/api/admin/events?kind=login_link")

    async def fail_to_connect(self) -> None:
        """Let logins fail with each error of Fyers, whose answers quote the secrets."""
        for pasted in (
            "canary-pasted-code",
            f"https://x.in/?auth_code=canary-pasted-code&x={APP_SECRET}",
            {"a": PASSWORD},
        ):
            assert await self.request("POST", "/api/fyers/authorize", {"authCode": pasted}) in (400, 422)
        self.record("pasted", "canary-pasted-code")
        for status, code in ((400, -437), (400, -5), (401, -16), (500, -99), (200, -371)):
            redirect, auth_code = await self.log_in_at_fyers()
            echo = f"invalid auth code {auth_code} of {APP_SECRET}"
            await self.echo_secrets("/api/v3/validate-authcode", status, code, echo)
            assert await self.request("GET", redirect) in (400, 503)
            await self.environment.broker.end_faults()

    async def echo_secrets(self, path: str, status: int, code: int, message: str) -> None:
        """Let Fyers quote secrets in its errors."""
        body = {"s": "error", "code": code, "message": message}
        await self.environment.broker.start_fault(
            "http_error", path=path, status=status, body=body, headers={"X-Echo": message}
        )

    async def monitor(self, token: str) -> None:
        """Start monitoring and request data while Fyers quotes the token in its errors."""
        asha = self.asha
        await asha.watch()
        await self.environment.wait_for_cycles([asha])
        for status, code in ((400, -50), (403, -403), (500, -99), (401, -15), (422, -300)):
            await self.echo_secrets("/data/quotes", status, code, f"{OWN_APP}:{token} is not welcome")
            await self.environment.advance(5)
            await self.environment.advance_until_done(self.read_everything())
            await self.environment.broker.end_faults()
            await self.environment.advance_until_done(
                until(lambda: _is_watching(asha), "monitoring continues")
            )
        for symbol in (token, f"NSE:{token}"):
            path = quote(symbol, safe="")
            await self.request("GET", f"/api/hma/{path}")
            await self.request("GET", f"/api/market/quotes?symbols={path}")
            await self.request("GET", f"/api/{path}")
            await self.request("GET", f"/api/admin/events?kind={path}&userId={path}&since={path}")
            await self.request("DELETE", f"/api/monitoring/watches/{path}")
            body = {"symbol": symbol, "resolution": symbol, "period": symbol, "rule": symbol}
            await self.request("POST", "/api/monitoring/watches", body)
            await self.request("POST", f"/api/auth/tokens?x={path}", {"name": symbol * 20})

    async def read_everything(self) -> None:
        """Open all pages and addresses that can be read."""
        for path in (
            "/", "/metrics", "/healthz", "/readyz", "/api/docs", "/api/openapi.json", "/api/auth/me",
            "/api/auth/tokens", "/api/fyers/app", "/api/fyers/renewal", "/api/fyers/status",
            "/api/token-validation/status", "/api/token-validation/cache-stats", "/api/market/status",
            f"/api/market/quotes?symbols={SYMBOL}", f"/api/hma/{SYMBOL}", "/api/monitoring/state",
            "/api/monitoring/watches", "/api/monitoring/signals", "/api/monitoring/coverage",
            "/api/notifications", "/api/admin/token-health", "/api/admin/events?limit=500",
            "/api/admin/jobs", "/api/market/instruments?query=SBIN",
        ):  # fmt: skip
            await self.request("GET", path)
        await self.request("POST", "/api/token-validation/validate-all")

    async def send_malformed_requests(self, token: str) -> None:
        """Send malformed HTTP, huge and undecodable bodies and other hosts; open a socket without a login."""
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
        await self.request("POST", "/api/auth/login", raw=PASSWORD.encode() * 20_000)
        await self.request(
            "POST", "/api/auth/login", raw=b'{"email": "\xff\xfe", "password": "' + PASSWORD.encode() + b'"}'
        )
        await self.request("GET", "/api/auth/me", Host=f"{APP_SECRET.lower()}.example")
        await self.request("POST", "/api/auth/logout", Origin=f"https://{APP_SECRET.lower()}.example")
        async with aiohttp.ClientSession(headers={"Cookie": f"hullwatch_session={token}"}) as nobody:
            socket = await nobody.ws_connect(f"{self.environment.url}/api/events?after={token}")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401

    async def damage_database(self) -> None:
        """Damage the database, so that requests fail with unexpected errors."""
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
            statuses.append(await self.request("GET", path))
            statuses.append(await self.request("POST", "/api/fyers/connect"))
            with sqlite3.connect(self.environment.data_dir / "hullwatch.db") as database:
                database.execute(repair or "DELETE FROM fyers_apps")
        assert [status for status in statuses if status >= 500]


async def _is_renewed(person: Browser) -> bool:
    return (await person.get("/api/fyers/renewal"))["lastOutcome"] == "renewed"


async def _is_watching(person: Browser) -> bool:
    return (await person.state())["status"] == "watching"


@pytest.fixture
async def scenario(start_environment) -> AsyncIterator[SecretScenario]:
    """Return a user who has used all functions, with all log levels recorded."""
    log = io.StringIO()
    configure_logging(json=True, level="DEBUG", stream=log)  # before the server starts, as the commands do
    async with start_environment(fyers_refresh=True) as environment:
        scenario = SecretScenario(environment, environment.browser("Asha", "FY00001", SYMBOL), log)
        await environment.broker.control(
            "POST", "/accounts", {"fyersId": "FY00001", "name": "Asha", "pin": PIN}
        )
        await environment.broker.control("POST", "/refresh", {"isOffered": True})
        await scenario.create_account()
        await scenario.store_app()
        await scenario.consent_to_renewal()
        token = await scenario.connect()
        scenario.tabs.append(await scenario.asha.open_tab())
        await scenario.monitor(token)
        await scenario.fail_to_connect()
        await scenario.send_malformed_requests(token)
        await scenario.use_login_link()
        await scenario.renew_session()
        await environment.advance_until_done(scenario.connect())
        await environment.advance_until_done(scenario.read_everything())
        await scenario.request("POST", "/api/fyers/disconnect")
        await scenario.read_everything()
        yield scenario


async def test_no_secret_is_exposed(scenario: SecretScenario, capfd: pytest.CaptureFixture[str]) -> None:
    """Each secret appears in the one answer that issues it to its owner."""
    assert_no_secret_in_database(scenario)
    await scenario.damage_database()
    await scenario.request("POST", "/api/auth/logout")

    assert len(scenario.asha.replies) > 200
    assert_no_secret_in_answers(scenario)
    assert_cookies_are_protected(scenario)
    assert_no_secret_in_output(scenario, "".join(capfd.readouterr()))


ISSUED_BY = {
    "cookie": {("POST", "/api/auth/register"), ("PUT", "/api/auth/password")},
    "API token": {("POST", "/api/auth/tokens")},
    "invite": {("POST", "/api/admin/invites")},
    "state": {("POST", "/api/fyers/connect")},
    "nonce": {("POST", "/api/fyers/connect")},
    "login link": {("POST", "/api/fyers/link")},
    "link nonce": {("POST", "/api/reconnect/open"), ("POST", "/api/reconnect/begin")},
    "link state": {("POST", "/api/reconnect/begin")},
}
"""The requests whose answers issue a secret; other secrets appear in no answer."""


def assert_no_secret_in_answers(scenario: SecretScenario) -> None:
    """Check bodies and headers of all answers."""
    for name, secret in scenario.secrets.items():
        found_in = {
            (reply.method, urlsplit(reply.url).path)
            for reply in scenario.asha.replies
            if secret in reply.text or secret in repr(reply.headers)
        }
        assert found_in <= ISSUED_BY.get(name.rpartition(" ")[0], set()), name
    assert not any(PIN_SHOWN.search(reply.text + repr(reply.headers)) for reply in scenario.asha.replies)


def assert_no_secret_in_output(scenario: SecretScenario, printed: str) -> None:
    """Check the log, the terminal and the event sockets."""
    logged, pushed = scenario.log.getvalue(), repr([tab.messages for tab in scenario.tabs])
    assert logged.count("\n") > 200
    assert "quotes" in pushed
    for name, secret in scenario.secrets.items():
        assert secret not in logged, name
        assert secret not in pushed, name
        assert secret not in printed, name
    assert not any(PIN_SHOWN.search(text) for text in (logged, pushed, printed))


def assert_no_secret_in_database(scenario: SecretScenario) -> None:
    """Check the database and its write-ahead log. Only the owner can read the files of the folder."""
    folder = scenario.environment.data_dir
    stored = b"".join(path.read_bytes() for path in folder.glob("hullwatch.db*"))
    assert scenario.asha.email.encode() in stored
    assert not re.search(rf"(?<![\d.]){PIN}(?!\d)".encode(), stored)
    for name, secret in scenario.secrets.items():
        assert secret.encode() not in stored, name
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def assert_cookies_are_protected(scenario: SecretScenario) -> None:
    """Cookies are HttpOnly and SameSite=Lax, and no cache may store an answer of the API."""
    cookies = [
        value.lower()
        for reply in scenario.asha.replies
        for name, value in reply.headers
        if name.lower() == "set-cookie"
    ]
    assert len(cookies) > 5
    assert all("httponly" in cookie and "samesite=lax" in cookie for cookie in cookies)
    for reply in scenario.asha.replies:
        if urlsplit(reply.url).path.startswith("/api/") and reply.status < 400:
            assert reply.header("cache-control") == "no-store", reply.url
