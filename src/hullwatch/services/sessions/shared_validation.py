"""One question to Fyers for all processes: whether another one has asked lately, or is asking now. What an answer means is ``token_validation.py``'s.

Everything here may fail to answer, and then this process asks Fyers itself, as if it were alone.
"""

from random import Random
from typing import Final, Protocol

from hullwatch.domain.sessions.shared_checks import (
    Confirmed,
    NotAnswering,
    SharedAnswer,
    SharingReport,
    Turn,
)
from hullwatch.runtime.clock import Clock
from hullwatch.services.ports import SharedChecks

LONGEST_WAIT_S: Final = 3.0
"""Real seconds to wait for another process' answer: three times what Fyers usually needs; then two questions are better than no answer."""
_LOOK_EVERY_S: Final = 0.1
_AGE_STEP_S: Final = 0.002
"""By which an age may be wrong that is told in whole milliseconds."""


class SharingMetrics(Protocol):
    """Where it is counted what sharing brought."""

    def shared_look(self, outcome: str) -> None:
        """Count one look: ``found``, ``awaited`` (another process was asking), ``absent`` or ``not_answering``."""
        ...


class NotShared:
    """Satisfies `SharedChecks` for a process that is alone."""

    async def look(self, user_id: str, generation: int) -> SharedAnswer:  # noqa: ARG002 - the port's signature
        """Nobody can be asked."""
        return NotAnswering()

    async def take_turn(self, user_id: str, generation: int) -> Turn:  # noqa: ARG002 - the port's signature
        """This process asks."""
        return Turn.UNKNOWN

    async def end_turn(self, user_id: str, generation: int) -> None:
        """Nobody waits."""

    async def confirm(self, user_id: str, generation: int) -> None:
        """Nobody wants to know."""

    async def forget(self, user_id: str, generation: int) -> None:
        """Nothing is kept."""

    def report(self) -> SharingReport:
        """Return that nothing is shared."""
        return SharingReport(is_used=False, is_answering=False)


class SharedValidation:
    """Looks and waits for other processes' confirmations."""

    def __init__(
        self,
        checks: SharedChecks,
        *,
        wire_clock: Clock,
        random: Random,
        metrics: SharingMetrics,
        good_for_s: float,
    ) -> None:
        """Keep what is needed.

        Args:
            checks: What is shared.
            wire_clock: Real time, since other processes are waited for over the network.
            random: Source of jitter.
            metrics: Where looks are counted.
            good_for_s: How old a confirmation may be where no fresh one is wanted.
        """
        self._checks = checks
        self._wire_clock = wire_clock
        self._random = random
        self._metrics = metrics
        self._good_for_s = good_for_s

    def report(self) -> SharingReport:
        """Return how sharing stands."""
        return self._checks.report()

    async def known(self, user_id: str, generation: int) -> float | None:
        """Return the age in seconds of a confirmation that is still good; `None` where there is none, or it cannot be asked for."""
        answer = await self._checks.look(user_id, generation)
        if isinstance(answer, Confirmed) and answer.age_s <= self._good_for_s:
            self._metrics.shared_look("found")
            return answer.age_s
        self._count_failure(answer)
        return None

    async def awaited(self, user_id: str, generation: int, *, since_s: float) -> float | None:
        """Take the turn to ask Fyers, or wait a moment for a confirmation by the process that has it.

        Args:
            user_id: Whose session.
            generation: Which of them.
            since_s: When the question was put, by the wire clock's `monotonic`: an earlier confirmation is no answer to it.

        Returns:
            The age in seconds of a confirmation; `None` when this process has to ask. Either way `asked` is to be said afterwards.
        """
        began_s = self._wire_clock.monotonic()
        while True:
            turn = await self._checks.take_turn(user_id, generation)
            if turn is Turn.UNKNOWN or self._wire_clock.monotonic() - began_s >= LONGEST_WAIT_S:
                return None
            if turn is Turn.OTHERS:
                await self._wire_clock.sleep(_LOOK_EVERY_S * self._random.uniform(0.5, 1.5))
            # Also with the turn in hand: whoever had it may have confirmed and let go since we last looked.
            passed_s = self._wire_clock.monotonic() - since_s
            answer = await self._checks.look(user_id, generation)
            if isinstance(answer, Confirmed) and answer.age_s <= passed_s + _AGE_STEP_S:
                self._metrics.shared_look("awaited")
                return answer.age_s
            if turn is Turn.OURS:
                return None

    async def asked(self, user_id: str, generation: int, *, is_confirmed: bool) -> None:
        """Tell the other processes what asking brought: a confirmation, or that somebody else may ask; without the turn it ends nobody's."""
        if is_confirmed:
            await self._checks.confirm(user_id, generation)
        await self._checks.end_turn(user_id, generation)

    async def forget(self, user_id: str, generation: int) -> None:
        """Let nobody take an earlier confirmation for an answer."""
        await self._checks.forget(user_id, generation)

    def _count_failure(self, answer: SharedAnswer) -> None:
        if not isinstance(answer, NotAnswering):
            self._metrics.shared_look("absent")
        elif self._checks.report().is_used:
            self._metrics.shared_look("not_answering")
