"""Counts the calls of each account, so that a test can see what a client really did.

Counted is every call under `/api/v3` and `/data` and every symbol master, refused ones and ones a fault
answered included (a call that got no answer has status 0). Not counted are the control calls and the login
page. A call belongs to the account in its token, refused tokens too; calls without a token belong to no
account.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Rate:
    """The most calls in any 60 s so far."""

    recent: deque[float] = field(default_factory=deque)
    most: int = 0

    def add(self, now: float) -> None:
        self.recent.append(now)
        while self.recent[0] <= now - 60:
            self.recent.popleft()
        self.most = max(self.most, len(self.recent))


class CallCounter:
    """Counts calls by account, path and status."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._by_account: defaultdict[str, _Rate] = defaultdict(_Rate)
        self._by_path: defaultdict[tuple[str, str], _Rate] = defaultdict(_Rate)

    def add(self, fyers_id: str, path: str, status: int, now: float) -> None:
        """Count one call; `fyers_id` is empty without a token, `now` is in simulated epoch seconds."""
        self._counts[fyers_id, path, status] += 1
        self._by_account[fyers_id].add(now)
        self._by_path[fyers_id, path].add(now)

    def clear(self) -> None:
        """Reset all counts."""
        self._counts.clear()
        self._by_account.clear()
        self._by_path.clear()

    def report(self, fyers_id: str | None, path: str | None) -> dict[str, Any]:
        """Return totals, for one account or all, for the paths that begin with `path` or all.

        `perMinuteMax` is the most calls any one account made within 60 simulated seconds; where `path`
        covers several paths, to any one of them.
        """
        by_path: Counter[str] = Counter()
        by_status: Counter[str] = Counter()
        for (account, called, status), count in self._counts.items():
            if fyers_id in {None, account} and called.startswith(path or ""):
                by_path[called] += count
                by_status[str(status)] += count
        if path is None:
            rates = [rate for account, rate in self._by_account.items() if fyers_id in {None, account}]
        else:
            rates = [
                rate
                for (account, called), rate in self._by_path.items()
                if fyers_id in {None, account} and called.startswith(path)
            ]
        return {
            "total": by_path.total(),
            "byPath": dict(by_path),
            "byStatus": dict(by_status),
            "perMinuteMax": max((rate.most for rate in rates), default=0),
        }
