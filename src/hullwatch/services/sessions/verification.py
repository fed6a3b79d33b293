"""From Fyers' first refusal of a session to a decision: keep it, hold it or disconnect it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    Unavailable,
    UnclearRefusal,
)
from hullwatch.domain.sessions.connection import Credential, HoldReason
from hullwatch.domain.sessions.mass_refusal import MIN_REFUSED, PROBE_ACCOUNTS, RefusalStatistics
from hullwatch.domain.sessions.verification import (
    HOLD_AFTER,
    AnyRefusal,
    Decision,
    Disconnect,
    Hold,
    Keep,
    ProbeAnswer,
    ProbeConclusion,
    ProbeResult,
    next_probe,
)
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.registry import AccountRegistry, Verification

SETTLE_S: Final = 2.0
"""Between a confirmed refusal and the decision, unless all probe accounts are answered: a mass refusal shows itself."""
LISTEN_S: Final = 0.5
SKIP_PROBES_FROM_SESSIONS: Final = 50
"""From this number of sessions on, results of ordinary calls can replace the probe accounts. Where hundreds of
sessions are refused together, a dozen calls for each would use up the other accounts' calls for many seconds."""
CONFIRM_AGAIN_S: Final = 15.0
"""Between the two confirmations that disconnect a session, where too few other accounts respond to show an outage.
Fyers' login check has refused everybody for a few seconds. The time is our assumption."""
PROBE_HELD_EVERY_S: Final = 180.0
"""Between two rounds of probes of a session that is held because of unclear refusals: one call a minute."""
FREE_KEEPS: Final = 2
"""So many decisions to keep one session take effect at once; the next ones pause its calls longer and longer."""
_FORGET_KEEPS_AFTER_S: Final = 900.0
_PROBE_AGAIN: Final = Backoff(first_s=20, factor=2, max_s=120, jitter=0.25)


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of probes."""

    conclusion: ProbeConclusion
    refusals: tuple[AnyRefusal, ...]
    """The first refusal and those of the probes."""
    wait_s: float
    """Seconds that Fyers asked to wait."""

    @property
    def clear_refusals(self) -> tuple[LoginRefused, ...]:
        """The refusals with HTTP 401."""
        return tuple(one for one in self.refusals if isinstance(one, LoginRefused))


class Verifier:
    """Probes one refused session until there is a decision, or until the session is gone."""

    def __init__(
        self,
        context: Context,
        accounts: AccountRegistry,
        statistics: RefusalStatistics,
        *,
        broker: BrokerPort,
    ) -> None:
        self._accounts = accounts
        self._statistics = statistics
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._keeps: dict[str, tuple[int, float]] = {}
        """User id → how often in a row the session was kept, and when the last time, in monotonic seconds."""

    async def verify(self, verification: Verification) -> Decision:
        """Return the decision; of a session that is disconnected or replaced meanwhile it has no effect."""
        credential, attempt = verification.credential.for_verification(), 0
        confirmed_s: float | None = None
        while not credential.lease.is_closed:
            found = await self._probe(credential, verification.refusal)
            if credential.lease.is_closed:
                break
            attempt += 1
            wait_s = max(found.wait_s, _PROBE_AGAIN.delay(attempt, self._random))
            match found.conclusion:
                case ProbeConclusion.CLEARED:
                    return await self._keep(verification, found)
                case ProbeConclusion.CONFIRMED:
                    decision = await self._compare(credential, found, confirmed_s)
                    if decision is not None:
                        return decision
                    confirmed_s = self._clock.monotonic() if confirmed_s is None else confirmed_s
                    wait_s = CONFIRM_AGAIN_S
                case ProbeConclusion.UNCLEAR:
                    left = verification.refused_since + HOLD_AFTER - self._clock.now()
                    if left <= timedelta():
                        return await self._hold(credential, found)
                    wait_s = max(found.wait_s, min(wait_s, left.total_seconds()))
            verification.first_result.set()
            await self._clock.sleep(wait_s)
        return Keep()

    async def wait_until_next_probe(self) -> None:
        """Wait until a session that is held because of unclear refusals may be probed again."""
        await self._clock.sleep(PROBE_HELD_EVERY_S * self._random.uniform(0.9, 1.1))

    async def _keep(self, verification: Verification, found: _Round) -> Keep:
        """Return the decision to keep a session, after a pause if it was kept often of late."""
        user_id = verification.credential.user_id
        refusing = {refusal.service for refusal in found.refusals}
        self._statistics.refused_falsely(user_id, refusing, self._real_clock.monotonic())
        if pause_s := self._pause_s(user_id):
            verification.first_result.set()
            await self._clock.sleep(pause_s)
        return Keep()

    def _pause_s(self, user_id: str) -> float:
        """Return how long a kept session makes no calls, so that one service that keeps refusing is not called every cycle."""
        now_s = self._clock.monotonic()
        count, last_s = self._keeps.get(user_id, (0, now_s))
        count = count + 1 if now_s - last_s <= _FORGET_KEEPS_AFTER_S else 1
        self._keeps[user_id] = (count, now_s)
        if count <= FREE_KEEPS:
            return 0.0
        return _PROBE_AGAIN.delay(count - FREE_KEEPS, self._random)

    async def _probe(self, credential: Credential, first: AnyRefusal) -> _Round:
        """Call other services until there is a conclusion."""
        answers: dict[BrokerService, ProbeAnswer] = {}
        refusals, wait_s = [first], 0.0
        while not isinstance(step := self._next_step(credential, first, answers), ProbeConclusion):
            result = await self._call(step, credential)
            answers[step] = _answer_of(result)
            if isinstance(result, LoginRefused | UnclearRefusal):
                refusals.append(result)
            elif isinstance(result, BrokerFailure):
                wait_s = max(wait_s, _requested_wait_s(result))
        return _Round(step, tuple(refusals), wait_s)

    def _next_step(
        self, credential: Credential, first: AnyRefusal, answers: Mapping[BrokerService, ProbeAnswer]
    ) -> BrokerService | ProbeConclusion:
        return next_probe(
            first.service,
            answers,
            first_answer=_answer_of(first),
            unreliable=self._statistics.unreliable_for(credential.user_id, self._real_clock.monotonic()),
        )

    async def _call(self, service: BrokerService, credential: Credential) -> BrokerResult[object]:
        if service is BrokerService.PROFILE:
            return await self._broker.profile_id(credential)
        if service is BrokerService.TRADING:
            return await self._broker.check_trading(credential)
        return await self._broker.check_data(credential)

    async def _compare(
        self, credential: Credential, found: _Round, confirmed_s: float | None
    ) -> Decision | None:
        """Decide by the results of other accounts whether Fyers ended this session or has an outage.

        `None` without such results, until the refusals have been confirmed twice: too few accounts cannot show a
        short outage of Fyers' login check.
        """
        # Recorded again, because the first refusal may have been long ago.
        self._statistics.refused(credential.user_id, self._real_clock.monotonic())
        results = await self._probe_others(credential)
        if self._must_hold():
            return Hold(HoldReason.MASS_REFUSAL, found.refusals, results or ())
        is_compared = results is None or sum(map(_is_conclusive, results)) >= MIN_REFUSED - 1
        is_confirmed_again = (
            confirmed_s is not None and self._clock.monotonic() - confirmed_s >= CONFIRM_AGAIN_S - 1e-6
        )
        if not (is_compared or is_confirmed_again):
            return None
        if self._probes_are_unreliable(credential, found):
            return None
        return Disconnect(found.clear_refusals, results or ())

    async def _hold(self, credential: Credential, found: _Round) -> Hold:
        """Return the decision about a session that is refused without HTTP 401, after a look at the other accounts."""
        self._statistics.refused(credential.user_id, self._real_clock.monotonic())
        results = await self._probe_others(credential) or ()
        if self._must_hold():
            return Hold(HoldReason.MASS_REFUSAL, found.refusals, results)
        return Hold(HoldReason.UNCLEAR_REFUSAL, found.refusals, results)

    def _probes_are_unreliable(self, credential: Credential, found: _Round) -> bool:
        """Return whether the comparison showed that the refusing services refuse others falsely too."""
        unreliable = self._statistics.unreliable_for(credential.user_id, self._real_clock.monotonic())
        return len({refusal.service for refusal in found.clear_refusals} - unreliable) < 2

    def _must_hold(self) -> bool:
        return self._statistics.must_hold(
            self._real_clock.monotonic(), sessions=self._accounts.session_count()
        )

    async def _probe_others(self, credential: Credential) -> tuple[ProbeResult, ...] | None:
        """Call Fyers with a few other accounts; `None` where ordinary calls show already whether Fyers works.

        Waits `SETTLE_S` for further results, unless all accounts were answered or the refused ones are few.
        """
        now_s, others = self._real_clock.monotonic(), self._accounts.probe_credentials(credential.user_id)
        if self._statistics.outage is not None:
            return None
        if len(others) >= SKIP_PROBES_FROM_SESSIONS and (
            self._statistics.is_mass(now_s) or await self._others_are_answered()
        ):
            return None
        chosen = self._random.sample(others, min(PROBE_ACCOUNTS, len(others)))
        results: list[ProbeResult] = []

        async def probe(other: Credential) -> bool:
            result = await self._broker.check_data(other)
            results.append(ProbeResult(other, result, self._clock.now()))
            self._count(other, result)
            return isinstance(result, Answered)

        with suppress(TimeoutError):
            async with clock_timeout(self._real_clock, SETTLE_S):
                are_answered = await asyncio.gather(*(probe(other) for other in chosen))
                is_coincidence = self._statistics.is_coincidence(
                    self._real_clock.monotonic(), sessions=self._accounts.session_count()
                )
                if not (all(are_answered) or is_coincidence):
                    await self._real_clock.sleep(SETTLE_S)
        return tuple(results)

    async def _others_are_answered(self) -> bool:
        """Return whether enough ordinary calls of other accounts are answered within `LISTEN_S`."""
        began_s = self._real_clock.monotonic()
        await self._real_clock.sleep(LISTEN_S)
        return self._statistics.is_answering_since(began_s, PROBE_ACCOUNTS)

    def _count(self, other: Credential, result: BrokerResult[object]) -> None:
        if isinstance(result, LoginRefused | UnclearRefusal):
            self._statistics.refused(other.user_id, self._real_clock.monotonic())
        elif isinstance(result, Answered) and not other.is_for_verification:
            self._statistics.answered(other.user_id, self._real_clock.monotonic())


def _answer_of(result: BrokerResult[object]) -> ProbeAnswer:
    match result:
        case Answered():
            return ProbeAnswer.ANSWERED
        case LoginRefused():
            return ProbeAnswer.REFUSED
        case UnclearRefusal():
            return ProbeAnswer.UNCLEAR
        case _:
            return ProbeAnswer.UNAVAILABLE


def _is_conclusive(probe: ProbeResult) -> bool:
    return isinstance(probe.result, Answered | LoginRefused | UnclearRefusal)


def _requested_wait_s(failure: BrokerFailure) -> float:
    match failure:
        case RateLimited(retry_after_s=seconds):
            return seconds
        case Unavailable(retry_after_s=float(seconds)):
            return seconds
        case _:
            return 0.0
