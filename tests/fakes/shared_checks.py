"""Shared confirmations in memory, for several services of one test. Passes the cases of ``tests/sharing``."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fakes.clock import FakeClock
from hullwatch.domain.sessions.shared_checks import (
    Claim,
    Confirmed,
    SharedAnswer,
    SharingReport,
    SharingUnavailable,
    Unconfirmed,
)

Key = tuple[str, int]


@dataclass
class SharedMemory:
    """What all processes share; with `is_down` it does not answer."""

    clock: FakeClock
    confirmations: dict[Key, float] = field(default_factory=dict)
    claims: dict[Key, tuple[str, float]] = field(default_factory=dict)
    is_down: bool = False


class FakeSharedChecks:
    """The client of one process."""

    def __init__(
        self, memory: SharedMemory, process: str, *, good_for_s: float = 300.0, claim_lasts_s: float = 20.0
    ) -> None:
        self.memory = memory
        self._process = process
        self._good_for_s = good_for_s
        self._claim_lasts_s = claim_lasts_s
        self.before_claim: Callable[[], Awaitable[object]] | None = None
        """Called once before the next claim: something that another process does."""
        self.before_confirmation: Callable[[str], Awaitable[object]] | None = None
        """Awaited before each confirmation is returned, with the user id."""

    async def confirmation(self, user_id: str, generation: int) -> SharedAnswer:
        """Return the latest confirmation."""
        if self.before_confirmation is not None:
            await self.before_confirmation(user_id)
        if self.memory.is_down:
            return SharingUnavailable()
        confirmed_s = self.memory.confirmations.get((user_id, generation))
        age_s = None if confirmed_s is None else self.memory.clock.monotonic() - confirmed_s
        return Unconfirmed() if age_s is None or age_s >= self._good_for_s else Confirmed(age_s)

    async def claim(self, user_id: str, generation: int) -> Claim:
        """Claim the call to Fyers unless another process has it."""
        before_claim, self.before_claim = self.before_claim, None
        if before_claim is not None:
            await before_claim()
        if self.memory.is_down:
            return Claim.UNKNOWN
        now_s = self.memory.clock.monotonic()
        holder, until_s = self.memory.claims.get((user_id, generation), ("", now_s))
        if until_s > now_s and holder != self._process:
            return Claim.OTHERS
        if until_s <= now_s:
            self.memory.claims[user_id, generation] = (self._process, now_s + self._claim_lasts_s)
        return Claim.OURS

    async def release(self, user_id: str, generation: int) -> None:
        """Release an own claim."""
        holder = self.memory.claims.get((user_id, generation), ("",))[0]
        if not self.memory.is_down and holder == self._process:
            del self.memory.claims[user_id, generation]

    async def confirm(self, user_id: str, generation: int) -> None:
        """Store a confirmation."""
        if not self.memory.is_down:
            self.memory.confirmations[user_id, generation] = self.memory.clock.monotonic()

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the confirmation."""
        if not self.memory.is_down:
            self.memory.confirmations.pop((user_id, generation), None)

    def report(self) -> SharingReport:
        """Return whether the store answers."""
        return SharingReport(is_used=True, is_answering=not self.memory.is_down)
