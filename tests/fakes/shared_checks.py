"""Confirmations kept in memory for several services of one test; passes the same cases as the real thing (``tests/sharing``)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fakes.clock import FakeClock
from hullwatch.domain.sessions.shared_checks import (
    Confirmed,
    NotAnswering,
    SharedAnswer,
    SharingReport,
    Turn,
    Unconfirmed,
)

Key = tuple[str, int]


@dataclass
class SharedMemory:
    """What all processes see; `is_down` makes it silent."""

    clock: FakeClock
    confirmations: dict[Key, float] = field(default_factory=dict)
    turns: dict[Key, tuple[str, float]] = field(default_factory=dict)
    is_down: bool = False


class FakeSharedChecks:
    """One process' door to it."""

    def __init__(
        self, memory: SharedMemory, process: str, *, good_for_s: float = 300.0, turn_lasts_s: float = 20.0
    ) -> None:
        self.memory = memory
        self._process = process
        self._good_for_s = good_for_s
        self._turn_lasts_s = turn_lasts_s
        self.before_turn: Callable[[], Awaitable[object]] | None = None
        """What happens elsewhere once, right before a turn is taken here."""
        self.before_look: Callable[[str], Awaitable[object]] | None = None
        """What has to come to its end before each look is answered."""

    async def look(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation."""
        if self.before_look is not None:
            await self.before_look(user_id)
        if self.memory.is_down:
            return NotAnswering()
        confirmed_s = self.memory.confirmations.get((user_id, generation))
        age_s = None if confirmed_s is None else self.memory.clock.monotonic() - confirmed_s
        return Unconfirmed() if age_s is None or age_s >= self._good_for_s else Confirmed(age_s)

    async def take_turn(self, user_id: str, generation: int) -> Turn:
        """Take the turn unless another has it."""
        before_turn, self.before_turn = self.before_turn, None
        if before_turn is not None:
            await before_turn()
        if self.memory.is_down:
            return Turn.UNKNOWN
        now_s = self.memory.clock.monotonic()
        holder, until_s = self.memory.turns.get((user_id, generation), ("", now_s))
        if until_s > now_s and holder != self._process:
            return Turn.OTHERS
        if until_s <= now_s:
            self.memory.turns[user_id, generation] = (self._process, now_s + self._turn_lasts_s)
        return Turn.OURS

    async def end_turn(self, user_id: str, generation: int) -> None:
        """Let go of an own turn."""
        holder = self.memory.turns.get((user_id, generation), ("",))[0]
        if not self.memory.is_down and holder == self._process:
            del self.memory.turns[user_id, generation]

    async def confirm(self, user_id: str, generation: int) -> None:
        """Write a confirmation down."""
        if not self.memory.is_down:
            self.memory.confirmations[user_id, generation] = self.memory.clock.monotonic()

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove it."""
        if not self.memory.is_down:
            self.memory.confirmations.pop((user_id, generation), None)

    def report(self) -> SharingReport:
        """Return how it stands."""
        return SharingReport(is_used=True, is_answering=not self.memory.is_down)
