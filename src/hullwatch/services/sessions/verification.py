"""How sure the server is of each session: what Fyers' answers say about it, and the way from a first refusal to a verdict.

A refusal closes the lease for ordinary calls, a second look asks other Fyers services (``second_look.py``), and only then does the session
end, unless so many are refused at once that the broker is the patient (``outages.py`` then holds the verdicts). What an end leads to is
``connections.py``'s; the rules are in ``domain/``.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.failures import Answered, BrokerResult, LoginRefused, RateLimited, Unavailable
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    Connection,
    Credential,
    VerificationState,
    VerificationTrigger,
)
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort
from hullwatch.services.sessions.looks import Looks
from hullwatch.services.sessions.mass_refusal import OutageWatch
from hullwatch.services.sessions.registry import AccountRegistry, RegisteredAccount
from hullwatch.services.sessions.second_look import SecondLook

UNSURE_AFTER_S: Final = 300.0
"""A passing trouble makes a session unverified only when Fyers has not confirmed it for this long."""


class Doubts:
    """Moves the standing of every session."""

    def __init__(
        self,
        context: Context,
        accounts: AccountRegistry,
        *,
        broker: BrokerPort,
        supervisor: Supervisor,
        publish: Callable[[Connection, Connection], None],
        end_refused: Callable[[RegisteredAccount, tuple[LoginRefused, ...]], Awaitable[None]],
    ) -> None:
        """Keep what is needed; `publish` tells of a moved standing, `end_refused` ends a session that Fyers has refused for good."""
        self._accounts = accounts
        self._clock = context.clock
        self._publish = publish
        self._end_refused = end_refused
        self.outages = OutageWatch(
            context,
            self,
            broker=broker,
        )
        second_look = SecondLook(
            context,
            self,
            outages=self.outages,
            broker=broker,
        )
        self._looks = Looks(second_look, supervisor)
        self._log = structlog.get_logger(component="TokenValidationService")

    # ---------------------------------------------------------------- what Fyers' answers say

    def record_result(
        self, credential: Credential, result: BrokerResult[object], *, is_validation: bool = False
    ) -> None:
        """Take note of what Fyers answered to a call with this credential; an older generation's news is void.

        A validation's trouble makes the session unverified at once, another call's only when Fyers has not confirmed it lately.
        """
        account = self._accounts.get(credential.user_id)
        if account is None or account.connection.generation != credential.generation:
            return
        if not account.connection.has_session:
            return
        match result:
            case Answered():
                if account.connection.is_usable:
                    self.outages.note_answer(credential.user_id)
                self._stand(account, VerificationTrigger.ANSWERED)
            case LoginRefused():
                self._doubt(account, result)
            case RateLimited() | Unavailable() if is_validation or self._is_stale(account.connection):
                self._stand(account, VerificationTrigger.UNAVAILABLE)
            case _:
                pass  # a refused request or a call that was not sent says nothing about the login

    def confirmed_elsewhere(self, user_id: str, generation: int, *, at: datetime) -> bool:
        """Let a confirmation that another process got at this moment count here; False where it may not.

        It clears no doubt, says nothing about another generation, and moves nothing back.
        """
        account = self._accounts.get(user_id)
        if account is None or account.connection.generation != generation or not account.connection.is_usable:
            return False
        known_at = account.connection.last_validated_at
        if known_at is None or known_at < at:
            self._stand(account, VerificationTrigger.ANSWERED, at=at)
        return True

    async def settled(self, user_id: str) -> None:
        """Wait until a second look that is under way has come to its first result."""
        if self._accounts.connection(user_id).verification_state is VerificationState.UNDER_VERIFICATION:
            await self._looks.first_result(user_id)

    async def care_for_looks(self) -> None:
        """Begin anew what broke off."""
        self._looks.begin_broken_off(
            account.credential
            for account in self._accounts
            if account.credential
            and account.connection.verification_state is VerificationState.UNDER_VERIFICATION
        )

    def forget(self, user_id: str) -> None:
        """Drop what is known of a removed user's look."""
        self._looks.forget(user_id)

    def _is_stale(self, connection: Connection) -> bool:
        validated_at = connection.last_validated_at
        return validated_at is None or (self._clock.now() - validated_at).total_seconds() > UNSURE_AFTER_S

    def _doubt(self, account: RegisteredAccount, refusal: LoginRefused) -> None:
        if account.credential is None or account.connection.verification_state in (
            VerificationState.UNDER_VERIFICATION,
            VerificationState.HELD,
        ):
            return
        account.credential.lease.is_under_verification = True
        self._stand(account, VerificationTrigger.REFUSED)
        self.outages.note_refusal(account.connection.user_id)
        self._looks.begin(account.credential, refusal)

    def _stand(
        self, account: RegisteredAccount, trigger: VerificationTrigger, *, at: datetime | None = None
    ) -> None:
        before = account.connection
        account.connection = after = rules.stand(before, trigger, now=at or self._clock.now())
        if after.last_validated_at is not before.last_validated_at:
            account.is_observed = True
        if after.verification_state is not before.verification_state:
            self._log.info(
                f"session.{after.verification_state.value}",
                user_id=after.user_id,
                was=before.verification_state.value,
            )
            self._publish(before, after)

    # ---------------------------------------------------------------- what the looks ask and decide

    def connections(self) -> tuple[Connection, ...]:
        """Return all known connections."""
        return self._accounts.connections()

    def credential_for_probe(self, user_id: str) -> Credential | None:
        """Return what a held session may be asked about with, and nothing else."""
        return self._accounts.credential_for_probe(user_id)

    def witnesses(self, user_id: str) -> list[Credential]:
        """Return credentials of all others for asking whether the broker is well."""
        return self._accounts.witnesses(user_id)

    def is_present(self, credential: Credential) -> bool:
        """Tell whether the credential still belongs to its account's present session."""
        return self._accounts.is_present(credential)

    def release(self, user_id: str, trigger: VerificationTrigger) -> None:
        """Let a doubted session be used again: its second look cleared it, or the broker recovered."""
        account = self._accounts.get(user_id)
        if account and account.connection.has_session and account.credential:
            account.credential.lease.is_under_verification = False
            self._stand(account, trigger)

    def hold(self, user_id: str) -> None:
        """Hold a verdict back: the broker is in trouble."""
        account = self._accounts.get(user_id)
        if account and account.connection.has_session:
            self._stand(account, VerificationTrigger.HELD_BACK)

    async def confirm_refusal(self, credential: Credential, refusals: tuple[LoginRefused, ...]) -> None:
        """End the session that this credential belongs to, unless it ended already or a newer login has taken its place."""
        account = self._accounts.get(credential.user_id)
        if account and self.is_present(credential):
            await self._end_refused(account, refusals)
