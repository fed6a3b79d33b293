"""Metrics for Prometheus. Their names are part of the documented interface.

Every label has few values: a path is the name of a call without ids, and accounts are never a label.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from hullwatch.domain.sessions.connection import LoginState

_CALL_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CYCLE_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)


class PrometheusMetrics:
    """Counts what the services report, in its own registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self._sessions = Gauge("hullwatch_sessions", "Accounts by login state.", ["state"], registry=registry)
        self._ready = Gauge(
            "hullwatch_ready_accounts",
            "Accounts to watch on an exchange day: ready before the market opens, watched after it, or not. The sum is all of them.",
            ["state"],
            registry=registry,
        )
        self._validations = Counter(
            "hullwatch_validations_total", "Validations that called Fyers.", ["outcome"], registry=registry
        )
        self._cache_hits = Counter(
            "hullwatch_validation_cache_hits_total", "Validations answered from the cache.", registry=registry
        )
        self._shared_checks = Counter(
            "hullwatch_validation_shared_total",
            "Reads of confirmations by other processes, if Redis is used.",
            ["outcome"],
            registry=registry,
        )
        self._calls = Counter(
            "hullwatch_fyers_calls_total", "Calls to Fyers.", ["path", "outcome"], registry=registry
        )
        self._call_seconds = Histogram(
            "hullwatch_fyers_call_seconds", "Time until Fyers answered.", buckets=_CALL_S, registry=registry
        )
        self._cycles = Counter(
            "hullwatch_monitor_cycles_total",
            "Monitoring cycles of one account.",
            ["outcome"],
            registry=registry,
        )
        self._cycle_seconds = Histogram(
            "hullwatch_monitor_cycle_seconds", "Time a cycle took.", buckets=_CYCLE_S, registry=registry
        )
        self._readings = Counter(
            "hullwatch_candle_readings_total", "History calls of monitoring.", ["kind"], registry=registry
        )
        self._signals = Counter("hullwatch_signals_total", "Signals stored.", registry=registry)
        self._notifications = Counter(
            "hullwatch_notifications_total", "Notifications sent.", ["channel", "outcome"], registry=registry
        )
        self._restarts = Counter(
            "hullwatch_job_restarts_total",
            "Restarts of a job after a failure.",
            ["job"],
            registry=registry,
        )
        self._successes = Gauge(
            "hullwatch_job_last_success_timestamp_seconds",
            "Time of the last successful run of a job.",
            ["job"],
            registry=registry,
        )
        self._storage = Gauge(
            "hullwatch_storage_ready",
            "1 while the database can be written and read, else 0.",
            registry=registry,
        )
        for state in LoginState:
            self._sessions.labels(state.value)
        self.readiness(total=0, ready=0)

    def session_states(self, counts: Mapping[LoginState, int]) -> None:
        """Set the number of accounts in each state; a missing state has none."""
        for state in LoginState:
            self._sessions.labels(state.value).set(counts.get(state, 0))

    def readiness(self, *, total: int, ready: int) -> None:
        """Set how many accounts are to be watched, and how many are ready or, after the market opens, watched."""
        self._ready.labels("ready").set(ready)
        self._ready.labels("not_ready").set(total - ready)

    def validation(self, outcome: str) -> None:
        """Count a validation that called Fyers."""
        self._validations.labels(outcome).inc()

    def cache_hit(self) -> None:
        """Count a validation that was answered from the cache."""
        self._cache_hits.inc()

    def shared_check(self, outcome: str) -> None:
        """Count a read of a confirmation by another process."""
        self._shared_checks.labels(outcome).inc()

    def fyers_call(self, path: str, outcome: str, seconds: float) -> None:
        """Count a call to Fyers; `path` is the name of the call, without ids or query."""
        self._calls.labels(path, outcome).inc()
        self._call_seconds.observe(seconds)

    def cycle(self, outcome: str, seconds: float) -> None:
        """Count one account's monitoring cycle."""
        self._cycles.labels(outcome).inc()
        self._cycle_seconds.observe(seconds)

    def candle_reading(self, kind: str) -> None:
        """Count a history call of monitoring."""
        self._readings.labels(kind).inc()

    def signal(self) -> None:
        """Count a stored signal."""
        self._signals.inc()

    def notification(self, channel: str, outcome: str) -> None:
        """Count a notification that was sent or failed."""
        self._notifications.labels(channel, outcome).inc()

    def job_restart(self, job: str) -> None:
        """Count a restart of a job after a failure."""
        self._restarts.labels(job).inc()

    def job_success(self, job: str, at: datetime) -> None:
        """Set the time of a job's last successful run, and show its restarts from 0 on, so that the first one is a change."""
        self._restarts.labels(job)
        self._successes.labels(job).set(at.timestamp())

    def storage_ready(self, *, is_ready: bool) -> None:
        """Set whether the database can be written and read."""
        self._storage.set(is_ready)

    @contextmanager
    def served_on(self, host: str, port: int) -> Iterator[None]:
        """Serve the metrics on their own address, in a thread, until the block ends.

        Raises:
            OSError: The address cannot be used.
        """
        server, thread = start_http_server(port, host, registry=self.registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
