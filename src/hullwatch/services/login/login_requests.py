"""Notices that request a login at Fyers: stored, shown in open tabs, and limited in number."""

import asyncio
from datetime import timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.sessions.login_links import BY_HULLWATCH, BY_OLD_LINK, request_incident
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.notices import compose_login_asked

RESEND_AFTER: Final = timedelta(minutes=10)
MOST_PER_DAY: Final = 5
REQUESTED: Final = "login_link.requested"


class LoginRequests:
    """Sends users notices with a login link. The audit trail counts them, so a restart resets no limit."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._lock = asyncio.Lock()

    async def send(self, user_id: str, *, requested_by: str) -> bool:
        """Store the notice; False if one was sent within `RESEND_AFTER`, or `MOST_PER_DAY` within a day."""
        async with self._lock, self._store.begin() as work:
            now = self._clock.now()
            sent = await work.audit.entries(
                user_id=user_id, kind_prefix=REQUESTED, since=now - timedelta(days=1), limit=MOST_PER_DAY
            )
            if len(sent) >= MOST_PER_DAY or (sent and now - sent[0].at < RESEND_AFTER):
                return False
            is_by_admin = requested_by != BY_OLD_LINK
            incident_id = request_incident(self._new_id("ask"), requested_by)
            notice = compose_login_asked(
                user_id, incident_id=incident_id, is_by_admin=is_by_admin, now=now, new_id=self._new_id
            )
            is_new = await work.notifications.add(notice)
            actor = requested_by if is_by_admin else BY_HULLWATCH
            line = AuditEntry(
                now,
                user_id,
                REQUESTED,
                actor,
                incident_id=incident_id,
                evidence={"requestedBy": requested_by},
            )
            await work.audit.add([line])
            await work.commit()
        if is_new:
            publish_notices(self._hub, notice)
        return is_new
