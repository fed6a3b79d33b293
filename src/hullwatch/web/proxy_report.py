"""Reports a proxy that hides the addresses of its clients."""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers

from hullwatch.web.config import WebConfig

REPORT_EVERY_S: Final = 3600.0


class ProxyReport:
    """Logs at most once an hour that people share the address of their proxy, and so its limits.

    The server does not speak https, so every request for a public https address comes from a proxy.
    """

    def __init__(self, config: WebConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._public_host = urlsplit(config.origin).netloc.lower() if config.is_secure else None
        self._monotonic = monotonic
        self._reported_at: float | None = None
        self._log = structlog.get_logger(component="Api")

    def check(self, address: str, headers: Headers) -> None:
        """Check a request whose `address` is the forwarded one if the server accepted that."""
        if self._public_host is None or headers.get("host", "").lower() != self._public_host:
            return
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        if address in forwarded:
            return
        now = self._monotonic()
        if self._reported_at is not None and now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        reason = "not_in_trusted_proxies" if forwarded else "no_x_forwarded_for"
        self._log.warning("proxy.hides_addresses", proxy=address, reason=reason)
