"""Changes sessions in memory, queues the changes for storing, and publishes them, in one step without an await."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from hullwatch.domain.events import ADMINS, ConnectionChanged
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    Evidence,
    HoldReason,
    LoginTrigger,
    VerificationTrigger,
    credential_of,
)
from hullwatch.domain.sessions.mass_refusal import RefusalStatistics
from hullwatch.domain.sessions.verification import AnyRefusal
from hullwatch.services.context import Context
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.persistence import (
    ConnectionWriter,
    HoldBegun,
    HoldOver,
    change_of_stored_disconnect,
)
from hullwatch.services.sessions.registry import RegisteredAccount
from hullwatch.services.texts.notices import (
    compose_session_accepted,
    compose_session_disconnected,
    compose_session_held,
)


class SessionChanges:
    """The effects of decisions about sessions. Only `ConnectionService` decides."""

    def __init__(
        self,
        context: Context,
        statistics: RefusalStatistics,
        writer: ConnectionWriter,
        *,
        hook: SessionHook,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._statistics = statistics
        self._writer = writer
        self._hook = hook
        self._listeners: list[Callable[[ConnectionChange], None]] = []
        self._log = structlog.get_logger(component="TokenValidationService")

    def subscribe(self, listener: Callable[[ConnectionChange], None]) -> None:
        """Call `listener` after every change of a login state, in the step in which it takes effect."""
        self._listeners.append(listener)

    def update_verification(
        self,
        account: RegisteredAccount,
        trigger: VerificationTrigger,
        *,
        at: datetime | None = None,
        hold_reason: HoldReason | None = None,
    ) -> None:
        """Change the verification state; `at` is when Fyers answered, `hold_reason` belongs to the trigger `HELD_BACK`."""
        before, now = account.connection, at or self._clock.now()
        account.connection = after = rules.update_verification(
            before, trigger, now=now, hold_reason=hold_reason
        )
        if after.last_validated_at is not before.last_validated_at:
            account.is_observed = True
        if after.is_verified:
            account.unclear_since = None
            self.end_hold(account, is_accepted=True)
        if after.verification_state is not before.verification_state:
            self._log.info(
                f"session.{after.verification_state.value}",
                user_id=after.user_id,
                was=before.verification_state.value,
            )
            self._publish(before, after)

    def begin_hold(self, account: RegisteredAccount, refusals: tuple[AnyRefusal, ...]) -> None:
        """Notify the user once that the session is held, however often the server restarts meanwhile."""
        if not account.is_hold_notified and account.verification:
            account.is_hold_notified = True
            self._writer.add_hold(
                HoldBegun(
                    account.connection,
                    compose_session_held(
                        account.connection.user_id,
                        since=account.verification.refused_since,
                        now=self._clock.now(),
                        new_id=self._context.new_id,
                    ),
                    refusals,
                )
            )

    def end_hold(self, account: RegisteredAccount, *, is_accepted: bool) -> None:
        """Notify the user once that Fyers accepts the session again; a disconnect has its own notice."""
        if not account.is_hold_notified:
            return
        account.is_hold_notified = False
        notice = None
        if is_accepted:
            notice = compose_session_accepted(
                account.connection.user_id, now=self._clock.now(), new_id=self._context.new_id
            )
        self._writer.add_hold(HoldOver(account.connection, self._clock.now(), notice))

    def release(self, account: RegisteredAccount, trigger: VerificationTrigger) -> None:
        """Permit ordinary calls again after a verification or a hold."""
        if account.credential:
            account.unclear_since = None
            account.credential.lease.is_under_verification = False
            self.update_verification(account, trigger)

    def disconnect(
        self,
        account: RegisteredAccount,
        trigger: LoginTrigger,
        evidence: Evidence,
        *,
        at: datetime | None = None,
    ) -> None:
        """Disconnect the session and queue its notice; `at` is the expiry, for a session that reached it."""
        addition = self._hook.before_disconnect(account.connection, trigger)
        change = rules.disconnect(
            account.connection,
            trigger,
            incident_id=self._context.new_id("inc"),
            now=at or self._clock.now(),
            evidence=replace(evidence, details=addition.details),
        )
        account.close_lease()
        self._statistics.forget(account.connection.user_id)
        self.end_hold(account, is_accepted=False)
        account.is_notice_delayed = addition.delays_notice
        notice = compose_session_disconnected(change, new_id=self._context.new_id, addition=addition.sentence)
        self.take_effect(account, change, None if addition.delays_notice else notice)

    def start_session(
        self, account: RegisteredAccount, change: ConnectionChange, token: AccessToken, known: Connection
    ) -> None:
        """Let a stored login take effect; `known` is the connection from which it was computed."""
        account.close_lease()
        account.is_notice_delayed = False
        account.unclear_since = None
        account.connection, last = change.after, account.connection
        account.is_observed = last.incident_id != known.incident_id
        if account.is_observed:
            # The old session was disconnected while the new one was stored.
            account.connection = replace(
                change.after, last_disconnect_at=last.last_disconnect_at, incident_id=last.incident_id
            )
        account.credential = credential_of(account.connection, token)
        self.publish_change(replace(change, after=account.connection))

    def apply_stored_disconnect(self, account: RegisteredAccount, stored: Connection) -> None:
        """Apply a disconnect that another process has stored, with its notice."""
        change = change_of_stored_disconnect(account.connection, stored, now=self._clock.now())
        account.connection = stored
        account.close_lease()
        self._statistics.forget(stored.user_id)
        self.end_hold(account, is_accepted=False)
        self.publish_change(change)

    def take_effect(
        self,
        account: RegisteredAccount,
        change: ConnectionChange,
        notice: Notification | None,
        *,
        only_if_wanted: bool = False,
    ) -> None:
        """Change the account and queue the change for storing, in one step without an await."""
        account.connection = change.after
        self._writer.add(change, notice, only_if_wanted=only_if_wanted)
        self.publish_change(change)

    def publish_change(self, change: ConnectionChange) -> None:
        """Log and publish a change of a login state, and call all listeners."""
        connection = change.after
        self._log.info(
            f"session.{change.trigger.value}",
            user_id=connection.user_id,
            state=connection.state.value,
            reason=connection.reason.value if connection.reason else None,
            incident_id=connection.incident_id,
        )
        self._publish(change.before, connection)
        for listener in self._listeners:
            listener(change)

    def _publish(self, before: Connection, after: Connection) -> None:
        event = ConnectionChanged(after.user_id, before.state, after)
        self._context.hub.publish(after.user_id, event)
        self._context.hub.publish(ADMINS, event)
