"""Sends webhooks: a signed POST of JSON to an address of the user.

The signature is ``Hullwatch-Signature: t=<unix seconds>,v1=<hex>``, where the hex is the HMAC-SHA-256 of
``<t>.<body>`` under the channel's secret. The time lets a receiver refuse a recorded request that is sent
again later. ``Hullwatch-Id`` stays the same when hullwatch itself repeats a message.
"""

import hashlib
import hmac
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from hullwatch.channels.guard import (
    NO_SUCH_NAME,
    PRIVATE_NETWORK,
    AddressGuard,
    GuardedResolver,
    PrivateAddressRefused,
)
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.addresses import is_public_text
from hullwatch.domain.notifications.channels import Destination, Message, Refused, SendOutcome, Sent, TryLater
from hullwatch.domain.notifications.notifications import LEADS_TO_LOGIN
from hullwatch.runtime.clock import Clock

LIMIT_S: Final = 10.0
_CONNECT_S: Final = 4.0
_MOST_READ: Final = 4_096
"""Bytes of an answer that are read and dropped, so that the connection can be reused."""
_GONE: Final = 410
_LATER: Final = frozenset({408, 409, 423, 425, 429})
"""Refusals that may be temporary (RFC 9110, 6585, 8470)."""
_OF_MESSAGE: Final = frozenset({400, 413, 415, 422})
_NOT_ENCRYPTED: Final = "A webhook's address has to begin with https://: messages can hold a login link."


class WebhookChannel:
    """Sends to webhooks, with real time in the signatures; close it after use."""

    def __init__(self, guard: AddressGuard, clock: Clock, *, version: str) -> None:
        self._guard = guard
        self._clock = clock
        self._agent = f"hullwatch/{version}"
        self._http: aiohttp.ClientSession | None = None

    async def check(self, destination: Destination) -> None:
        """Check an address before it is stored.

        Raises:
            InvalidInput: It is public and not encrypted, does not resolve, or leads to a private network.
        """
        parts = urlsplit(destination.address.reveal())
        try:
            found = await self._guard.addresses_of(parts.hostname or "")
        except OSError:
            raise InvalidInput(NO_SUCH_NAME, field="address") from None
        if not all(map(self._guard.allows, found)):
            raise InvalidInput(PRIVATE_NETWORK, field="address")
        if await self._is_unencrypted(destination):
            raise InvalidInput(_NOT_ENCRYPTED, field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Post the message once."""
        if await self._is_unencrypted(destination):
            return Refused(_NOT_ENCRYPTED, is_permanent=True)
        body = body_of(message)
        headers = {"Content-Type": "application/json", "Hullwatch-Id": message.id}
        if destination.signing_secret is not None:
            at = int(self._clock.now().timestamp())
            headers["Hullwatch-Signature"] = sign(body, destination.signing_secret.reveal(), at)
        try:
            async with self._session().post(
                destination.address.reveal(), data=body, headers=headers, allow_redirects=False
            ) as answer:
                with suppress(aiohttp.ClientError, TimeoutError):  # the status alone decides
                    await answer.content.read(_MOST_READ)
                return _outcome_of(answer, self._clock.now())
        except (aiohttp.ClientError, OSError) as error:
            return _outcome_of_error(error)

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()

    async def _is_unencrypted(self, destination: Destination) -> bool:
        """Return whether messages would cross the internet unencrypted; what a name resolves to can change."""
        parts = urlsplit(destination.address.reveal())
        if parts.scheme == "https":
            return False
        with suppress(OSError):
            return any(map(is_public_text, await self._guard.addresses_of(parts.hostname or "")))
        return False  # the connection fails for the same reason, and its outcome says so

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # the caller limits the concurrency
                resolver=GuardedResolver(self._guard),
                use_dns_cache=False,
                socket_factory=self._guard.open_socket,
            )
            self._http = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=LIMIT_S, sock_connect=_CONNECT_S),
                headers={"User-Agent": self._agent},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a few compressed bytes can expand to gigabytes
                trust_env=False,  # a proxy would bypass the guard
            )
        return self._http


def body_of(message: Message) -> bytes:
    """Return the JSON that is posted."""
    notice = message.notification
    shown: dict[str, object] = {
        "id": message.id,
        "kind": notice.kind.value,
        "title": notice.title,
        "text": notice.text,
        "createdAt": notice.created_at,
        "incidentId": notice.incident_id,
    }
    if notice.kind in LEADS_TO_LOGIN:
        shown["loginUrl"] = message.login_link.reveal() if message.login_link else None
    return orjson.dumps(shown)


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the signature header for a body that is sent at this time in unix seconds."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _outcome_of(answer: aiohttp.ClientResponse, now: datetime) -> SendOutcome:
    status = answer.status
    if 200 <= status < 300:
        return Sent()
    error_text = f"The server answered {status}."
    if status >= 500 or status in _LATER:
        return TryLater(error_text, _retry_after_s(answer.headers.get("Retry-After"), now))
    if 300 <= status < 400:
        return Refused(f"The server answered {status}; redirects are not followed.")
    return Refused(error_text, is_permanent=status == _GONE, is_of_message=status in _OF_MESSAGE)


_PROBLEMS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiohttp.ClientConnectorCertificateError, "The server's certificate is not valid."),
    (aiohttp.ClientConnectorDNSError, NO_SUCH_NAME),
    (TimeoutError, "The server did not answer in time."),
    (aiohttp.ClientConnectorError, "The server cannot be reached."),
)


def _outcome_of_error(error: Exception) -> SendOutcome:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddressRefused):
        return Refused(PRIVATE_NETWORK, is_permanent=True)
    if isinstance(error, aiohttp.InvalidURL):
        return Refused("The address cannot be used.", is_permanent=True)
    for kind, sentence in _PROBLEMS:
        if isinstance(error, kind):
            return TryLater(sentence)
    return TryLater("The connection was interrupted before the server answered.")


def _retry_after_s(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which holds seconds or a date."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
