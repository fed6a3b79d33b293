"""Asking Fyers for a new session without its user, and checking what it gives. When that is done, and what follows, is ``renewal.py``'s."""

from dataclasses import dataclass
from typing import Final

from hullwatch.domain.failures import Answered, BrokerResult, InvalidInput, LoginRefused
from hullwatch.domain.renewal.outcomes import RenewalOutcome, outcome_of
from hullwatch.domain.renewal.rules import Occasion, RenewalKeys
from hullwatch.domain.sessions.connection import Connection, Credential
from hullwatch.domain.sessions.tokens import read_claims
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort

PATIENCE_S: Final = 20.0
"""For Fyers' answers in one try: a user whose session is over is told no later than that."""


@dataclass(frozen=True, slots=True)
class FreshSession:
    """A session that Fyers gave and does not refuse."""

    credential: Credential
    checked: BrokerResult[object]
    """What it answered to the first call with it."""


class RenewalAsking:
    """Asks once, and never takes a token on trust: one that was got this way may be refused everywhere (community reports)."""

    def __init__(self, context: Context, *, broker: BrokerPort) -> None:
        self._broker = broker
        self._clock = context.clock
        self._real_clock = context.clock.real

    async def ask(
        self, connection: Connection, occasion: Occasion, app: FyersApp, keys: RenewalKeys
    ) -> FreshSession | RenewalOutcome:
        """Return a session that may take the place of this one, or why there is none."""
        try:
            async with clock_timeout(self._real_clock, PATIENCE_S):
                return await self._ask(connection, occasion, app, keys)
        except TimeoutError:
            return RenewalOutcome.UNAVAILABLE

    async def _ask(
        self, connection: Connection, occasion: Occasion, app: FyersApp, keys: RenewalKeys
    ) -> FreshSession | RenewalOutcome:
        answer = await self._broker.renew_access_token(app, keys.refresh_token, keys.pin)
        if not isinstance(answer, Answered):
            return outcome_of(answer)
        now = self._clock.now()
        try:
            claims = read_claims(answer.value, now=now)
        except InvalidInput:
            return RenewalOutcome.UNAVAILABLE
        if connection.fyers_id is None or claims.fyers_id not in (None, connection.fyers_id):
            return RenewalOutcome.BAD_REFRESH_TOKEN
        present_end = connection.expires_at if occasion is Occasion.BEFORE_EXPIRY else None
        if claims.ends_at <= max(now, present_end or now):
            return RenewalOutcome.EXPIRES_NO_LATER
        credential = Credential(
            user_id=connection.user_id,
            generation=connection.generation + 1,
            app_id=app.app_id,
            fyers_id=connection.fyers_id,
            token=answer.value,
            expires_at=claims.ends_at,
        )
        checked = await self._check(credential)
        if isinstance(checked, LoginRefused):
            return RenewalOutcome.NOT_ACCEPTED
        return FreshSession(credential, checked)

    async def _check(self, credential: Credential) -> BrokerResult[object]:
        """Ask whether Fyers accepts the session; a single refusal may be one of its false ones, trouble is no refusal."""
        first = await self._broker.check_data(credential)
        if not isinstance(first, LoginRefused):
            return first
        second = await self._broker.check_trading(credential)
        return second if isinstance(second, Answered) else first
