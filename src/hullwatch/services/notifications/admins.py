"""Storing one notice for every admin, in the transaction of what it tells of."""

from collections.abc import Callable

from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.users.accounts import Role
from hullwatch.services.ports import UnitOfWork

Compose = Callable[[str], Notification]
"""Makes the notice for the admin with this id."""


async def add_for_admins(work: UnitOfWork, compose: Compose) -> list[Notification]:
    """Store the notice for every admin who has not got it yet; return those that are new."""
    notices = [compose(user.id) for user in await work.users.list_all() if user.role is Role.ADMIN]
    return [notice for notice in notices if await work.notifications.add(notice)]
