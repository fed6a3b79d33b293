"""Stores a notice for every admin, and shows stored notices in open tabs."""

from collections.abc import Callable

from hullwatch.domain.events import Event, NotificationStored
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.services.ports import UnitOfWork

Compose = Callable[[str], Notification]
"""Returns the notice for the admin with this id."""


async def add_for_admins(work: UnitOfWork, compose: Compose) -> list[Notification]:
    """Store the notice for every admin who does not have it yet; return the new ones, to be published after the commit."""
    notices = [compose(user.id) for user in await work.users.list_all() if user.role is Role.ADMIN]
    return [notice for notice in notices if await work.notifications.add(notice)]


def publish_notices(hub: Broadcast[Event], *notifications: Notification) -> None:
    """Show stored notices in the open tabs of their users."""
    for notification in notifications:
        hub.publish(notification.user_id, NotificationStored(notification))
