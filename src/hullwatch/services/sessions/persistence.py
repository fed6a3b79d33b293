"""Stores the changes of sessions in order, many in one transaction, and retries while the database is unavailable."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import AlreadyExists, LinkRefused, NotAllowed, StorageUnavailable
from hullwatch.domain.notifications.incidents import Incident
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    DisconnectReason,
    Evidence,
    LoginState,
    LoginTrigger,
    NewLogin,
)
from hullwatch.domain.sessions.verification import AnyRefusal
from hullwatch.runtime.retrying_writer import RetryingWriter
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports import StorePort, UnitOfWork
from hullwatch.services.sessions.registry import RegisteredAccount
from hullwatch.services.texts.notices import compose_connected_again, compose_session_disconnected

MAX_BATCH: Final = 200
"""Changes in one transaction: at 06:00 IST all sessions expire at the same moment."""


_HOLD: Final = "hold "


@dataclass(frozen=True, slots=True)
class HoldBegun:
    """A session was put on hold because of unclear refusals; `notice` carries the id and time of the incident."""

    connection: Connection
    notice: Notification
    refusals: tuple[AnyRefusal, ...]


@dataclass(frozen=True, slots=True)
class HoldOver:
    """Such a hold is over; without a notice when the session was disconnected."""

    connection: Connection
    at: datetime
    notice: Notification | None


@dataclass(frozen=True, slots=True)
class _Unsaved:
    change: ConnectionChange | None = None
    notification: Notification | None = None
    only_if_wanted: bool = False
    hold: HoldBegun | HoldOver | None = None


class ConnectionWriter:
    """Queues changes that are in effect already, and stores them."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._hub = context.hub
        self._writer = RetryingWriter(
            self._store_batch,
            retry_on=StorageUnavailable,
            clock=context.clock,
            random=context.random,
            max_batch=MAX_BATCH,
        )

    def add(
        self,
        change: ConnectionChange | None,
        notification: Notification | None,
        *,
        only_if_wanted: bool = False,
    ) -> None:
        """Queue a change, a notice or both.

        Args:
            change: What has happened.
            notification: The notice of it; stored in the same transaction.
            only_if_wanted: Store the notice only for a user who wants monitoring. This is read in the same transaction.
        """
        self._writer.add(_Unsaved(change, notification, only_if_wanted))

    def add_hold(self, hold: HoldBegun | HoldOver) -> None:
        """Queue the start or the end of a hold; of several processes and restarts the first one notifies the user."""
        self._writer.add(_Unsaved(hold=hold))

    async def flush(self) -> None:
        """Store what is queued; while the database is unavailable it stays queued for `run`."""
        await self._writer.try_flush()

    async def store(self) -> None:
        """Store what is queued.

        Raises:
            StorageUnavailable: The database is unavailable; what is queued is stored later.
        """
        await self._writer.flush()

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Store what could not be stored at once."""
        await self._writer.run(heartbeat)

    async def _store_batch(self, batch: list[_Unsaved]) -> None:
        new: list[Notification] = []
        async with self._store.begin() as work:
            for unsaved in batch:
                is_current = unsaved.change is None or await work.connections.save(unsaved.change.after)
                notification = unsaved.notification
                if unsaved.hold is not None:
                    notification = await _save_hold(work, unsaved.hold)
                if notification is None or not await _is_wanted(work, unsaved):
                    continue
                # A notice about a session that was replaced meanwhile is stored, but not pushed to open tabs.
                if await work.notifications.add(notification) and is_current:
                    new.append(notification)
            await work.audit.add([audit_entry(unsaved.change) for unsaved in batch if unsaved.change])
            await work.commit()
        publish_notices(self._hub, *new)


async def _save_hold(work: UnitOfWork, hold: HoldBegun | HoldOver) -> Notification | None:
    """Store the incident and its audit entry; return the notice, or `None` when the user was notified already."""
    user_id = hold.connection.user_id
    if isinstance(hold, HoldBegun):
        incident_id, at = hold.notice.incident_id or hold.notice.id, hold.notice.created_at
        known = await work.incidents.begin(Incident(f"{_HOLD}{user_id}", incident_id, at, at, at))
        if known.id != incident_id:
            return None
        await work.audit.add(
            [_hold_entry(hold.connection, "connection.held", incident_id, at, hold.refusals)]
        )
        return hold.notice
    open_one = await work.incidents.get(f"{_HOLD}{user_id}")
    if open_one is None or not await work.incidents.end(open_one.id):
        return None
    await work.audit.add([_hold_entry(hold.connection, "connection.hold_over", open_one.id, hold.at)])
    return hold.notice and replace(hold.notice, incident_id=open_one.id)


def _hold_entry(
    connection: Connection,
    kind: str,
    incident_id: str,
    at: datetime,
    refusals: Sequence[AnyRefusal] = (),
) -> AuditEntry:
    return AuditEntry(
        at=at,
        user_id=connection.user_id,
        kind=kind,
        actor="fyers",
        to_state=connection.state.value,
        generation=connection.generation,
        incident_id=incident_id,
        evidence={"refusals": refusals_as_evidence(refusals)},
    )


def users_with_hold(incidents: Iterable[Incident]) -> set[str]:
    """Return the users who were notified of a hold, and not yet of the recovery."""
    return {one.subject.removeprefix(_HOLD) for one in incidents if one.subject.startswith(_HOLD)}


async def _is_wanted(work: UnitOfWork, unsaved: _Unsaved) -> bool:
    if not unsaved.only_if_wanted or unsaved.notification is None:
        return True
    wish = await work.watches.wish(unsaved.notification.user_id)
    return wish is not None and wish.is_wanted


async def store_login(
    context: Context, account: RegisteredAccount, login: NewLogin
) -> tuple[ConnectionChange, Notification | None]:
    """Store a login with its audit entry and its notice; return the change, and the notice if it is new.

    Raises:
        LinkRefused: There has been another login since `login.only_after`.
        NotAllowed: `login.continues` has been followed by another login, or a person disconnected it.
        AlreadyExists: Another process stored a login at the same moment, or the user has been removed.
        StorageUnavailable: The database is unavailable; nothing was stored.
    """
    async with context.store.begin() as work:
        stored = await work.connections.get(account.connection.user_id)
        before = account.connection
        if login.continues is not None and not all(
            rules.can_be_continued(one, login.continues) for one in (before, stored) if one
        ):
            raise NotAllowed("This session may not be continued any more.")
        if stored is not None and stored.generation > before.generation:
            # That login was stored, but its request was cancelled before it took effect here.
            before = stored
        if login.only_after not in (None, before.generation):
            raise LinkRefused("There has been a login since this one was begun.", reason="void")
        change = rules.log_in(
            before,
            fyers_id=login.fyers_id,
            app_id=login.app_id,
            expires_at=login.expires_at,
            now=context.clock.now(),
            actor=login.actor,
            kind=login.kind,
        )
        if not await work.connections.save_login(change.after, login.token):
            raise AlreadyExists("Another login of this account was stored at the same moment.")
        await work.audit.add([audit_entry(change)])
        notice = None
        # Without a notice of the disconnect, a notice of the recovery would only confuse.
        if before.state is LoginState.DISCONNECTED and not account.is_notice_delayed:
            notice = compose_connected_again(change, new_id=context.new_id)
            notice = notice if await work.notifications.add(notice) else None
        await work.commit()
    return change, notice


async def save_observed(store: StorePort, observed: Sequence[RegisteredAccount]) -> None:
    """Store when these sessions were last confirmed.

    Raises:
        StorageUnavailable: The database is unavailable; all are still to be stored.
    """
    if not observed:
        return
    for account in observed:
        account.is_observed = False
    is_stored = False
    try:
        async with store.begin() as work:
            # One statement for all: two thousand statements would occupy the database for many seconds.
            await work.connections.save_observed(
                [account.connection for account in observed if account.connection.has_session]
            )
            await work.commit()
        is_stored = True
    finally:
        for account in observed:
            account.is_observed |= not is_stored


def audit_entry(change: ConnectionChange) -> AuditEntry:
    """Return the audit entry of a change."""
    after, evidence = change.after, change.evidence
    return AuditEntry(
        at=change.at,
        user_id=after.user_id,
        kind=f"connection.{change.trigger.value}",
        actor=evidence.actor,
        from_state=change.before.state.value,
        to_state=after.state.value,
        reason=after.reason.value if after.reason else None,
        generation=after.generation,
        incident_id=after.incident_id,
        evidence={
            "kind": evidence.kind,
            **evidence.details,
            "expiresAt": after.expires_at.isoformat() if after.expires_at else None,
            "refusals": refusals_as_evidence(evidence.refusals),
        },
    )


def refusals_as_evidence(refusals: Iterable[AnyRefusal]) -> list[dict[str, str | int | None]]:
    """Return what the audit trail shows of refusals."""
    return [
        {
            "service": refusal.service.value,
            "code": refusal.code,
            "status": refusal.http_status,
            "path": refusal.path,
        }
        for refusal in refusals
    ]


# ---------------------------------------------------------------- sessions that another process holds in memory


async def disconnect_stored(
    context: Context, user_id: str, trigger: LoginTrigger, evidence: Evidence
) -> Connection:
    """Disconnect a stored session, with its audit entry and its notice, in one transaction.

    Only the generation that was read is disconnected: a login that is stored meanwhile stays. Without a session
    nothing happens. The server that holds the session notices by `read_stored_disconnects`.

    Raises:
        StorageUnavailable: The database is unavailable; nothing was changed.
    """
    async with context.store.begin() as work:
        stored = await work.connections.get(user_id) or Connection(user_id)
        if not stored.has_session:
            return stored
        change = rules.disconnect(
            stored, trigger, incident_id=context.new_id("inc"), now=context.clock.now(), evidence=evidence
        )
        if await work.connections.save(change.after):
            await work.audit.add([audit_entry(change)])
            await work.notifications.add(compose_session_disconnected(change, new_id=context.new_id))
            await work.commit()
    return change.after


async def read_stored_disconnects(
    store: StorePort, known: Mapping[str, int]
) -> list[tuple[str, Connection | None]]:
    """Return which of these sessions, user id → generation, are disconnected in the database; `None` for a removed user."""
    async with store.begin(read_only=True) as work:
        stored = {connection.user_id: connection for connection in await work.connections.list_all()}
    found = ((user_id, generation, stored.get(user_id)) for user_id, generation in known.items())
    return [
        (user_id, connection)
        for user_id, generation, connection in found
        if connection is None or (connection.generation == generation and not connection.has_session)
    ]


def change_of_stored_disconnect(before: Connection, after: Connection, *, now: datetime) -> ConnectionChange:
    """Return the change that another process made and stored."""
    is_own = after.reason is DisconnectReason.SIGNED_OUT
    trigger = LoginTrigger.SIGNED_OUT if is_own else LoginTrigger.DISCONNECTED_BY_ADMIN
    return ConnectionChange(
        before, after, trigger, after.last_disconnect_at or now, Evidence("stored_disconnect")
    )
