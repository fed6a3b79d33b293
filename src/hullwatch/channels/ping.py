"""Pings of the dead man's switch over HTTP. Satisfies `PingPort`.

The address is the operator's own, so it may lead anywhere; it is also a capability, so nothing of it reaches a log.
"""

from typing import Final

import aiohttp

from hullwatch.domain.monitoring.vitals import NotTaken, Taken
from hullwatch.domain.secrets import SecretText

PING_WITHIN_S: Final = 10.0
"""Real seconds for everything."""


class HttpPing:
    """Asks one address with GET."""

    def __init__(self, url: SecretText, *, within_s: float = PING_WITHIN_S) -> None:
        self._url = url
        self._limit = aiohttp.ClientTimeout(total=within_s)

    async def ping(self) -> Taken | NotTaken:
        """Send one; a redirect is not followed, since it may lead to where nobody counts pings."""
        try:
            # A session for each: one a minute is not worth a connection that is kept, and none is left to be closed.
            async with (
                aiohttp.ClientSession(timeout=self._limit, headers={"User-Agent": "hullwatch"}) as http,
                http.get(self._url.reveal(), allow_redirects=False) as reply,
            ):
                status = reply.status
        except TimeoutError:
            return NotTaken("timeout")
        except (aiohttp.ClientError, OSError, ValueError):
            return NotTaken("connection")
        return Taken() if 200 <= status < 300 else NotTaken(f"http_{status}")
