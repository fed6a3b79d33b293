"""Configuration of the web application."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebConfig:
    """The addresses, limits and defaults of the web application."""

    public_url: str = "http://127.0.0.1:8000"
    """The address of this server for users; cookies and the checks of `Origin` and `Host` depend on it."""
    version: str = "0"
    extra_hosts: frozenset[str] = frozenset()
    """Further names of this server in a `Host` header, such as that of a container."""
    hma_period: int = 55
    hma_resolution: str = "5"
    """Defaults for requests that name no period or resolution."""
    registration: str = "open"
    """How accounts are created: ``open``, ``invite`` or ``closed``."""
    dashboard_check_minutes: float = 15
    """How often an open page requests its status, in addition to pushed events."""
    monitor_interval_s: float = 5.0
    """Interval between two monitoring cycles."""
    pages: Path | None = None
    """Folder of the built pages; `None` shows a plain home page."""
    most_body_bytes: int = 256 * 1024
    heartbeat_s: float = 20.0
    """Real seconds without an event after which an event socket sends a heartbeat."""
    serves_metrics: bool = True
    """False if the metrics have an address of their own."""

    @cached_property
    def is_secure(self) -> bool:
        """Whether users connect by https, so that cookies are sent over https only."""
        return urlsplit(self.public_url).scheme == "https"

    @cached_property
    def origin(self) -> str:
        """The `Origin` that pages of this server send."""
        parts = urlsplit(self.public_url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
        return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names without port that a `Host` header may have."""
        host = urlsplit(self.public_url).hostname or ""
        return LOOPBACK_HOSTS | {f"[{host}]" if ":" in host else host} | self.extra_hosts
