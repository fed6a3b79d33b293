"""Ends of sessions that are made on the database itself, such as on the command line, while a server may hold the session in memory.

Making one, and finding those that others made; what the server that holds the session does then is `ConnectionService.apply_stored_disconnects`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    DisconnectReason,
    Evidence,
    LoginTrigger,
)
from hullwatch.services.ports import StorePort
from hullwatch.services.sessions.persistence import audit_entry
from hullwatch.services.texts.notices import compose_session_disconnected


async def disconnect_stored(
    store: StorePort, user_id: str, *, actor: str, now: datetime, new_id: Callable[[str], str]
) -> ConnectionChange | None:
    """End a stored session because an operator wants it, with its audit line and its notice, in one transaction.

    Only the generation that was read is ended: a login that is stored meanwhile stays.

    Returns:
        What changed; `None` where there is no session.
    """
    async with store.begin() as work:
        stored = await work.connections.get(user_id)
        if stored is None or not stored.has_session:
            return None
        change = rules.end(
            stored,
            LoginTrigger.DISCONNECTED_BY_ADMIN,
            incident_id=new_id("inc"),
            now=now,
            evidence=Evidence("admin", actor),
        )
        if not await work.connections.save(change.after):
            return None
        await work.audit.add([audit_entry(change)])
        await work.notifications.add(compose_session_disconnected(change, new_id=new_id))
        await work.commit()
    return change


async def read_stored_disconnects(
    store: StorePort, known: Mapping[str, int]
) -> list[tuple[str, Connection | None]]:
    """Return which of these sessions, user id → generation, have ended in the database; `None` stands for a user who is gone."""
    async with store.begin(read_only=True) as work:
        stored = {connection.user_id: connection for connection in await work.connections.list_all()}
    found = ((user_id, generation, stored.get(user_id)) for user_id, generation in known.items())
    return [
        (user_id, connection)
        for user_id, generation, connection in found
        if connection is None or (connection.generation == generation and not connection.has_session)
    ]


def change_of_stored_disconnect(before: Connection, ended: Connection, *, now: datetime) -> ConnectionChange:
    """Return the change that somebody else made and stored."""
    is_own = ended.reason is DisconnectReason.SIGNED_OUT
    trigger = LoginTrigger.SIGNED_OUT if is_own else LoginTrigger.DISCONNECTED_BY_ADMIN
    return ConnectionChange(
        before, ended, trigger, ended.last_disconnect_at or now, Evidence("stored_disconnect")
    )
