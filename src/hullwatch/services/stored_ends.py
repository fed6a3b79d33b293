"""Ends of sessions that are made on the database itself, such as on the command line, while a server may hold the session in memory.

The server's side, which notices them, is `ConnectionService.take_over_stored_ends`.
"""

from collections.abc import Callable
from datetime import datetime

from hullwatch.domain import connection as rules
from hullwatch.domain.connection import ConnectionChange, Evidence, LoginTrigger
from hullwatch.services.connection_writer import audit_entry
from hullwatch.services.notifications import compose_session_ended
from hullwatch.services.ports import StorePort


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
        await work.notifications.add(compose_session_ended(change, new_id=new_id))
        await work.commit()
    return change
