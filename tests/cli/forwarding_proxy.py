"""A small reverse proxy on a real port, with one way to treat `X-Forwarded-For`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

Headers = list[tuple[str, str]]


class Forwarding(Enum):
    """What the proxy does with the addresses of clients."""

    APPEND = auto()
    """Adds the client's address behind what the client sent, as nginx does with `$proxy_add_x_forwarded_for`."""
    REPLACE = auto()
    """Sends the client's address only."""
    PASS_ON = auto()
    """Sends what the client sent, unchanged."""


@asynccontextmanager
async def forwarding_proxy(
    upstream: str, forwarding: Forwarding, *, address: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serve a proxy in front of ``host:port`` that connects from `address`; yield its own ``host:port``.

    It passes `Host`, adds `X-Forwarded-Proto`, and serves one request on each connection, or one WebSocket.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            host, port = upstream.split(":")
            upstream_reader, upstream_writer = await asyncio.open_connection(
                host, int(port), local_addr=(address, 0)
            )
            upstream_writer.write(_forwarded(head, client, forwarding).encode("latin-1"))
            await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"
    finally:
        server.close()


def _forwarded(head: str, client: str, forwarding: Forwarding) -> str:
    """Return the head of the request for the server."""
    request, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers: Headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.strip(), value.strip()))
    sent = [value for name, value in headers if name.lower() == "x-forwarded-for"]
    if forwarding is not Forwarding.PASS_ON:
        headers = [one for one in headers if one[0].lower() != "x-forwarded-for"]
        earlier = sent if forwarding is Forwarding.APPEND else []
        headers.append(("X-Forwarded-For", ", ".join([*earlier, client])))
    if not any(name.lower() == "upgrade" for name, _ in headers):
        headers = [one for one in headers if one[0].lower() != "connection"] + [("Connection", "close")]
    headers.append(("X-Forwarded-Proto", "https"))
    return "\r\n".join([request, *(f"{name}: {value}" for name, value in headers)]) + "\r\n\r\n"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
