"""Stores what happened to sessions: in order, many changes in one transaction, and again until the database takes them.

What happens to a session is decided in ``connections.py``; there it has counted already when it arrives here.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.runtime.backoff import Backoff
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.ports import StorePort, UnitOfWork
from hullwatch.services.sessions.registry import RegisteredAccount

MOST_AT_ONCE: Final = 200
"""Changes in one transaction: at 06:00 IST all sessions end in the same moment."""
_SAVE_AGAIN: Final = Backoff(first_s=0.5, factor=2, max_s=30, jitter=0.25)


@dataclass(frozen=True, slots=True)
class _Unsaved:
    change: ConnectionChange | None
    notification: Notification | None


class ConnectionWriter:
    """The way of changes into the database; one transaction at a time."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock
        self._random = context.random
        self._hub = context.hub
        self._queue: list[_Unsaved] = []
        self._has_work = asyncio.Event()
        self._saving: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """How many changes are not stored yet."""
        return len(self._queue)

    def add(self, change: ConnectionChange, notification: Notification | None) -> None:
        """Take over a change that counts already, with the notice to store beside it."""
        self._queue.append(_Unsaved(change, notification))
        self._has_work.set()

    def tell(self, notification: Notification) -> None:
        """Take over a notice about a change that was handed over without one."""
        self._queue.append(_Unsaved(None, notification))
        self._has_work.set()

    async def save(self) -> None:
        """Store what is outstanding; on a database that does not answer it waits for `run`."""
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_all(), name="connection changes")
            self._saving.add_done_callback(self._saved)
        saving = self._saving
        # Not awaited directly: a caller that is cancelled must not cut a commit short.
        await asyncio.wait({saving})
        if not saving.cancelled():
            saving.result()

    def _saved(self, task: asyncio.Task[None]) -> None:
        if self._saving is task:
            self._saving = None
        if not task.cancelled():
            task.exception()  # seen, even when everybody who waited for it has left

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Store what could not be stored at once, for ever."""
        attempt = 0
        while True:
            await self._has_work.wait()
            await self.save()
            attempt = attempt + 1 if self._queue else 0
            heartbeat()
            if attempt:
                await self._clock.sleep(_SAVE_AGAIN.delay(attempt, self._random))

    async def _save_all(self) -> None:
        while self._queue:
            batch = self._queue[:MOST_AT_ONCE]
            try:
                new = await self._save_batch(batch)
            except StorageUnavailable:
                return
            del self._queue[: len(batch)]
            publish_notices(self._hub, *new)
        self._has_work.clear()

    async def _save_batch(self, batch: list[_Unsaved]) -> list[Notification]:
        """Store these in one transaction; return the notices that are new and still concern the newest session."""
        new: list[Notification] = []
        async with self._store.begin() as work:
            for unsaved in batch:
                is_current = unsaved.change is None or await work.connections.save(unsaved.change.after)
                notification = unsaved.notification
                if notification and await work.notifications.add(notification) and is_current:
                    new.append(notification)
            await work.audit.add([audit_entry(unsaved.change) for unsaved in batch if unsaved.change])
            await work.commit()
        return new


async def save_login(work: UnitOfWork, change: ConnectionChange, notification: Notification | None) -> bool:
    """Add a login's audit line and notice to the unit of work that stores it; say whether the notice is new."""
    await work.audit.add([audit_entry(change)])
    return notification is not None and await work.notifications.add(notification)


async def save_observed(store: StorePort, observed: Sequence[RegisteredAccount]) -> None:
    """Store when these sessions were last confirmed.

    Raises:
        StorageUnavailable: The database did not answer; all are still to be stored.
    """
    if not observed:
        return
    for account in observed:
        account.is_observed = False
    is_kept = False
    try:
        async with store.begin() as work:
            # One statement for all: two thousand, one after the other, would hold the database for many seconds.
            await work.connections.save_observed(
                [account.connection for account in observed if account.connection.has_session]
            )
            await work.commit()
        is_kept = True
    finally:
        for account in observed:
            account.is_observed |= not is_kept


def audit_entry(change: ConnectionChange) -> AuditEntry:
    """Return the line of the audit trail for a change."""
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
            "refusals": [
                {
                    "service": refusal.service.value,
                    "code": refusal.code,
                    "status": refusal.http_status,
                    "path": refusal.path,
                }
                for refusal in evidence.refusals
            ],
        },
    )
