"""Clients that send half a request, nothing, or without end; over real sockets against the real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S
from structlog.testing import capture_logs

from cli.install import PASSWORD
from cli.test_behind_a_proxy import ADMIN, PAGE, Client, Server
from hullwatch.cli import server as serving
from hullwatch.web import http_protocol
from hullwatch.web.connection_limits import MOST_OF_ADDRESS

HEAD = b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
UNTRUSTED = "127.0.0.2"


@pytest.fixture
async def address(tmp_path) -> AsyncIterator[tuple[str, int]]:
    """Return host and port of a running server."""
    async with Server(tmp_path).running() as server:
        host, port = server.address.split(":")
        yield host, int(port)


@pytest.fixture
def short_limits(monkeypatch) -> None:
    """Let headers and bodies have a moment."""
    monkeypatch.setattr(http_protocol, "HEADERS_WITHIN_S", 0.2)
    monkeypatch.setattr(http_protocol, "BODY_WITHIN_S", 0.2)


@asynccontextmanager
async def connections(
    address: tuple[str, int], count: int = 1, *, local: str = "127.0.0.1"
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """Open connections from a local address, and close them at the end."""
    opened = [await asyncio.open_connection(*address, local_addr=(local, 0)) for _ in range(count)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def answer_to(address: tuple[str, int], sent: bytes) -> bytes:
    """Send these bytes, and return all that comes until the server closes the connection."""
    async with connections(address) as [(reader, writer)], asyncio.timeout(ANSWER_LIMIT_S):
        writer.write(sent)
        return await reader.read()


async def is_healthy(address: tuple[str, int], local: str = "127.0.0.1") -> bool:
    """Whether a new client gets an answer."""
    connector = aiohttp.TCPConnector(local_addr=(local, 0), force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get("http://{}:{}/healthz".format(*address)) as answer,
    ):
        return answer.status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: 127", b"408"),
        (HEAD + b"Content-Length: 100\r\n\r\n{", b"408"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"408"),
        (b"", b""),
    ],
    ids=["headers", "body", "chunks", "nothing"],
)
@pytest.mark.usefixtures("short_limits")
async def test_a_request_that_does_not_end_is_closed(address, sent, status):
    """With an answer, if anything was requested."""
    answer = await answer_to(address, sent)

    assert answer[9:12] == status
    assert await is_healthy(address)


@pytest.mark.usefixtures("short_limits")
async def test_empty_lines_between_requests_do_not_hold_a_connection(address):
    """The parser skips them, so that no request begins."""
    async with connections(address) as [(reader, writer)], asyncio.timeout(ANSWER_LIMIT_S):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        [length] = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"\r\n\r\n")

        assert (await reader.read())[9:12] == b"408"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 20_000,
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000,
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["many", "endless", "large", "endless_line", "large_line"],
)
async def test_headers_beyond_64_kb_are_refused(address, sent):
    """Unfinished ones too."""
    answer = await answer_to(address, sent)

    assert answer[9:12] == b"431"
    assert b"headers-too-large" in answer
    assert await is_healthy(address)


async def test_headers_up_to_the_limit_are_served(address):
    """Cookies of other programs on the same host can be large."""
    sent = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX: " + b"a" * 60_000
    answer = await answer_to(address, sent + b"\r\n\r\n")

    assert answer[9:12] == b"200"


async def test_sixty_megabytes_of_headers_are_not_kept(address):
    """The connection ends after the first 64 kB; others are answered meanwhile."""
    async with connections(address) as [(_, writer)]:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")

        async def send_for_ever() -> None:
            for _ in range(1_000):  # 60 MB
                writer.write(b"X: a\r\n" * 10_000)
                await writer.drain()
                assert await is_healthy(address)

        with pytest.raises(ConnectionError):
            await send_for_ever()


async def test_a_full_server_answers_new_clients(tmp_path, monkeypatch):
    """Unfinished requests give their places to new connections; event sockets keep theirs."""
    monkeypatch.setattr(serving, "descriptors_for_clients", lambda _: 20)
    async with Server(tmp_path).running() as server, aiohttp.ClientSession() as http:
        host, port = server.address.split(":")
        client = Client(http, server.address)
        login = await client.send("POST", "/api/auth/login", {"email": ADMIN, "password": PASSWORD})
        cookie = login.headers["Set-Cookie"].split(";")[0]
        url = f"http://{server.address}/api/events"
        async with (
            http.ws_connect(url, headers={**PAGE, "Cookie": cookie}) as socket,
            connections((host, int(port)), 60) as opened,
        ):
            await socket.receive_json()
            for _, writer in opened[::2]:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127")

            assert await is_healthy((host, int(port)))
            [user] = await server.application.services.accounts.list_all()
            assert server.application.services.context.hub.listeners(user.id) == 1


async def test_one_address_cannot_take_all_connections(address):
    """A direct client beyond its limit is refused with a status; others are served."""
    async with (
        connections(address, MOST_OF_ADDRESS, local=UNTRUSTED),
        connections(address, local=UNTRUSTED) as [(reader, _)],
        asyncio.timeout(ANSWER_LIMIT_S),
    ):
        assert (await reader.read())[9:12] == b"503"
        assert await is_healthy(address)


async def test_a_lack_of_descriptors_is_logged_once_a_minute():
    """The event loop reports each of its attempts; other errors keep their handler."""
    clock, loop = FakeClock(), asyncio.get_running_loop()
    others: list[str] = []
    loop.set_exception_handler(lambda _, context: others.append(context["message"]))
    error = OSError(24, "Too many open files")
    with capture_logs() as entries, serving.thinned_accept_errors(loop, clock.monotonic):
        for _ in range(100):
            loop.call_exception_handler(
                {"message": "socket.accept() out of system resource", "exception": error}
            )
        await clock.advance(serving.DESCRIPTORS_LOG_EVERY_S)
        loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": error})
        loop.call_exception_handler({"message": "another", "exception": ValueError()})
    loop.set_exception_handler(None)

    assert [entry["event"] for entry in entries] == ["connections.no_descriptor"] * 2
    assert others == ["another"]
