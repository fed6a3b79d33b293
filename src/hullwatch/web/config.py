"""What the web needs to know of its surroundings; where the values come from is the settings' business."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebConfig:
    """How this install is reached, and how much it takes in."""

    public_url: str = "http://127.0.0.1:8000"
    """The address that users type; cookies and the checks of `Origin` and `Host` follow it."""
    version: str = "0"
    extra_hosts: frozenset[str] = frozenset()
    """Further names in a `Host` header that are ours, such as a container's."""
    hma_period: int = 55
    hma_resolution: str = "5"
    """What is meant when nobody says otherwise."""
    registration: str = "open"
    """How accounts come to be: ``open``, ``invite`` or ``closed``."""
    dashboard_check_minutes: float = 15
    """How often an open page asks for its status, whatever it is pushed."""
    monitor_interval_s: float = 5.0
    """From quote to quote, while all is well."""
    pages: Path | None = None
    """Folder of the built pages; without one a plain home page says so."""
    most_body_bytes: int = 256 * 1024
    heartbeat_s: float = 20.0
    """Real seconds after which an event socket with nothing to say says that it lives."""
    serves_metrics: bool = True
    """False when the metrics are bound to another address."""

    @cached_property
    def is_secure(self) -> bool:
        """Whether users come by https, so that cookies may be kept off http."""
        return urlsplit(self.public_url).scheme == "https"

    @cached_property
    def origin(self) -> str:
        """The `Origin` that our own pages send."""
        parts = urlsplit(self.public_url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
        return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names without port that a `Host` header may carry."""
        host = urlsplit(self.public_url).hostname or ""
        return LOOPBACK_HOSTS | {f"[{host}]" if ":" in host else host} | self.extra_hosts
