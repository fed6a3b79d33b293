"""Lets several processes share one call to Fyers. When sharing fails, each process calls Fyers itself."""

from typing import Final

from hullwatch.domain.sessions.shared_checks import (
    Claim,
    Confirmed,
    SharedAnswer,
    SharingReport,
    SharingUnavailable,
)
from hullwatch.services.context import Context
from hullwatch.services.ports import MetricsPort, SharedChecks

LONGEST_WAIT_S: Final = 3.0
"""Real seconds to wait for another process' result: three times what Fyers usually needs.

After that, two calls to Fyers are better than no answer."""
_READ_EVERY_S: Final = 0.1
_AGE_STEP_S: Final = 0.002
"""The error of an age that is stored in whole milliseconds."""


class NotShared:
    """Satisfies `SharedChecks` for a process that is alone."""

    async def confirmation(self, user_id: str, generation: int) -> SharedAnswer:  # noqa: ARG002 - the port's signature
        """There is no other process."""
        return SharingUnavailable()

    async def claim(self, user_id: str, generation: int) -> Claim:  # noqa: ARG002 - the port's signature
        """Let this process call Fyers."""
        return Claim.UNKNOWN

    async def release(self, user_id: str, generation: int) -> None:
        """Do nothing: no process waits."""

    async def ping(self) -> bool:
        """Return True: there is nothing that has to respond."""
        return True

    async def confirm(self, user_id: str, generation: int) -> None:
        """Do nothing: no process reads it."""

    async def forget(self, user_id: str, generation: int) -> None:
        """Do nothing: nothing is stored."""

    def report(self) -> SharingReport:
        """Return that nothing is shared."""
        return SharingReport(is_used=False, is_answering=False)


class SharedValidation:
    """Reads other processes' confirmations and waits for those under way.

    Args:
        context: time and randomness.
        checks: the shared store.
        metrics: counts the reads.
        good_for_s: how old a confirmation may be when no fresh one is wanted.
    """

    def __init__(
        self, context: Context, checks: SharedChecks, *, metrics: MetricsPort, good_for_s: float
    ) -> None:
        self._checks = checks
        self._real_clock = context.clock.real
        self._random = context.random
        self._metrics = metrics
        self._good_for_s = good_for_s

    def report(self) -> SharingReport:
        """Return whether sharing works."""
        return self._checks.report()

    async def recent_confirmation(self, user_id: str, generation: int) -> float | None:
        """Return the age in seconds of a confirmation that still counts; `None` without one."""
        answer = await self._checks.confirmation(user_id, generation)
        if isinstance(answer, Confirmed) and answer.age_s <= self._good_for_s:
            self._metrics.shared_check("found")
            return answer.age_s
        self._count_failure(answer)
        return None

    async def claim_or_await(self, user_id: str, generation: int, *, since_s: float) -> float | None:
        """Claim the call to Fyers, or wait a moment for the result of the process that has the claim.

        Args:
            user_id: the owner of the session.
            generation: which of the user's sessions.
            since_s: the start of the request, by `monotonic` of the real clock. Earlier confirmations do not count.

        Returns:
            The age in seconds of a confirmation; `None` when this process has to call Fyers. The caller calls
            `record_result` afterwards in both cases.
        """
        began_s = self._real_clock.monotonic()
        while True:
            claim = await self._checks.claim(user_id, generation)
            if claim is Claim.UNKNOWN or self._real_clock.monotonic() - began_s >= LONGEST_WAIT_S:
                return None
            if claim is Claim.OTHERS:
                await self._real_clock.sleep(_READ_EVERY_S * self._random.uniform(0.5, 1.5))
            # Read with our own claim too: the last owner may have confirmed and released since our last read.
            passed_s = self._real_clock.monotonic() - since_s
            answer = await self._checks.confirmation(user_id, generation)
            if isinstance(answer, Confirmed) and answer.age_s <= passed_s + _AGE_STEP_S:
                self._metrics.shared_check("awaited")
                return answer.age_s
            if claim is Claim.OURS:
                return None

    async def record_result(self, user_id: str, generation: int, *, is_confirmed: bool) -> None:
        """Store a confirmation for the other processes and release this process' claim, if it has one."""
        if is_confirmed:
            await self._checks.confirm(user_id, generation)
        await self._checks.release(user_id, generation)

    async def forget(self, user_id: str, generation: int) -> None:
        """Remove the shared confirmation, so that the next validation calls Fyers."""
        await self._checks.forget(user_id, generation)

    def _count_failure(self, answer: SharedAnswer) -> None:
        if not isinstance(answer, SharingUnavailable):
            self._metrics.shared_check("absent")
        elif self._checks.report().is_used:
            self._metrics.shared_check("not_answering")
