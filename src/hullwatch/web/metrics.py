"""The numbers that Prometheus reads; their names are promised in the documentation. What they count is reported by the services.

Every label has few values: paths are names of calls, never addresses with ids; accounts never appear.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from hullwatch.domain.sessions.connection import LoginState

_CALL_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CYCLE_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)


class PrometheusMetrics:
    """Counts what the services report, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self._sessions = Gauge("hullwatch_sessions", "Accounts by login state.", ["state"], registry=registry)
        self._ready = Gauge(
            "hullwatch_ready_accounts",
            "Accounts that count on an exchange day: ready before the opening, watched after it, or not. Both together are all.",
            ["state"],
            registry=registry,
        )
        self._validations = Counter(
            "hullwatch_validations_total", "Validations that asked Fyers.", ["outcome"], registry=registry
        )
        self._cache_hits = Counter(
            "hullwatch_validation_cache_hits_total", "Validations answered from memory.", registry=registry
        )
        self._shared_checks = Counter(
            "hullwatch_validation_shared_total",
            "Reads of another process' confirmation, where Redis is used.",
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
        self._signals = Counter("hullwatch_signals_total", "Signals stored.", registry=registry)
        self._notifications = Counter(
            "hullwatch_notifications_total", "Notifications sent.", ["channel", "outcome"], registry=registry
        )
        self._restarts = Counter(
            "hullwatch_job_restarts_total",
            "Times a job died and was started again.",
            ["job"],
            registry=registry,
        )
        self._successes = Gauge(
            "hullwatch_job_last_success_timestamp_seconds",
            "When a job last ran well.",
            ["job"],
            registry=registry,
        )
        for state in LoginState:
            self._sessions.labels(state.value)
        self.readiness(total=0, ready=0)

    def session_states(self, counts: Mapping[LoginState, int]) -> None:
        """Set how many accounts are in each state; a state that is not named has none."""
        for state in LoginState:
            self._sessions.labels(state.value).set(counts.get(state, 0))

    def readiness(self, *, total: int, ready: int) -> None:
        """Set how many accounts count, and how many of them are ready or, after the opening, watched."""
        self._ready.labels("ready").set(ready)
        self._ready.labels("not_ready").set(total - ready)

    def validation(self, outcome: str) -> None:
        """Count a validation that asked Fyers."""
        self._validations.labels(outcome).inc()

    def cache_hit(self) -> None:
        """Count a validation that was answered from memory."""
        self._cache_hits.inc()

    def shared_check(self, outcome: str) -> None:
        """Count a read of another process' confirmation of a session."""
        self._shared_checks.labels(outcome).inc()

    def fyers_call(self, path: str, outcome: str, seconds: float) -> None:
        """Count a call to Fyers; `path` is the name of the call, without ids or query."""
        self._calls.labels(path, outcome).inc()
        self._call_seconds.observe(seconds)

    def cycle(self, outcome: str, seconds: float) -> None:
        """Count one account's monitoring cycle."""
        self._cycles.labels(outcome).inc()
        self._cycle_seconds.observe(seconds)

    def signal(self) -> None:
        """Count a stored signal."""
        self._signals.inc()

    def notification(self, channel: str, outcome: str) -> None:
        """Count a notification that was sent or could not be."""
        self._notifications.labels(channel, outcome).inc()

    def job_restart(self, job: str) -> None:
        """Count a job that died and was started again."""
        self._restarts.labels(job).inc()

    def job_success(self, job: str, at: datetime) -> None:
        """Remember when a job last ran well; its restarts count from 0, so that the first is seen as a change."""
        self._restarts.labels(job)
        self._successes.labels(job).set(at.timestamp())

    @contextmanager
    def served_on(self, host: str, port: int) -> Iterator[None]:
        """Serve the numbers on an address of their own, in a thread, until the block ends.

        Raises:
            OSError: The address cannot be listened on.
        """
        server, thread = start_http_server(port, host, registry=self.registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
