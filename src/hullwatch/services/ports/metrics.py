"""Where the services count what they do."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from hullwatch.domain.sessions.connection import LoginState


class MetricsPort(Protocol):
    """Counters and gauges; no label names an account."""

    def session_states(self, counts: Mapping[LoginState, int]) -> None:
        """Set how many accounts are in each login state; a state that is not named has none."""
        ...

    def readiness(self, *, total: int, ready: int) -> None:
        """Set how many accounts should be monitored, and how many are ready or monitored."""
        ...

    def validation(self, outcome: str) -> None:
        """Count a validation that called Fyers."""
        ...

    def cache_hit(self) -> None:
        """Count a validation that was answered from memory."""
        ...

    def shared_check(self, outcome: str) -> None:
        """Count a shared check: ``found``, ``awaited``, ``absent`` or ``not_answering``."""
        ...

    def cycle(self, outcome: str, seconds: float) -> None:
        """Count one account's monitoring cycle."""
        ...

    def candle_reading(self, kind: str) -> None:
        """Count a history call of monitoring: ``first``, ``second``, ``whole`` or ``later``."""
        ...

    def signal(self) -> None:
        """Count a stored signal."""
        ...

    def notification(self, channel: str, outcome: str) -> None:
        """Count an attempt to deliver a notice."""
        ...

    def job_success(self, job: str, at: datetime) -> None:
        """Set when a job last succeeded."""
        ...

    def storage_ready(self, *, is_ready: bool) -> None:
        """Set whether the database can be written and read."""
        ...

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        ...
