"""Pings an outside URL while monitoring works, so that a service there raises the alarm when the pings stop.

A ping that fails is only logged and disturbs no monitoring.
"""

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from hullwatch.domain.monitoring.health import MonitoringHealth, PingAccepted, PingFailed, is_healthy
from hullwatch.domain.storage import StorageState
from hullwatch.runtime.supervisor import Supervisor

JOB: Final = "heartbeat-ping"


class PingPort(Protocol):
    """Where pings go."""

    async def ping(self) -> PingAccepted | PingFailed:
        """Send one; no failure of the network raises."""
        ...


class HeartbeatPing:
    """Pings while monitoring is healthy and its results can be stored."""

    def __init__(
        self,
        *,
        health: Callable[[], MonitoringHealth],
        storage: Callable[[], StorageState],
        port: PingPort,
    ) -> None:
        self._health = health
        self._storage = storage
        self._port = port
        self._is_paused = False
        self._failure: str | None = None
        self._log = structlog.get_logger(component="MonitoringService")

    def start_job(self, supervisor: Supervisor, every_s: float) -> None:
        """Begin to ping after one interval, when monitoring has had time to start."""
        supervisor.every(JOB, every_s, self.beat, at_start=False, essential=False)

    async def beat(self) -> None:
        """Ping if monitoring is healthy and its results can be stored."""
        health, storage = self._health(), self._storage()
        is_healthy_now = is_healthy(health) and storage.is_ready
        is_paused, was_paused = not is_healthy_now, self._is_paused
        self._is_paused = is_paused
        if is_paused:
            if not was_paused:
                self._log.warning(
                    "heartbeat_ping.paused",
                    wanted=health.wanted,
                    expected=health.expected,
                    completed=health.completed,
                    overdue=health.overdue,
                    stalled_for_s=round(health.stalled_for.total_seconds()),
                    is_storage_ready=storage.is_ready,
                )
            return
        if was_paused:
            self._log.info("heartbeat_ping.resumed")
        self._note(await self._port.ping())

    def _note(self, outcome: PingAccepted | PingFailed) -> None:
        """Log when pings begin to fail, and when they recover."""
        cause = outcome.cause if isinstance(outcome, PingFailed) else None
        if cause is not None and cause != self._failure:
            self._log.warning("heartbeat_ping.failed", cause=cause)
        elif cause is None and self._failure is not None:
            self._log.info("heartbeat_ping.recovered")
        self._failure = cause
