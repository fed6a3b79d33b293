"""Telling the broker's trouble from the users': many accounts refused at once before their known end.

One session ends alone; when a good part of all sessions is refused within a minute, Fyers' own login check is ill. Then verdicts are
held. Who holds them and asks again is ``services/connections.py``.
"""

from collections.abc import Hashable
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=60)
FEWEST = 3
"""Below three, two people's bad luck at the same time is likelier than an ill broker."""
SHARE = 0.25
"""Of the sessions that were alive when the window began."""


class RefusalWatch:
    """Counts distinct accounts whose refusal, before their known end, fell into the last `WINDOW`."""

    def __init__(self) -> None:
        self._refused_at: dict[Hashable, datetime] = {}

    def note(self, account: Hashable, now: datetime) -> None:
        """Remember a refusal; a second one of the same account moves its time."""
        self._refused_at.pop(account, None)
        self._refused_at[account] = now

    def forget(self, account: Hashable) -> None:
        """Take a refusal back: a second look cleared it."""
        self._refused_at.pop(account, None)

    def count(self, now: datetime) -> int:
        """Return how many distinct accounts were refused within the window."""
        for account, refused_at in list(self._refused_at.items()):
            if now - refused_at <= WINDOW:
                break
            del self._refused_at[account]
        return len(self._refused_at)

    def is_mass(self, *, alive: int, now: datetime) -> bool:
        """Whether so many refusals speak of the broker; `alive` counts sessions not yet ended, the refused ones included."""
        count = self.count(now)
        return count >= FEWEST and count >= SHARE * max(alive, count)
