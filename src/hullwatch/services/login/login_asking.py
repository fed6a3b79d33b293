"""Asking a user to log in to Fyers, by a notice that leads there: stored, pushed to open tabs, and not too often. Links are ``login_links.py``'s."""

import asyncio
from datetime import timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.sessions.login_links import BY_HULLWATCH, BY_OLD_LINK, asked_incident
from hullwatch.services.context import Context
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.notices import compose_login_asked

ASK_AGAIN_AFTER: Final = timedelta(minutes=10)
MOST_ASKS_A_DAY: Final = 5
ASKED: Final = "login_link.requested"


class LoginAsking:
    """Tells users that somebody asks for a login; how often is counted in the audit trail, so that a restart forgets nothing."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._turn = asyncio.Lock()

    async def tell(self, user_id: str, *, requested_by: str) -> bool:
        """Store the notice; False when there was one a moment ago, or enough of them today."""
        async with self._turn, self._store.begin() as work:
            now = self._clock.now()
            asks = await work.audit.entries(
                user_id=user_id, kind_prefix=ASKED, since=now - timedelta(days=1), limit=MOST_ASKS_A_DAY
            )
            if len(asks) >= MOST_ASKS_A_DAY or (asks and now - asks[0].at < ASK_AGAIN_AFTER):
                return False
            is_by_admin = requested_by != BY_OLD_LINK
            incident_id = asked_incident(self._new_id("ask"), requested_by)
            notice = compose_login_asked(
                user_id, incident_id=incident_id, is_by_admin=is_by_admin, now=now, new_id=self._new_id
            )
            is_new = await work.notifications.add(notice)
            actor = requested_by if is_by_admin else BY_HULLWATCH
            line = AuditEntry(
                now, user_id, ASKED, actor, incident_id=incident_id, evidence={"requestedBy": requested_by}
            )
            await work.audit.add([line])
            await work.commit()
        if is_new:
            publish_notices(self._hub, notice)
        return is_new
