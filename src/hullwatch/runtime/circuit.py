"""A circuit breaker: when everyone's calls fail, stop calling, and let one probe find out when it is over.

What counts as a failure of the other side is decided by the caller; a refusal meant for one person is none.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from random import Random

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock


class Permit(Enum):
    """What a caller may do now."""

    ALLOWED = "allowed"  # call; report how it went
    PROBE = "probe"  # call on behalf of all; must be reported as succeeded, failed or abandoned
    REFUSED = "refused"  # do not call; ask again after `retry_after_s`


class CircuitState(Enum):
    """Where the breaker stands."""

    CLOSED = "closed"  # calls pass
    OPEN = "open"  # calls are refused until the cool-down is over
    HALF_OPEN = "half_open"  # one probe is out, everyone else is refused


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """How a circuit stands, for people."""

    name: str
    state: CircuitState
    opened_at: datetime | None
    retry_after_s: float
    """Seconds until it is worth asking again; 0 when it is now."""


class Circuit:
    """Opens after enough failures in a row from enough distinct sources; any success in between starts anew.

    Args:
        clock: what the cool-down is measured by.
        opens_after: failures in a row that open it.
        min_sources: how many distinct sources these must come from, so that one account's trouble
            does not stop the others.
        cool_down: how long it stays open, growing with each probe that fails.
        random: where the cool-down's jitter comes from.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        opens_after: int,
        cool_down: Backoff,
        random: Random,
        min_sources: int = 1,
        min_row_s: float = 0.0,
    ) -> None:
        if opens_after < 1 or min_sources < 1:
            raise ValueError("a circuit opens after at least one failure from at least one source")
        self._clock = clock
        self._opens_after = opens_after
        self._min_sources = min_sources
        self._min_row_s = min_row_s
        self._cool_down = cool_down
        self._random = random
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._row_began_at = 0.0
        self._sources: set[Hashable] = set()
        self._times_opened = 0
        self._probe_at = 0.0
        self._opened_at: datetime | None = None

    @property
    def state(self) -> CircuitState:
        """Where the breaker stands; a cool-down that is over shows as open until someone asks for a permit."""
        return self._state

    @property
    def opened_at(self) -> datetime | None:
        """When the present outage was noticed, in UTC; None while closed."""
        return self._opened_at

    @property
    def retry_after_s(self) -> float:
        """Seconds until it is worth asking for a permit again; 0 when it is now."""
        match self._state:
            case CircuitState.CLOSED:
                return 0.0
            case CircuitState.OPEN:
                return max(0.0, self._probe_at - self._clock.monotonic())
            case CircuitState.HALF_OPEN:
                return self._cool_down.first_s

    def report(self, name: str) -> CircuitReport:
        """Return how it stands, under a name."""
        return CircuitReport(name, self._state, self._opened_at, self.retry_after_s)

    def permit(self) -> Permit:
        """Ask whether to call now."""
        if self._state is CircuitState.CLOSED:
            return Permit.ALLOWED
        if self._state is CircuitState.OPEN and self._clock.monotonic() >= self._probe_at:
            self._state = CircuitState.HALF_OPEN
            return Permit.PROBE
        return Permit.REFUSED

    def succeeded(self, permit: Permit | None = None) -> None:
        """Report an answer: the circuit closes.

        Args:
            permit: what the call was made under. Naming it keeps calls that set out before the circuit
                opened from being taken for the probe; without it, whoever reports is the probe.
        """
        if not self._is_straggler(permit):
            self._close()

    def failed(self, source: Hashable, permit: Permit | None = None) -> None:
        """Report that the other side did not answer this source. See `succeeded` for `permit`."""
        if self._state is CircuitState.HALF_OPEN and not self._is_straggler(permit):
            self._open()
        elif self._state is CircuitState.CLOSED:
            if self._failures == 0:
                self._row_began_at = self._clock.monotonic()
            self._failures += 1
            if len(self._sources) < self._min_sources:
                self._sources.add(source)
            if self._speaks_for_all():
                self._opened_at = self._clock.now()
                self._open()

    def abandoned(self, permit: Permit | None = None) -> None:
        """Report that a call was cancelled before it told anything: the next to ask becomes the probe."""
        if self._state is CircuitState.HALF_OPEN and not self._is_straggler(permit):
            self._state = CircuitState.OPEN
            self._probe_at = self._clock.monotonic()

    def _speaks_for_all(self) -> bool:
        return (
            self._failures >= self._opens_after
            and len(self._sources) >= self._min_sources
            and self._clock.monotonic() - self._row_began_at >= self._min_row_s
        )

    def _is_straggler(self, permit: Permit | None) -> bool:
        return self._state is CircuitState.HALF_OPEN and permit is Permit.ALLOWED

    def _close(self) -> None:
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._sources.clear()
        self._times_opened = 0
        self._opened_at = None

    def _open(self) -> None:
        self._state = CircuitState.OPEN
        self._times_opened += 1
        self._probe_at = self._clock.monotonic() + self._cool_down.delay(self._times_opened, self._random)
