"""A user's notices. The ways they travel beyond the page are in ``channels.py``."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.web.dependencies import ServicesNeeded, SignedIn
from hullwatch.web.payloads import Id, Limit, Payload

router = APIRouter(prefix="/api/notifications", tags=["notifications"])


class NotificationPayload(Payload):
    """One notice."""

    id: str
    kind: NotificationKind
    title: str
    text: str
    created_at: datetime
    incident_id: str | None
    read_at: datetime | None

    @classmethod
    def of(cls, notification: Notification) -> "NotificationPayload":
        """Return the payload of a notification."""
        return cls(
            id=notification.id,
            kind=notification.kind,
            title=notification.title,
            text=notification.text,
            created_at=notification.created_at,
            incident_id=notification.incident_id,
            read_at=notification.read_at,
        )


class NotificationsPayload(Payload):
    """Notices, newest first."""

    notifications: list[NotificationPayload]


@router.get("")
async def notifications(
    user: SignedIn,
    services: ServicesNeeded,
    *,
    unread_only: Annotated[bool, Query(alias="unreadOnly")] = False,
    limit: Limit = 100,
) -> NotificationsPayload:
    """Return the own notices."""
    found = await services.notifications.of_user(user.id, unread_only=unread_only, limit=limit)
    return NotificationsPayload(notifications=[NotificationPayload.of(one) for one in found])


@router.post("/{notification_id}/read", status_code=204)
async def mark_read(notification_id: Id, user: SignedIn, services: ServicesNeeded) -> None:
    """Remember that a notice was read."""
    await services.notifications.mark_read(user.id, notification_id)
