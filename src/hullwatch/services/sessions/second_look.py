"""The second look: what is asked between Fyers' first refusal of a session and a verdict on it.

The order of the questions is ``domain/connection.py``'s, the rule for a broker that is ill ``domain/mass_refusal.py``'s. What a verdict
leads to is told to the sessions in ``doubts.py``.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    Unavailable,
)
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import Credential, Look, Verdict, VerificationTrigger
from hullwatch.domain.sessions.mass_refusal import FEWEST, WITNESSES
from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.mass_refusal import OutageWatch

SETTLE_S: Final = 2.0
"""Between a second refusal and its verdict, unless all witnesses are fine: time for a mass refusal to show itself."""
LISTEN_S: Final = 0.5
BUSY_HOUSE: Final = 50
"""Accounts with usable sessions from which on witnesses may come by themselves: where hundreds of sessions end together, a dozen questions for
each of them would take every other account's turns for many seconds."""
PATIENT_CLEARINGS: Final = 2
"""So many refusals of one session may be cleared at once; the next ones are waited out longer and longer."""
_CALM_AGAIN: Final = timedelta(minutes=15)
"""Without a refusal for so long, a session's clearings are forgotten."""
_LOOK_AGAIN: Final = Backoff(first_s=20, factor=2, max_s=120, jitter=0.25)


class Sessions(Protocol):
    """What a look needs of the sessions; satisfied by `Doubts`."""

    def is_present(self, credential: Credential) -> bool:
        """Tell whether the credential still belongs to its account's present session."""
        ...

    def witnesses(self, user_id: str) -> list[Credential]:
        """Return credentials of all others for asking whether the broker is well."""
        ...

    def record_result(self, credential: Credential, result: BrokerResult[object]) -> None:
        """Take note of an answer."""
        ...

    def release(self, user_id: str, trigger: VerificationTrigger) -> None:
        """Let a doubted session be used again."""
        ...

    def hold(self, user_id: str) -> None:
        """Hold the verdict back."""
        ...

    async def confirm_refusal(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session."""
        ...


class SecondLook:
    """Looks at one refused session until there is a verdict, or until the session is not there any more."""

    def __init__(
        self, context: Context, sessions: Sessions, *, outages: OutageWatch, broker: BrokerPort
    ) -> None:
        self._sessions = sessions
        self._outages = outages
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._clearings: dict[str, tuple[int, datetime]] = {}
        """User → how often in a row a refusal was cleared, and when the last time."""

    async def run(self, credential: Credential, first: LoginRefused, came_to_result: asyncio.Event) -> None:
        """Look, again if need be, and let the verdict take effect; the event is set after the first result, whatever it is."""
        attempt = 0
        while self._sessions.is_present(credential):
            verdict, refusals, wait_s = await self._look(credential, first)
            if not self._sessions.is_present(credential):
                return
            if verdict is Verdict.CLEARED:
                self._outages.note_answer(credential.user_id)
                if rest_s := self._rest_s(credential):
                    came_to_result.set()
                    await self._clock.sleep(rest_s)
                if self._sessions.is_present(credential):
                    self._sessions.release(credential.user_id, VerificationTrigger.CLEARED)
                return
            if verdict is Verdict.CONFIRMED:
                await self._judge(credential, refusals)
                return
            attempt += 1
            came_to_result.set()
            await self._clock.sleep(max(wait_s, _LOOK_AGAIN.delay(attempt, self._random)))

    def _rest_s(self, credential: Credential) -> float:
        """Return how long a cleared session rests: one service that goes on refusing while others answer is not asked at every cycle."""
        now, key = self._clock.now(), credential.user_id
        count, last_at = self._clearings.get(key, (0, now))
        count = count + 1 if now - last_at <= _CALM_AGAIN else 1
        self._clearings[key] = (count, now)
        if count <= PATIENT_CLEARINGS:
            return 0.0
        return _LOOK_AGAIN.delay(count - PATIENT_CLEARINGS, self._random)

    async def _look(
        self, credential: Credential, first: LoginRefused
    ) -> tuple[Verdict, tuple[LoginRefused, ...], float]:
        """Ask other services until the rules have a verdict; also return the refusals seen and the wait that was asked for."""
        seen: dict[BrokerService, Look] = {}
        refusals: tuple[LoginRefused, ...] = (first,)
        wait_s = 0.0
        while not isinstance(step := rules.next_look(first.service, seen), Verdict):
            result = await self._ask(step, credential)
            match result:
                case Answered():
                    seen[step] = Look.ANSWERED
                case LoginRefused():
                    seen[step] = Look.REFUSED
                    refusals = (*refusals, result)
                case _:
                    seen[step] = Look.UNAVAILABLE
                    wait_s = max(wait_s, _asked_to_wait(result))
        return step, refusals, wait_s

    async def _ask(self, service: BrokerService, credential: Credential) -> BrokerResult[object]:
        if service is BrokerService.PROFILE:
            return await self._broker.profile_id(credential)
        if service is BrokerService.TRADING:
            return await self._broker.check_trading(credential)
        return await self._broker.check_data(credential)

    async def _judge(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session, unless it is the broker that is ill."""
        self._outages.note_refusal(credential.user_id)  # the first one may be long ago
        if not self._outages.should_hold():
            await self._hear_witnesses(credential)
        if not self._sessions.is_present(credential):
            return
        if self._outages.should_hold():
            self._sessions.hold(credential.user_id)
            await self._outages.begin()
        else:
            await self._sessions.confirm_refusal(credential, refusals)

    async def _hear_witnesses(self, credential: Credential) -> None:
        """Ask a few others whether they are refused too; give that a while to show unless all of them are fine."""
        others = self._sessions.witnesses(credential.user_id)
        if len(others) + 1 < FEWEST:
            return
        if len(others) >= BUSY_HOUSE and await self._witnesses_came():
            return
        chosen = self._random.sample(others, min(WITNESSES, len(others)))
        with suppress(TimeoutError):
            async with clock_timeout(self._real_clock, SETTLE_S):
                are_fine = await asyncio.gather(*(self._is_fine(witness) for witness in chosen))
                if not all(are_fine):
                    await self._real_clock.sleep(SETTLE_S)

    async def _witnesses_came(self) -> bool:
        """Whether enough others are answered while one just listens."""
        began_at = self._real_clock.now()
        await self._real_clock.sleep(LISTEN_S)
        return self._outages.is_well_since(began_at, WITNESSES)

    async def _is_fine(self, witness: Credential) -> bool:
        result = await self._broker.check_data(witness)
        self._sessions.record_result(witness, result)
        if isinstance(result, LoginRefused):
            self._outages.note_refusal(witness.user_id)  # in doubt already, it would not count anew
        return isinstance(result, Answered)


def _asked_to_wait(failure: BrokerFailure) -> float:
    match failure:
        case RateLimited(retry_after_s=seconds):
            return seconds
        case Unavailable(retry_after_s=float(seconds)):
            return seconds
        case _:
            return 0.0
