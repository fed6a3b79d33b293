"""NotificationService: the stored notices of one user at a time."""

import structlog

from hullwatch.domain.failures import NotFound
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.services.context import Context


class NotificationService:
    """Stored notifications of one user at a time."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock
        self._log = structlog.get_logger(component="NotificationService")

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return a user's notifications, newest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.notifications.of_user(user_id, unread_only=unread_only, limit=limit)

    async def mark_read(self, user_id: str, notification_id: str) -> None:
        """Remember that the user has read it.

        Raises:
            NotFound: The user has no such notification.
        """
        async with self._store.begin() as work:
            if not await work.notifications.mark_read(user_id, notification_id, at=self._clock.now()):
                raise NotFound("You have no such notification.")
            await work.commit()
