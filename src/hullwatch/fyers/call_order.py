"""The order of calls that wait: within an account, among the accounts, and while a backlog of candles lasts."""

import asyncio
import heapq
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from hullwatch.domain.market.call_priority import CallClass
from hullwatch.fyers.rate_limit import Pacer, PacingLimits, Pause

QUOTES_PAUSE_S: Final = 15.0
"""How long quotes pause, from the moment at which candles began to wait for the global limit."""
BACKLOG_RECENT_S: Final = 2.0
"""Candles count as waiting for the global limit for this long after one last did."""
BACKLOG_GAP_S: Final = 20.0
"""A backlog that comes back earlier is the same one, so that quotes do not pause again."""


class CallGroup(IntEnum):
    """Calls that are ordered against each other."""

    ORDINARY = 0
    CANDLES = 1
    QUOTES = 2

    @classmethod
    def of(cls, call_class: CallClass) -> "CallGroup":
        """Return the group of a class of calls."""
        if call_class is CallClass.ORDINARY:
            return cls.ORDINARY
        return cls.QUOTES if call_class is CallClass.QUOTES else cls.CANDLES


@dataclass(frozen=True, slots=True)
class WaitTooLong:
    """The call would be sent too late; it was not admitted."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class NoSlot:
    """The account's calls under way did not end in time."""


Refusal: TypeAlias = WaitTooLong | NoSlot
Waiting: TypeAlias = asyncio.Future[Refusal | None]
InLine: TypeAlias = tuple[CallClass, float, int, Waiting]
"""Class, distance, number and future of a call that waits in its account."""
Offered: TypeAlias = tuple[CallClass, int, float, int, int, "Account", Waiting]
"""Class, round, distance, number of the call and of the offer, account and future."""


class Account:
    """The rate limits of one account, and its calls that wait."""

    __slots__ = ("in_flight", "lines", "offers", "opens_at", "pacer", "pause", "rounds", "waiting")

    def __init__(self, limits: PacingLimits) -> None:
        self.pacer = Pacer(limits)
        self.pause = Pause()
        self.in_flight = 0
        """Calls that are admitted and not released."""
        self.lines: tuple[list[InLine], list[InLine], list[InLine]] = ([], [], [])
        """A heap for each group. Cancelled calls stay until they are first."""
        self.waiting = [0, 0, 0]
        """How many calls wait in each group."""
        self.offers: list[Offered | None] = [None, None, None]
        """The calls that wait for the global limit alone, at most one for each group."""
        self.opens_at: float | None = None
        """When its own limits allow the next call; `None` if they do now, or nothing waits for them."""
        self.rounds: dict[CallClass, int] = {}

    def first(self, group: CallGroup) -> InLine | None:
        """Return the most urgent call of a group."""
        line = self.lines[group]
        while line and line[0][3].done():
            heapq.heappop(line)
        return line[0] if line else None

    def ahead_of(self, group: CallGroup) -> int:
        """Return how many calls of the account are sent before the next of this group."""
        return sum(self.waiting[: group + 1])


class Rounds:
    """The order of accounts within each class.

    An account that has sent a call is served again after all other accounts that wait. So accounts that
    wait all the time differ by one call at most, and an account that begins to wait gains nothing from
    earlier idleness (start-time fair queueing, Goyal 1996). Within a round the smallest distance is first.
    """

    def __init__(self) -> None:
        self._present = dict.fromkeys(CallClass, 0)

    def next_of(self, account: Account, call_class: CallClass) -> int:
        """Return the round in which an account is served next."""
        return max(account.rounds.get(call_class, 0), self._present[call_class])

    def record(self, account: Account, call_class: CallClass, round_number: int) -> None:
        """Record that a call of an account was admitted in a round."""
        # An offer is kept while rounds go on, so its round can be an earlier one.
        self._present[call_class] = max(self._present[call_class], round_number)
        account.rounds[call_class] = round_number + 1


class Backlog:
    """Since when candles wait for the global limit."""

    def __init__(self) -> None:
        self._began_s = self._held_s = float("-inf")

    def record(self, now: float) -> None:
        """Record that the global limit holds back a candle."""
        if now - self._held_s > BACKLOG_GAP_S:
            self._began_s = now
        self._held_s = now

    def is_recent(self, now: float) -> bool:
        """Whether candles waited within the last `BACKLOG_RECENT_S`."""
        return now - self._held_s <= BACKLOG_RECENT_S

    def quotes_from(self) -> float:
        """Return the end of the pause of quotes."""
        return self._began_s + QUOTES_PAUSE_S

    def ends_at(self) -> float:
        """Return when it ends if no other candle is held back."""
        return self._held_s + BACKLOG_RECENT_S
