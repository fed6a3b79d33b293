"""Telling the broker's trouble from the users': many accounts refused at once before their known end.

One session ends alone; when a good part of all accounts that Fyers was asked about within a minute is refused, its own login check is ill.
Then verdicts are held. Who asks, and who holds them, is in ``services/``.
"""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final

WINDOW: Final = timedelta(seconds=60)
FEWEST: Final = 3
"""Below three, two people's bad luck at the same time is likelier than an ill broker."""
SHARE: Final = 0.25
"""Of the accounts that were heard of within the window: what nobody asked about proves nothing either way."""
WITNESSES: Final = 12
"""Others to be asked before a verdict: when a quarter of all is refused, all of twelve are fine only once in thirty times."""


class RefusalWatch:
    """Remembers what Fyers last said of each account within the last `WINDOW`; constant time for each word."""

    def __init__(self) -> None:
        self._heard: dict[Hashable, tuple[datetime, bool]] = {}
        """Account → when, and whether it was refused; oldest word first."""

    def refused(self, account: Hashable, now: datetime) -> None:
        """Remember that the account was refused before its known end."""
        self._note(account, now, is_refused=True)

    def answered(self, account: Hashable, now: datetime) -> None:
        """Remember that the account was answered; that takes a refusal back."""
        self._note(account, now, is_refused=False)

    def count(self, now: datetime) -> int:
        """Return how many distinct accounts were refused within the window."""
        self._drop_old(now)
        return sum(is_refused for _, is_refused in self._heard.values())

    def is_mass(self, now: datetime) -> bool:
        """Whether so many refusals speak of the broker."""
        count = self.count(now)
        return count >= FEWEST and count >= SHARE * len(self._heard)

    def well_since(self, moment: datetime, enough: int) -> bool:
        """Whether after `moment` at least `enough` accounts were answered, and more than were refused."""
        answered = refused = 0
        for when, is_refused in reversed(self._heard.values()):
            if when <= moment:
                break
            refused += is_refused
            answered += not is_refused
        return answered >= enough and answered > refused

    def _note(self, account: Hashable, now: datetime, *, is_refused: bool) -> None:
        self._heard.pop(account, None)
        self._heard[account] = (now, is_refused)
        self._drop_old(now)

    def _drop_old(self, now: datetime) -> None:
        while self._heard:
            oldest = next(iter(self._heard))
            if now - self._heard[oldest][0] <= WINDOW:
                return
            del self._heard[oldest]
