"""Routes about a user's notices in the pages."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.web.dependencies import CurrentServices, SignedIn
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


class NotificationsPayload(Payload):
    """Notices, newest first."""

    notifications: list[NotificationPayload]


@router.get("")
async def notifications(
    user: SignedIn,
    services: CurrentServices,
    *,
    unread_only: Annotated[bool, Query(alias="unreadOnly")] = False,
    limit: Limit = 100,
) -> NotificationsPayload:
    """Return the caller's notices, newest first."""
    found = await services.notifications.of_user(user.id, unread_only=unread_only, limit=limit)
    return NotificationsPayload(notifications=[NotificationPayload.of(one) for one in found])


@router.post("/{notification_id}/read", status_code=204)
async def mark_read(notification_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Mark a notice as read."""
    await services.notifications.mark_read(user.id, notification_id)
