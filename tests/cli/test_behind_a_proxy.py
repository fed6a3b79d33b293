"""The set-up of `docs/operations.md` behind a proxy, over real sockets. Hashes and the clock are fakes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from fakes.resources import fake_resources
from typer.testing import Result

from cli.forwarding_proxy import Forwarding, forwarding_proxy
from cli.install import PASSWORD, Program
from hullwatch.app.application import Application
from hullwatch.app.options import ServiceOptions
from hullwatch.app.services import build_services
from hullwatch.cli.server import StopSignals, address_of, listen_on, serve_application
from hullwatch.domain.users.accounts import Role
from hullwatch.domain.users.login_throttle import PER_ADDRESS
from hullwatch.settings import read_settings
from hullwatch.web.metrics import PrometheusMetrics

PUBLIC_URL = "https://hw.example.com"
ADMIN = "admin@b.in"
PAGE = {"Host": "hw.example.com", "Origin": PUBLIC_URL, "Sec-Fetch-Site": "same-origin"}
"""What a browser sends for a page of the public address."""
ATTACKER, COLLEAGUE = "127.0.0.2", "127.0.0.3"
"""Addresses of clients; they are not those of a trusted proxy."""


class Server:
    """The server with the documented settings; `address` is the ``host:port`` at which it listens."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.settings = read_settings(
            data_dir=data_dir, public_url=PUBLIC_URL, **settings
        ).checked_for_serving()
        resources = fake_resources(metrics=PrometheusMetrics(), options=ServiceOptions.of(self.settings))
        self.hasher = resources.hasher
        self.application = Application(self.settings, build_services(resources), resources.metrics)
        self.address = ""

    @asynccontextmanager
    async def running(self, *, has_admin: bool = True) -> AsyncIterator["Server"]:
        """Serve with one admin, added as `hullwatch users add` does."""
        if has_admin:
            await self.application.services.accounts.add(
                ADMIN, PASSWORD, "Admin", role=Role.ADMIN, actor="command-line"
            )
        signals, is_ready = StopSignals(), asyncio.Event()
        with listen_on("127.0.0.1", 0) as sock:
            self.address = "{}:{}".format(*address_of(sock))
            web = self.application.web(self.application.web_config())
            serving = asyncio.create_task(
                serve_application(
                    self.application, web, sock, ready=lambda _: is_ready.set(), signals=signals
                )
            )
            await is_ready.wait()
            try:
                yield self
            finally:
                signals.stop_requested.set()
                await serving


class Client:
    """A browser with a network address of its own, which opens the public address through a proxy."""

    def __init__(self, http: aiohttp.ClientSession, proxy: str) -> None:
        self._http = http
        self._proxy = proxy

    async def post(self, path: str, body: dict[str, str], **headers: str) -> int:
        """Send a request of a page and return the status."""
        return (await self.send("POST", path, body, **headers)).status

    async def send(
        self, method: str, path: str, body: dict[str, str] | None = None, **headers: str
    ) -> aiohttp.ClientResponse:
        """Send a request of a page and return the answer, which was read."""
        url = f"http://{self._proxy}{path}"
        async with self._http.request(method, url, json=body, headers={**PAGE, **headers}) as answer:
            await answer.read()
            return answer

    async def first_event(self, **headers: str) -> str:
        """Open the event socket of a page and return the type of its first message."""
        url = f"http://{self._proxy}/api/events"
        async with self._http.ws_connect(url, headers={**PAGE, **headers}) as socket:
            return (await socket.receive_json())["type"]

    async def login(self, email: str = ADMIN, password: str = PASSWORD, **headers: str) -> int:
        """Sign in and return the status."""
        return await self.post("/api/auth/login", {"email": email, "password": password}, **headers)

    async def guess_with_made_up_addresses(self) -> list[int]:
        """Try many e-mail addresses; each request contains another forwarded address."""
        return [
            await self.login(f"u{number}@b.in", "guess guess", **{"X-Forwarded-For": f"203.0.113.{number}"})
            for number in range(PER_ADDRESS.free_attempts + 5)
        ]


