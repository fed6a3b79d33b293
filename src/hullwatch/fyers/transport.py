"""Sends one HTTP request and reads a bounded reply; every error of the HTTP library becomes a cause.

No error text of the HTTP library is kept or logged, since some quote addresses and headers.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

import aiohttp
from aiohttp import client_exceptions, http_exceptions
from yarl import URL

from hullwatch import __version__
from hullwatch.fyers.errors import Reply

LARGEST_REPLY: Final = 8 * 2**20
"""Bytes after decompression; 100 days of minutes are below 3 MB."""
KEEP_ALIVE_S: Final = 25.0
"""Idle connections are closed before Cloudflare resets them (observed SDK logs)."""
_CHUNK: Final = 64 * 2**10


@dataclass(frozen=True, slots=True)
class NoReply:
    """No complete reply came; `cause` is a short stable word."""

    cause: str


CAUSES: Final[Mapping[type[Exception], str]] = MappingProxyType(
    {
        # No connection, or one that was interrupted.
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
        # Time-outs. A retry would double the wait of the caller.
        TimeoutError: "timeout",
        aiohttp.ServerTimeoutError: "timeout",
        aiohttp.ConnectionTimeoutError: "timeout",
        aiohttp.SocketTimeoutError: "timeout",
        # Encryption. A retry does not change a certificate.
        aiohttp.ServerFingerprintMismatch: "tls",
        aiohttp.ClientSSLError: "tls",
        aiohttp.ClientConnectorSSLError: "tls",
        aiohttp.ClientConnectorCertificateError: "tls",
        ssl.SSLError: "tls",
        # No HTTP, or an incomplete reply.
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
"""Error class → cause; a class without a row uses that of its nearest ancestor."""


def translate(error: Exception) -> str:
    """Return the cause for an error of the HTTP library."""
    for ancestor in type(error).__mro__:
        if (cause := CAUSES.get(ancestor)) is not None:
            return cause
    raise TypeError(f"{type(error).__name__} is not an error of the transport")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Headers and body hold secrets and stay out of `repr`."""

    method: str
    url: str
    """Complete and already encoded; never holds a secret."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    largest_reply: int = LARGEST_REPLY
    timeout_s: float | None = None
    """`None` means the limit of the transport."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits in real seconds: the network does not follow a faster clock."""

    request_s: float = 10.0
    connect_s: float = 3.0


class Transport:
    """A pool of connections without cookies, redirects or proxies; every exchange ends within its time."""

    def __init__(self, limits: TimeLimits) -> None:
        self.limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; later calls return `NoReply`."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Request) -> Reply | NoReply:
        """Send one request and read its reply.

        It raises nothing for failures of the server or the network. A cancellation is raised.
        """
        if self._is_closed:
            return NoReply("closed")
        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=self._time_limits(request.timeout_s or self.limits.request_s),
            ) as response:
                body = await _read(response, request.largest_reply)
                if body is None:
                    return NoReply("too_large")
                headers = response.headers
                date = "" if "Age" in headers else headers.get("Date", "")
                return Reply(
                    response.status, body, headers.get("Content-Type", ""), _retry_after(headers), date
                )
        except (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, ValueError) as error:
            return NoReply(translate(error))

    def _open(self) -> aiohttp.ClientSession:
        # No limit: each account has its slots, and under a shared limit hanging accounts would block others.
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
        if (known := self._timeouts.get(total_s)) is not None:
            return known
        connect_s = min(self.limits.connect_s, total_s)
        # The library rounds limits above its threshold up to whole seconds: hanging accounts would all time
        # out in the same instant, too late, and look like an outage.
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s, ceil_threshold=total_s + 1)
        self._timeouts[total_s] = timeout
        return timeout


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the library from sending a request again by itself after an interrupted connection.

    It would ignore the rate limit and the expiry of the credential. It retries after certain error classes,
    so their common ancestor is raised instead.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError("the connection was interrupted") from error


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes | None:
    """Return the body, `None` if it is larger than `largest`; the received bytes count, not the header."""
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
    """Return the seconds to wait; some calls name milliseconds (Fyers API v3 docs, "Rate limits")."""
    seconds = headers.get("Retry-After", "")
    if seconds:
        return seconds
    milliseconds = headers.get("X-Retry-After-Ms", "")
    is_number = milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 12
    return str(int(milliseconds) / 1000) if is_number else ""
