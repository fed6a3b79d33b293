"""Stops the calls of all accounts when Fyers is down or when Cloudflare blocks this server's address.

Failures of calls that name symbols are not reported here: one symbol on many watchlists would stop all calls.
During an outage the checks of an index fail as well, and they count.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.circuit import Circuit, CircuitReport, CircuitState, Permit
from hullwatch.runtime.clock import Clock

UNANSWERED_FOR_S: Final = 10.0
"""Fyers counts as down only when no account got an answer for so long: two monitoring intervals.

When half of the accounts fail, ten failures in a row come by chance every second."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """No request may be sent now."""

    name: str
    """``circuit_open`` (Fyers is down) or ``cloudflare_blocked`` (this server's address is refused)."""
    retry_after_s: float


class Breakers:
    """Two circuits, each opened by several accounts: Fyers is down, or Cloudflare blocks this server."""

    def __init__(self, clock: Clock, random: Random, log: Any) -> None:
        self._log = log
        self._circuits = {
            "circuit_open": Circuit(
                clock,
                opens_after=10,
                min_sources=3,
                min_row_s=UNANSWERED_FOR_S,
                cool_down=Backoff(first_s=5.0, factor=2.0, max_s=60.0, jitter=0.5),
                random=random,
            ),
            # Further calls lengthen a ban, so reports of two accounts are enough.
            "cloudflare_blocked": Circuit(
                clock,
                opens_after=3,
                min_sources=2,
                cool_down=Backoff(first_s=10.0, factor=2.0, max_s=600.0, jitter=0.3),
                random=random,
            ),
        }

    def blocked(self) -> "Blocked | None":
        """Return why no call is allowed now, without taking a permit."""
        for name, circuit in self._circuits.items():
            if circuit.state is not CircuitState.CLOSED and circuit.retry_after_s > 0:
                return Blocked(name, circuit.retry_after_s)
        return None

    def permit(self) -> "CallPermit | Blocked":
        """Return a permit for one request, or why none is given."""
        permits: dict[str, Permit] = {}
        for name, circuit in self._circuits.items():
            permit = circuit.permit()
            if permit is Permit.REFUSED:
                CallPermit(self, permits).settle(None, fyers=None, cloudflare=None)
                return Blocked(name, circuit.retry_after_s)
            permits[name] = permit
        return CallPermit(self, permits)

    def reports(self) -> tuple[CircuitReport, ...]:
        """Return the state of each circuit."""
        return tuple(circuit.report(name) for name, circuit in self._circuits.items())

    def is_open(self, name: str) -> bool:
        """Whether this circuit stops calls."""
        return self._circuits[name].state is not CircuitState.CLOSED

    def settle(self, name: str, permit: Permit, source: Hashable, *, succeeded: bool | None) -> None:
        """Report a result to one circuit; `None` means that the call proved nothing."""
        circuit = self._circuits[name]
        was_open = self.is_open(name)
        if succeeded is None:
            circuit.abandoned(permit)
        elif succeeded:
            circuit.succeeded(permit)
        else:
            circuit.failed(source, permit)
        if was_open != self.is_open(name):
            if was_open:
                self._log.info("fyers.calls_resumed", cause=name)
            else:
                self._log.warning(
                    "fyers.calls_stopped", cause=name, retry_after_s=round(circuit.retry_after_s, 1)
                )


class CallPermit:
    """The permit for one request; settled exactly once, also when the call is cancelled."""

    __slots__ = ("_breakers", "_permits")

    def __init__(self, breakers: Breakers, permits: dict[str, Permit]) -> None:
        self._breakers = breakers
        self._permits = permits

    def settle(self, source: Hashable, *, fyers: bool | None, cloudflare: bool | None) -> None:
        """Report whether Fyers answered and Cloudflare let the call through; `None` means unknown."""
        for name, succeeded in (("circuit_open", fyers), ("cloudflare_blocked", cloudflare)):
            permit = self._permits.pop(name, None)
            if permit is not None:
                self._breakers.settle(name, permit, source, succeeded=succeeded)
