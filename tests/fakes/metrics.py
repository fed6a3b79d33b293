"""Counts in memory what the services report; satisfies `MetricsPort`."""

from collections import Counter


class FakeMetrics:
    """What was reported, by subject."""

    def __init__(self) -> None:
        self.validations: Counter[str] = Counter()
        self.cache_hits = 0
        self.shared_checks: Counter[str] = Counter()
        self.readings: Counter[str] = Counter()
        self.cycles: Counter[str] = Counter()
        self.signals = 0
        self.is_storage_ready: bool | None = None
        self.notifications: Counter[tuple[str, str]] = Counter()
        self.states: dict[str, int] = {}
        self.accounts = (0, 0)
        self.successes: dict[str, object] = {}

    def session_states(self, counts) -> None:
        """Keep the counts."""
        self.states = dict(counts)

    def readiness(self, *, total: int, ready: int) -> None:
        """Keep both."""
        self.accounts = (total, ready)

    def validation(self, outcome: str) -> None:
        """Count a validation."""
        self.validations[outcome] += 1

    def cache_hit(self) -> None:
        """Count a hit."""
        self.cache_hits += 1

    def shared_check(self, outcome: str) -> None:
        """Count a query for another process' confirmation."""
        self.shared_checks[outcome] += 1

    def cycle(self, outcome: str, seconds: float) -> None:
        """Count a cycle."""
        self.cycles[outcome] += 1

    def candle_reading(self, kind: str) -> None:
        """Count a reading."""
        self.readings[kind] += 1

    def signal(self) -> None:
        """Count a signal."""
        self.signals += 1

    def notification(self, channel: str, outcome: str) -> None:
        """Count an attempt to deliver."""
        self.notifications[channel, outcome] += 1

    def job_success(self, job: str, at) -> None:
        """Keep the moment."""
        self.successes[job] = at

    def storage_ready(self, *, is_ready: bool) -> None:
        """Keep it."""
        self.is_storage_ready = is_ready

    def render(self) -> bytes:
        """Return nothing: the numbers are attributes here."""
        return b""
