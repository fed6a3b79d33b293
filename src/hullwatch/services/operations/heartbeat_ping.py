"""The dead man's switch: an outgoing ping while monitoring works, so that somebody outside misses it when it stops.

What counts as working is the domain's rule (``domain/monitoring/health.py``). Nothing in here can disturb monitoring, and a ping that fails is only logged.
"""

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from hullwatch.domain.monitoring.health import MonitoringHealth, PingAccepted, PingFailed, is_healthy
from hullwatch.runtime.supervisor import Supervisor

JOB: Final = "dead-mans-switch"


class PingPort(Protocol):
    """Where pings go."""

    async def ping(self) -> PingAccepted | PingFailed:
        """Send one; never raises for anything that the network does."""
        ...


class HeartbeatPing:
    """Pings as long as monitoring lives."""

    def __init__(self, *, health: Callable[[], MonitoringHealth], port: PingPort) -> None:
        self._health = health
        self._port = port
        self._is_silent = False
        self._failed_by: str | None = None
        self._log = structlog.get_logger(component="MonitoringService")

    def start_job(self, supervisor: Supervisor, every_s: float) -> None:
        """Begin to ping; the first one is due after one interval, by when there is something to say."""
        supervisor.every(JOB, every_s, self.beat, at_start=False, essential=False)

    async def beat(self) -> None:
        """Ping, if monitoring lives."""
        health = self._health()
        is_silent, was_silent = not is_healthy(health), self._is_silent
        self._is_silent = is_silent
        if is_silent:
            if not was_silent:
                self._log.warning(
                    "heartbeat_ping.silent",
                    wanted=health.wanted,
                    expected=health.expected,
                    completed=health.completed,
                    overdue=health.overdue,
                    stalled_for_s=round(health.stalled_for.total_seconds()),
                )
            return
        if was_silent:
            self._log.info("heartbeat_ping.pings_again")
        self._note(await self._port.ping())

    def _note(self, outcome: PingAccepted | PingFailed) -> None:
        """Log a ping that fails when it begins to, and when it arrives again."""
        cause = outcome.cause if isinstance(outcome, PingFailed) else None
        if cause is not None and cause != self._failed_by:
            self._log.warning("heartbeat_ping.not_taken", cause=cause)
        elif cause is None and self._failed_by is not None:
            self._log.info("heartbeat_ping.taken_again")
        self._failed_by = cause
