"""Sends the heartbeat ping over HTTP.

The operator chooses the address, so it may be private. It is also a secret, so it never reaches a log.
"""

from typing import Final

import aiohttp

from hullwatch.domain.monitoring.health import PingAccepted, PingFailed
from hullwatch.domain.secrets import SecretText

PING_WITHIN_S: Final = 10.0
"""Real seconds for the whole request."""


class HttpPing:
    """Satisfies `PingPort` with GET requests to one address."""

    def __init__(self, url: SecretText, *, within_s: float = PING_WITHIN_S) -> None:
        self._url = url
        self._limit = aiohttp.ClientTimeout(total=within_s)

    async def ping(self) -> PingAccepted | PingFailed:
        """Send one ping; a redirect is not followed, since its target may not count pings."""
        try:
            # One session for each ping: at one a minute, a kept connection has no use.
            async with (
                aiohttp.ClientSession(timeout=self._limit, headers={"User-Agent": "hullwatch"}) as http,
                http.get(self._url.reveal(), allow_redirects=False) as reply,
            ):
                status = reply.status
        except TimeoutError:
            return PingFailed("timeout")
        except (aiohttp.ClientError, OSError, ValueError):
            return PingFailed("connection")
        return PingAccepted() if 200 <= status < 300 else PingFailed(f"http_{status}")
