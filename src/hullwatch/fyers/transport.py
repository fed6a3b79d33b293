"""One HTTP exchange with Fyers: sending, reading a bounded body, and turning every foreign error into a word.

What a reply means belongs to ``errors.py``. No error text of the HTTP library is kept or logged: some of them quote addresses and headers.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import client_exceptions, http_exceptions
from yarl import URL

from hullwatch import __version__
from hullwatch.fyers.errors import Reply

LARGEST_REPLY: Final = 8 * 2**20
"""Bytes after decompression; 100 days of minutes are below 3 MB."""
KEEP_ALIVE_S: Final = 25.0
"""Idle connections are dropped before the edge does it, which would look like a failure (resets on idle keep-alive in observed SDK logs)."""
_CHUNK: Final = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Trouble:
    """No reply; `cause` says what happened in a short stable word."""

    cause: str


TROUBLES: Final[Mapping[type[Exception], str]] = MappingProxyType(
    {
        # No connection, or a connection that broke.
        aiohttp.ClientError: "connection",
        aiohttp.ClientConnectionError: "connection",
        aiohttp.ClientConnectionResetError: "connection",
        aiohttp.ClientOSError: "connection",
        aiohttp.ClientConnectorError: "connection",
        aiohttp.ClientConnectorDNSError: "dns",
        aiohttp.ClientProxyConnectionError: "connection",
        client_exceptions.UnixClientConnectorError: "connection",
        aiohttp.ServerConnectionError: "connection",
        aiohttp.ServerDisconnectedError: "connection",
        OSError: "connection",
        # Time ran out: sending again would only double the wait of whoever waits for this.
        TimeoutError: "timeout",
        aiohttp.ServerTimeoutError: "timeout",
        aiohttp.ConnectionTimeoutError: "timeout",
        aiohttp.SocketTimeoutError: "timeout",
        # Encryption: a certificate does not get better by asking again.
        aiohttp.ServerFingerprintMismatch: "tls",
        aiohttp.ClientSSLError: "tls",
        aiohttp.ClientConnectorSSLError: "tls",
        aiohttp.ClientConnectorCertificateError: "tls",
        ssl.SSLError: "tls",
        # Something that is not HTTP, or half of it.
        aiohttp.ClientPayloadError: "half_body",
        aiohttp.ClientResponseError: "not_http",
        aiohttp.ContentTypeError: "not_http",
        aiohttp.WSServerHandshakeError: "not_http",
        aiohttp.ClientHttpProxyError: "not_http",
        http_exceptions.HttpProcessingError: "not_http",
        UnicodeError: "not_http",
        aiohttp.UploadAbortedError: "connection",
        # Addresses. Redirects are not followed, so these are our own base addresses.
        ValueError: "bad_address",
        aiohttp.InvalidURL: "bad_address",
        aiohttp.InvalidUrlClientError: "bad_address",
        aiohttp.NonHttpUrlClientError: "bad_address",
        aiohttp.TooManyRedirects: "redirect",
        aiohttp.RedirectClientError: "redirect",
        aiohttp.InvalidUrlRedirectClientError: "redirect",
        aiohttp.NonHttpUrlRedirectClientError: "redirect",
    }
)
"""Foreign error → our word; a class without a row of its own takes its nearest ancestor's."""


def translate(error: Exception) -> str:
    """Return our word for a foreign error."""
    for ancestor in type(error).__mro__:
        if (cause := TROUBLES.get(ancestor)) is not None:
            return cause
    raise TypeError(f"{type(error).__name__} is not an error of the transport")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent; headers and body hold secrets and stay out of `repr`."""

    method: str
    url: str
    """Complete and already encoded; never holds a secret."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    largest_reply: int = LARGEST_REPLY
    timeout_s: float | None = None
    """In all; `None` means the transport's own."""


class Transport:
    """A pool of connections without cookies, redirects or proxies; every exchange ends within its time."""

    def __init__(self, *, timeout_s: float, connect_timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls made later are told that there is none."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Request) -> Reply | Trouble:
        """Send one request and read its reply.

        Raises nothing for what the other side or the network does; cancellation passes through.
        """
        if self._is_closed:
            return Trouble("closed")
        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=self._time_limits(request.timeout_s or self._timeout_s),
            ) as response:
                body = await _read(response, request.largest_reply)
                if body is None:
                    return Trouble("too_large")
                headers = response.headers
                return Reply(response.status, body, headers.get("Content-Type", ""), _retry_after(headers))
        except (
            aiohttp.ClientError,
            http_exceptions.HttpProcessingError,
            TimeoutError,
            OSError,
            ValueError,
        ) as error:
            return Trouble(translate(error))

    def _open(self) -> aiohttp.ClientSession:
        # No limit on connections: each account's calls in flight are capped, and a shared limit would let hanging accounts starve others.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=60)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
            headers={"User-Agent": f"hullwatch/{__version__}", "Accept": "application/json"},
            read_bufsize=_CHUNK,
            middlewares=(_send_once,),
        )

    def _time_limits(self, total_s: float) -> aiohttp.ClientTimeout:
        connect_s = min(self._connect_timeout_s, total_s)
        # The library rounds limits above its threshold up to whole seconds: accounts that hang would all time out in the same instant,
        # late, and look like an outage.
        return aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s, ceil_threshold=total_s + 1)


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the library from sending a request again by itself when a connection broke.

    It would do so without a turn and without a look at the credential, which may have ended meanwhile. It knows the errors it repeats
    after by their classes, so they pass as their common ancestor.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError("the connection broke") from error


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes | None:
    """Return the body, `None` if it is larger than `largest`: the size is checked on what comes, not on what a header says."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > largest:
            response.close()
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _retry_after(headers: Mapping[str, str]) -> str:
    """Return how long to wait as sent, in seconds; order calls are told in milliseconds too (Fyers API v3 docs, "Rate limits")."""
    seconds = headers.get("Retry-After", "")
    if seconds:
        return seconds
    milliseconds = headers.get("X-Retry-After-Ms", "")
    return (
        str(int(milliseconds) / 1000)
        if milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 12
        else ""
    )
