"""A circuit breaker: stops all calls to a failing service and tests with one probe whether it is back.

The caller decides what counts as a failure of the service. A refusal for one account is not one.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from random import Random

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock


class Permit(Enum):
    """The answer to a request to call."""

    ALLOWED = "allowed"  # call, and report the result
    PROBE = "probe"  # call on behalf of all; report success, failure or abandonment
    REFUSED = "refused"  # do not call; request a permit again after `retry_after_s`


class CircuitState(Enum):
    """The state of a breaker."""

    CLOSED = "closed"  # calls pass
    OPEN = "open"  # calls are refused until the cool-down has passed
    HALF_OPEN = "half_open"  # one probe is under way, all other calls are refused


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """The state of a circuit, for people."""

    name: str
    state: CircuitState
    opened_at: datetime | None
    retry_after_s: float
    """Seconds until a call is allowed as a probe; 0 when one is allowed now."""


class Circuit:
    """Opens after enough failures in a row from enough distinct sources; a success resets the count.

    Args:
        clock: measures the cool-down.
        opens_after: failures in a row that open it.
        min_sources: distinct sources of these failures: one failing account does not stop others.
        min_row_s: seconds between the first and the last of these failures.
        cool_down: how long it stays open; grows with each failed probe.
        random: the source of the cool-down's jitter.
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
        """The state; after the cool-down it stays open until a permit is requested."""
        return self._state

    @property
    def opened_at(self) -> datetime | None:
        """When the present outage was detected, in UTC; None while closed."""
        return self._opened_at

    @property
    def retry_after_s(self) -> float:
        """Seconds until a permit can be granted; 0 when one can be granted now."""
        match self._state:
            case CircuitState.CLOSED:
                return 0.0
            case CircuitState.OPEN:
                return max(0.0, self._probe_at - self._clock.monotonic())
            case CircuitState.HALF_OPEN:
                return self._cool_down.first_s

    def report(self, name: str) -> CircuitReport:
        """Return the state with a name."""
        return CircuitReport(name, self._state, self._opened_at, self.retry_after_s)

    def permit(self) -> Permit:
        """Return whether the caller may call now."""
        if self._state is CircuitState.CLOSED:
            return Permit.ALLOWED
        if self._state is CircuitState.OPEN and self._clock.monotonic() >= self._probe_at:
            self._state = CircuitState.HALF_OPEN
            return Permit.PROBE
        return Permit.REFUSED

    def succeeded(self, permit: Permit | None = None) -> None:
        """Report an answer: the circuit closes.

        Args:
            permit: the permit of the call. With it, a call that began before the circuit opened is not taken
                for the probe. Without it, every report counts as the probe's.
        """
        if not self._began_before_opening(permit):
            self._close()

    def failed(self, source: Hashable, permit: Permit | None = None) -> None:
        """Report that the service did not answer this source. See `succeeded` for `permit`."""
        if self._state is CircuitState.HALF_OPEN and not self._began_before_opening(permit):
            self._open()
        elif self._state is CircuitState.CLOSED:
            if self._failures == 0:
                self._row_began_at = self._clock.monotonic()
            self._failures += 1
            if len(self._sources) < self._min_sources:
                self._sources.add(source)
            if self._has_enough_failures():
                self._opened_at = self._clock.now()
                self._open()

    def abandoned(self, permit: Permit | None = None) -> None:
        """Report a call that was cancelled without a result: the next call becomes the probe."""
        if self._state is CircuitState.HALF_OPEN and not self._began_before_opening(permit):
            self._state = CircuitState.OPEN
            self._probe_at = self._clock.monotonic()

    def _has_enough_failures(self) -> bool:
        return (
            self._failures >= self._opens_after
            and len(self._sources) >= self._min_sources
            and self._clock.monotonic() - self._row_began_at >= self._min_row_s
        )

    def _began_before_opening(self, permit: Permit | None) -> bool:
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