@asynccontextmanager
async def client_at(address: str, proxy: str) -> AsyncIterator[Client]:
    """Return a client with this address."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Client(http, proxy)


LIMITED = [401] * PER_ADDRESS.free_attempts + [429] * 5
AS_DOCUMENTED = [
    # The proxy on this machine, which is the default.
    ({}, ((Forwarding.APPEND, "127.0.0.1"),)),
    ({}, ((Forwarding.REPLACE, "127.0.0.1"),)),
    # A proxy at another address, and two in a row.
    ({"trusted_proxies": "127.0.0.4"}, ((Forwarding.APPEND, "127.0.0.4"),)),
    (
        {"trusted_proxies": "127.0.0.4, 127.0.0.5"},
        ((Forwarding.APPEND, "127.0.0.5"), (Forwarding.APPEND, "127.0.0.4")),
    ),
]


@asynccontextmanager
async def behind(
    data_dir: Path, settings: dict[str, str], proxies: tuple[tuple[Forwarding, str], ...]
) -> AsyncIterator[tuple[Server, str]]:
    """Serve behind proxies; yield the server and the address of the proxy that clients open."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(data_dir, **settings).running())
        address = server.address
        for forwarding, own in proxies:
            address = await stack.enter_async_context(forwarding_proxy(address, forwarding, address=own))
        yield server, address


@pytest.mark.parametrize(("settings", "proxies"), AS_DOCUMENTED)
async def test_made_up_addresses_gain_nothing_behind_a_trusted_proxy(tmp_path, settings, proxies):
    """The address that the proxy saw counts. Its lock concerns nobody else behind the proxy."""
    async with (
        behind(tmp_path, settings, proxies) as (server, address),
        client_at(ATTACKER, address) as attacker,
        client_at(COLLEAGUE, address) as colleague,
    ):
        guesses = await attacker.guess_with_made_up_addresses()
        other = await colleague.login()

    assert guesses == LIMITED
    assert other == 200
    assert server.hasher.checks == PER_ADDRESS.free_attempts + 1


async def test_a_client_that_is_no_proxy_cannot_forward(tmp_path):
    """Its address is not trusted, so its header does not count, even if it names a trusted proxy."""
    async with Server(tmp_path).running() as server, client_at(ATTACKER, server.address) as attacker:
        guesses = await attacker.guess_with_made_up_addresses()
        named = await attacker.login(**{"X-Forwarded-For": "127.0.0.1"})

    assert guesses == LIMITED
    assert named == 429


@pytest.fixture
def installation(
    served: Callable[..., tuple[Program, str]], command: Callable[..., Result]
) -> tuple[Program, str]:
    """A real server with the documented settings and an admin, and the ``host:port`` at which it listens."""
    server, addresses = served(HULLWATCH_PUBLIC_URL=PUBLIC_URL)
    assert command("users", "add", ADMIN, "--role", "admin", stdin=PASSWORD).exit_code == 0
    return server, addresses.partition("listening at http://")[2].rstrip(")")


async def test_the_documented_set_up_works_from_start_to_page(installation):
    """The admin of the command line invites somebody, and pages get their events."""
    server, upstream = installation
    async with (
        forwarding_proxy(upstream, Forwarding.APPEND) as address,
        client_at(COLLEAGUE, address) as client,
    ):
        shown = await (await client.send("GET", "/api/dashboard")).json()
        login = await client.send("POST", "/api/auth/login", {"email": ADMIN, "password": PASSWORD})
        cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
        invite = (await (await client.send("POST", "/api/admin/invites", **cookie)).json())["url"]
        new = {
            "email": "ravi@b.in",
            "password": PASSWORD,
            "fullName": "Ravi",
            "invite": invite.partition("=")[2],
        }
        statuses = [await client.post("/api/auth/register", new) for _ in range(2)]
        event = await client.first_event(**cookie)

    assert shown["registration"] == "invite"
    assert "Secure" in login.headers["Set-Cookie"]
    assert invite.startswith(f"{PUBLIC_URL}/#invite=")
    assert statuses == [201, 403]
    assert event == "hello"
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("forwarding", Forwarding)
async def test_nobody_registers_behind_a_proxy_without_an_invite(tmp_path, forwarding):
    """There is no account yet, and the first visitor must not become admin."""
    body = {"email": "u@b.in", "password": PASSWORD, "fullName": "A Visitor"}
    async with (
        Server(tmp_path).running(has_admin=False) as server,
        forwarding_proxy(server.address, forwarding) as address,
        client_at(ATTACKER, address) as client,
    ):
        statuses = [
            await client.post("/api/auth/register", body, **headers)
            for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": ""})
        ]
        users = await server.application.services.accounts.list_all()

    assert statuses == [403] * 3
    assert users == []
