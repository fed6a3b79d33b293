"""Requests a new session from Fyers without its user, and checks the session that Fyers sends."""

from dataclasses import dataclass
from typing import Final

from hullwatch.domain.failures import Answered, BrokerResult, InvalidInput, LoginRefused
from hullwatch.domain.renewal.outcomes import RenewalOutcome, outcome_of
from hullwatch.domain.renewal.rules import Attempt, Occasion, RenewalKeys
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import read_claims
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort

TIMEOUT_S: Final = 20.0
"""For all answers of Fyers in one attempt. A delayed notice of a disconnect is sent no later than this."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that Fyers sent and does not refuse."""

    credential: Credential
    check: BrokerResult[object]
    """The result of the first call with it."""


class RenewalRequest:
    """Makes one request per attempt."""

    def __init__(self, context: Context, *, broker: BrokerPort) -> None:
        self._broker = broker
        self._clock = context.clock

    async def send(self, attempt: Attempt, app: FyersApp, keys: RenewalKeys) -> NewSession | RenewalOutcome:
        """Return a session that can replace the attempt's session, or why there is none."""
        try:
            async with clock_timeout(self._clock.real, TIMEOUT_S):
                return await self._send(attempt, app, keys)
        except TimeoutError:
            return RenewalOutcome.UNAVAILABLE

    async def _send(self, attempt: Attempt, app: FyersApp, keys: RenewalKeys) -> NewSession | RenewalOutcome:
        answer = await self._broker.renew_access_token(app, keys.refresh_token, keys.pin)
        if not isinstance(answer, Answered):
            return outcome_of(answer)
        connection, now = attempt.connection, self._clock.now()
        try:
            claims = read_claims(answer.value, now=now)
        except InvalidInput:
            return RenewalOutcome.UNAVAILABLE
        if connection.fyers_id is None or claims.fyers_id not in (None, connection.fyers_id):
            return RenewalOutcome.BAD_REFRESH_TOKEN
        old_expiry = connection.expires_at if attempt.occasion is Occasion.BEFORE_EXPIRY else None
        if claims.expires_at <= max(now, old_expiry or now):
            return RenewalOutcome.EXPIRES_NO_LATER
        credential = Credential(
            user_id=connection.user_id,
            generation=connection.generation + 1,
            app_id=app.app_id,
            fyers_id=connection.fyers_id,
            token=answer.value,
            expires_at=claims.expires_at,
        )
        # Renewed tokens that Fyers then refuses everywhere have been reported (community reports).
        check = await self._check(credential)
        return (
            RenewalOutcome.NOT_ACCEPTED if isinstance(check, LoginRefused) else NewSession(credential, check)
        )

    async def _check(self, credential: Credential) -> BrokerResult[object]:
        """Call Fyers with the session; a single refusal may be a false one, and an outage is no refusal."""
        first = await self._broker.check_data(credential)
        if not isinstance(first, LoginRefused):
            return first
        second = await self._broker.check_trading(credential)
        return second if isinstance(second, Answered) else first
