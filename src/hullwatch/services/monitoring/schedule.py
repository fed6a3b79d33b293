"""When each account's next cycle is due. An account that is not scheduled costs nothing and makes no call."""

import heapq
from datetime import datetime


class Schedule:
    """A heap of due moments, one for each account at most."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._due_at: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._due_at)

    def put(self, account: str, due_at: datetime) -> None:
        """Schedule an account, in place of what was scheduled for it."""
        self._due_at[account] = due_at
        heapq.heappush(self._heap, (due_at, account))

    def discard(self, account: str) -> None:
        """Take an account out."""
        self._due_at.pop(account, None)

    def due_at(self, account: str) -> datetime | None:
        """Return when the account is due, or `None` when it is not scheduled."""
        return self._due_at.get(account)

    def next_due_at(self) -> datetime | None:
        """Return the earliest due moment."""
        self._drop_outdated()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: datetime) -> list[str]:
        """Take out and return the accounts that are due, earliest first."""
        due = []
        self._drop_outdated()
        while self._heap and self._heap[0][0] <= now:
            _, account = heapq.heappop(self._heap)
            del self._due_at[account]
            due.append(account)
            self._drop_outdated()
        return due

    def _drop_outdated(self) -> None:
        while self._heap and self._due_at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
