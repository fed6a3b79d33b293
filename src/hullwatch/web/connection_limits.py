"""How many connections clients may hold, in all and by address, so that database and broker always have descriptors."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

import structlog

from hullwatch.domain.users.login_throttle import network_of

MOST_OF_ADDRESS: Final = 256
"""Connections of one address: an office behind one address has dozens of tabs with a few connections each."""
LOG_EVERY_S: Final = 60.0


class Closable(Protocol):
    """A connection as the limits know it."""

    def close_idle(self) -> None:
        """Close it; no complete request is under way on it."""


class TrustedProxies:
    """The addresses and networks whose forwarded headers count."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        """Raise `ValueError` for an entry that is neither an address nor a network."""
        self.networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(one) for one in entries)

    def __contains__(self, address: str) -> bool:
        """Whether a connection from this address comes from a trusted proxy."""
        try:
            found = ip_address(address)
        except ValueError:  # a Unix socket has no address
            return False
        return any(found in network for network in self.networks)

    def as_text(self) -> str:
        """Return them as uvicorn reads them."""
        return ",".join(str(network) for network in self.networks)


@dataclass(frozen=True, slots=True)
class MostConnections:
    """The limits."""

    overall: int
    of_address: int = MOST_OF_ADDRESS


class ConnectionLimits:
    """Counts the open connections of the server.

    A trusted proxy has no limit of its own, because all its clients share its address; their requests are counted by
    the forwarded address with `enter` and `leave`. When the server has no room, the connection that has waited longest
    for a complete request is closed, of the address that has most of these.
    """

    def __init__(
        self, most: MostConnections, proxies: TrustedProxies, monotonic: Callable[[], float]
    ) -> None:
        self._most = most
        self.proxies = proxies
        self._monotonic = monotonic
        self._sites: dict[Hashable, str] = {}
        """Open connection → its address."""
        self._by_site: Counter[str] = Counter()
        self._idle: dict[str, OrderedDict[Hashable, Closable]] = {}
        """Address → its connections without a complete request under way, longest first."""
        self._forwarded: Counter[str] = Counter()
        self._refused = 0
        self._logged_at: float | None = None
        self._log = structlog.get_logger(component="Api")

    def __len__(self) -> int:
        return len(self._sites)

    def admit(self, connection: Hashable, address: str) -> bool:
        """Count a new connection; return whether it may stay."""
        site = network_of(address)
        if self._by_site[site] >= self._most.of_address and address not in self.proxies:
            self._record_refusal(address, "address")
            return False
        if len(self._sites) >= self._most.overall and not self._close_one():
            self._record_refusal(address, "server")
            return False
        self._sites[connection] = site
        self._by_site[site] += 1
        return True

    def waits(self, connection: Hashable, closable: Closable) -> None:
        """Record that a connection waits for a complete request."""
        site = self._sites.get(connection)
        if site is not None:
            self._idle.setdefault(site, OrderedDict())[connection] = closable

    def works(self, connection: Hashable) -> None:
        """Record that a request is complete and under way, or that the connection is an event socket now."""
        site = self._sites.get(connection)
        if site is not None and (waiting := self._idle.get(site)) is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._idle[site]

    def discard(self, connection: Hashable) -> None:
        """Stop counting a closed connection."""
        self.works(connection)
        site = self._sites.pop(connection, None)
        if site is not None:
            self._by_site[site] -= 1
            if not self._by_site[site]:
                del self._by_site[site]

    def enter(self, forwarded: str) -> bool:
        """Count a request or event socket of a proxy's client; return whether it may go on, and `leave` must follow."""
        site = network_of(forwarded)
        if self._forwarded[site] >= self._most.of_address:
            self._record_refusal(forwarded, "address")
            return False
        self._forwarded[site] += 1
        return True

    def leave(self, forwarded: str) -> None:
        """Stop counting a request or event socket that has ended."""
        site = network_of(forwarded)
        self._forwarded[site] -= 1
        if not self._forwarded[site]:
            del self._forwarded[site]

    def _close_one(self) -> bool:
        if not self._idle:
            return False
        waiting = max(self._idle.values(), key=len)
        connection, closable = next(iter(waiting.items()))
        self.discard(connection)
        closable.close_idle()
        return True

    def _record_refusal(self, address: str, limit: str) -> None:
        self._refused += 1
        now = self._monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY_S:
            self._log.warning("connections.refused", address=address, limit=limit, refused=self._refused)
            self._logged_at, self._refused = now, 0
