"""From Fyers' first refusal of a session to a decision: keep it, hold it or disconnect it."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    Unavailable,
)
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.mass_refusal import MIN_REFUSED, PROBE_ACCOUNTS, RefusalStatistics
from hullwatch.domain.sessions.verification import (
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
FREE_KEEPS: Final = 2
"""So many decisions to keep one session take effect at once; the next ones pause its calls longer and longer."""
_FORGET_KEEPS_AFTER: Final = timedelta(minutes=15)
_PROBE_AGAIN: Final = Backoff(first_s=20, factor=2, max_s=120, jitter=0.25)


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
        self._keeps: dict[str, tuple[int, datetime]] = {}
        """User id → how often in a row the session was kept, and when the last time."""

    async def verify(self, verification: Verification) -> Decision:
        """Return the decision; of a session that is disconnected or replaced meanwhile it has no effect."""
        credential, attempt = verification.credential.for_verification(), 0
        while not credential.lease.is_closed:
            conclusion, refusals, wait_s = await self._probe(credential, verification.refusal)
            if credential.lease.is_closed:
                break
            if conclusion is ProbeConclusion.CONFIRMED:
                return await self._compare(credential, refusals)
            if conclusion is ProbeConclusion.CLEARED:
                self._statistics.answered(credential.user_id, self._real_clock.now())
                if pause_s := self._pause_s(credential.user_id):
                    verification.first_result.set()
                    await self._clock.sleep(pause_s)
                break
            attempt += 1
            verification.first_result.set()
            await self._clock.sleep(max(wait_s, _PROBE_AGAIN.delay(attempt, self._random)))
        return Keep()

    def _pause_s(self, user_id: str) -> float:
        """Return how long a kept session makes no calls, so that one service that keeps refusing is not called every cycle."""
        now = self._clock.now()
        count, last_at = self._keeps.get(user_id, (0, now))
        count = count + 1 if now - last_at <= _FORGET_KEEPS_AFTER else 1
        self._keeps[user_id] = (count, now)
        if count <= FREE_KEEPS:
            return 0.0
        return _PROBE_AGAIN.delay(count - FREE_KEEPS, self._random)

    async def _probe(
        self, credential: Credential, first: LoginRefused
    ) -> tuple[ProbeConclusion, tuple[LoginRefused, ...], float]:
        """Call other services until there is a conclusion; also return the refusals and the seconds that Fyers asked to wait."""
        answers: dict[BrokerService, ProbeAnswer] = {}
        refusals: tuple[LoginRefused, ...] = (first,)
        wait_s = 0.0
        while not isinstance(step := next_probe(first.service, answers), ProbeConclusion):
            result = await self._call(step, credential)
            match result:
                case Answered():
                    answers[step] = ProbeAnswer.ANSWERED
                case LoginRefused():
                    answers[step] = ProbeAnswer.REFUSED
                    refusals = (*refusals, result)
                case _:
                    answers[step] = ProbeAnswer.UNAVAILABLE
                    wait_s = max(wait_s, _requested_wait_s(result))
        return step, refusals, wait_s

    async def _call(self, service: BrokerService, credential: Credential) -> BrokerResult[object]:
        if service is BrokerService.PROFILE:
            return await self._broker.profile_id(credential)
        if service is BrokerService.TRADING:
            return await self._broker.check_trading(credential)
        return await self._broker.check_data(credential)

    async def _compare(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> Decision:
        """Decide by the results of other accounts whether Fyers ended this session or has an outage."""
        # Recorded again, because the first refusal may have been long ago.
        self._statistics.refused(credential.user_id, self._real_clock.now())
        results: tuple[ProbeResult, ...] = ()
        if not self._statistics.must_hold(self._real_clock.now()):
            results = await self._probe_others(credential)
        if self._statistics.must_hold(self._real_clock.now()):
            return Hold(results)
        return Disconnect(refusals, results)

    async def _probe_others(self, credential: Credential) -> tuple[ProbeResult, ...]:
        """Call Fyers with a few other accounts; wait `SETTLE_S` for further results unless all were answered."""
        others = self._accounts.probe_credentials(credential.user_id)
        if len(others) + 1 < MIN_REFUSED:
            return ()
        if len(others) >= SKIP_PROBES_FROM_SESSIONS and await self._others_are_answered():
            return ()
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
                if not all(are_answered):
                    await self._real_clock.sleep(SETTLE_S)
        return tuple(results)

    async def _others_are_answered(self) -> bool:
        """Return whether enough ordinary calls of other accounts are answered within `LISTEN_S`."""
        began_at = self._real_clock.now()
        await self._real_clock.sleep(LISTEN_S)
        return self._statistics.is_answering_since(began_at, PROBE_ACCOUNTS)

    def _count(self, other: Credential, result: BrokerResult[object]) -> None:
        if isinstance(result, LoginRefused):
            self._statistics.refused(other.user_id, self._real_clock.now())
        elif isinstance(result, Answered) and not other.is_for_verification:
            self._statistics.answered(other.user_id, self._real_clock.now())


def _requested_wait_s(failure: BrokerFailure) -> float:
    match failure:
        case RateLimited(retry_after_s=seconds):
            return seconds
        case Unavailable(retry_after_s=float(seconds)):
            return seconds
        case _:
            return 0.0
