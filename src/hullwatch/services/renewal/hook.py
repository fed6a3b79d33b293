"""What the renewal feature answers to the core: about disconnects, logins and the next expiry."""

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.renewal.rules import Attempt, failure_in, may_try, occasion_of
from hullwatch.domain.sessions.connection import Connection, LoginTrigger
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.services.context import Context
from hullwatch.services.ports.session_hook import DisconnectAddition
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.texts import EXPIRY_NOTE, failure_sentence

DETAIL = "renewal"
"""Key of the outcome in the evidence of an audit entry."""


class RenewalHook:
    """Satisfies `SessionHook`; knows which attempts are under way."""

    def __init__(self, context: Context, consents: RenewalConsents) -> None:
        self._clock = context.clock
        self._consents = consents
        self.attempts: dict[str, Attempt] = {}
        """User id → the attempt under way."""

    def before_disconnect(self, connection: Connection, trigger: LoginTrigger) -> DisconnectAddition:
        """Delay the notice when an attempt is under way or will follow; name the outcome of one that failed."""
        outcome = self._outcome(connection, trigger)
        if outcome is None:
            return DisconnectAddition()
        return DisconnectAddition(
            details={DETAIL: outcome.value},
            sentence=failure_sentence(outcome),
            delays_notice=outcome is RenewalOutcome.UNDER_WAY,
        )

    def _outcome(self, connection: Connection, trigger: LoginTrigger) -> RenewalOutcome | None:
        renewal, occasion = self._consents.get(connection.user_id), occasion_of(trigger)
        if renewal is None or occasion is None:
            return None
        if (attempt := self.attempts.get(connection.user_id)) is not None:
            is_for_this = attempt.connection.generation == connection.generation
            return RenewalOutcome.UNDER_WAY if is_for_this else None
        if may_try(renewal, connection, occasion, now=self._clock.now()):
            return RenewalOutcome.UNDER_WAY
        return failure_in(renewal, connection.generation)

    async def logged_in(
        self, connection: Connection, login: FreshLogin, *, linked_before: str | None
    ) -> None:
        """Store the refresh token of a login, for a user who has consented."""
        user_id = connection.user_id
        if self._consents.get(user_id) is None:
            return
        try:
            if linked_before not in (None, connection.fyers_id):
                # The stored PIN belongs to the other Fyers account. The user has to consent anew for this one.
                await self._consents.remove(user_id, actor="hullwatch", reason="switched_account")
            else:
                await self._consents.keep_token(connection, login.refresh_token)
        except StorageUnavailable:
            self._consents.log.warning("renewal.token_not_stored", user_id=user_id)

    def expiry_note(self, connection: Connection) -> str:
        """Return that this session will be renewed, if an attempt will be made."""
        return EXPIRY_NOTE if self._consents.will_try(connection) else ""
