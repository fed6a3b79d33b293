"""Stored notifications."""

from datetime import datetime

from sqlalchemy import func, select, update

from hullwatch.domain.notifications import Notification, NotificationKind
from hullwatch.storage.models import ChannelKindRow, ChannelRow, NotificationRow
from hullwatch.storage.transaction import Transaction


class Notifications:
    """Satisfies `NotificationRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, notification: Notification) -> bool:
        """Store it; False when one of this kind exists for the user's incident already, or the user has been removed."""
        row = NotificationRow(
            id=notification.id,
            user_id=notification.user_id,
            kind=notification.kind,
            title=notification.title,
            text=notification.text,
            created_at=notification.created_at,
            incident_id=notification.incident_id,
            read_at=notification.read_at,
        )
        insert = self._transaction.insert_for_user(row, notification.user_id)
        done = await self._transaction.execute(insert.on_conflict_do_nothing().returning(NotificationRow.id))
        return done.first() is not None

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        query = select(NotificationRow).where(NotificationRow.user_id == user_id)
        if unread_only:
            query = query.where(NotificationRow.read_at.is_(None))
        query = query.order_by(NotificationRow.created_at.desc(), NotificationRow.id.desc()).limit(limit)
        return [_notification(row) for row in await self._transaction.rows(query)]

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool:
        """Note when it was read first; False when the user has no such notification."""
        done = await self._transaction.execute(
            update(NotificationRow)
            .where(NotificationRow.id == notification_id, NotificationRow.user_id == user_id)
            .values(read_at=func.coalesce(NotificationRow.read_at, at))
            .returning(NotificationRow.id)
        )
        return done.first() is not None

    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return who has a channel that is on and carries notices of this kind."""
        query = (
            select(ChannelRow.user_id)
            .join(ChannelKindRow, ChannelKindRow.channel_id == ChannelRow.id)
            .where(ChannelKindRow.kind == kind, ChannelRow.is_on)
        )
        return set(await self._transaction.rows(query))


def _notification(row: NotificationRow) -> Notification:
    return Notification(
        id=row.id,
        user_id=row.user_id,
        kind=row.kind,
        title=row.title,
        text=row.text,
        created_at=row.created_at,
        incident_id=row.incident_id,
        read_at=row.read_at,
    )
