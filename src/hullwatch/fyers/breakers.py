"""Holding everybody's calls back: when Fyers is down for all, and when the edge dislikes this machine. One account's rest is in ``rate_limit.py``."""

from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.circuit import Circuit, CircuitReport, CircuitState, Permit
from hullwatch.runtime.clock import Clock

HEARD_WITHIN_S: Final = 10.0
"""Fyers counts as down for all only when nobody was answered for so long: two of the intervals at which watched accounts ask. When half of
the accounts fail and half do not, ten failures in a row come by chance every second."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """No request may be sent now."""

    word: str
    """``circuit_open``: Fyers is down for many; ``edge_blocked``: the edge turns this machine away."""
    retry_after_s: float


class Breakers:
    """Two circuits for all accounts: Fyers is down, or the edge dislikes this machine's address. Each needs several accounts to see it."""

    def __init__(self, clock: Clock, random: Random, log: Any) -> None:
        self._log = log
        self._circuits = {
            "circuit_open": Circuit(
                clock,
                opens_after=10,
                min_sources=3,
                min_row_s=HEARD_WITHIN_S,
                cool_down=Backoff(first_s=5.0, factor=2.0, max_s=60.0, jitter=0.5),
                random=random,
            ),
            # Asking on lengthens a ban, so two accounts' word is enough.
            "edge_blocked": Circuit(
                clock,
                opens_after=3,
                min_sources=2,
                cool_down=Backoff(first_s=10.0, factor=2.0, max_s=600.0, jitter=0.3),
                random=random,
            ),
        }

    def held_back(self) -> "HeldBack | None":
        """Return what keeps calls back at this moment, without asking for a permit."""
        for word, circuit in self._circuits.items():
            if circuit.state is not CircuitState.CLOSED and circuit.retry_after_s > 0:
                return HeldBack(word, circuit.retry_after_s)
        return None

    def ask(self) -> "Passage | HeldBack":
        """Return the right to send one request now, or what forbids it."""
        permits: dict[str, Permit] = {}
        for word, circuit in self._circuits.items():
            permit = circuit.permit()
            if permit is Permit.REFUSED:
                Passage(self, permits).settle(None, fyers=None, edge=None)
                return HeldBack(word, circuit.retry_after_s)
            permits[word] = permit
        return Passage(self, permits)

    def reports(self) -> tuple[CircuitReport, ...]:
        """Return how each circuit stands."""
        return tuple(circuit.report(word) for word, circuit in self._circuits.items())

    def is_open(self, word: str) -> bool:
        """Whether this circuit keeps calls back."""
        return self._circuits[word].state is not CircuitState.CLOSED

    def settle(self, word: str, permit: Permit, source: Hashable, *, is_well: bool | None) -> None:
        """Report to one circuit what was learned, `None` for nothing."""
        circuit = self._circuits[word]
        was_open = self.is_open(word)
        if is_well is None:
            circuit.abandoned(permit)
        elif is_well:
            circuit.succeeded(permit)
        else:
            circuit.failed(source, permit)
        if was_open != self.is_open(word):
            if was_open:
                self._log.info("fyers.calls_resumed", cause=word)
            else:
                self._log.warning(
                    "fyers.calls_held_back", cause=word, retry_after_s=round(circuit.retry_after_s, 1)
                )


class Passage:
    """The right to send one request; settled exactly once, also when the call is cancelled."""

    __slots__ = ("_breakers", "_permits")

    def __init__(self, breakers: Breakers, permits: dict[str, Permit]) -> None:
        self._breakers = breakers
        self._permits = permits

    def settle(self, source: Hashable, *, fyers: bool | None, edge: bool | None) -> None:
        """Report whether Fyers answered, and whether the edge let us through; `None` where nothing was learned."""
        for word, is_well in (("circuit_open", fyers), ("edge_blocked", edge)):
            permit = self._permits.pop(word, None)
            if permit is not None:
                self._breakers.settle(word, permit, source, is_well=is_well)
