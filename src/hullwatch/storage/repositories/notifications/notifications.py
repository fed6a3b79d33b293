"""Stored notifications, and the deliveries that are created with them."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, case, delete, func, literal, null, select, update

from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    PAGE_ONLY,
    DeliveryState,
    Notification,
    NotificationKind,
    Retraction,
)
from hullwatch.storage.models import ChannelKindRow, ChannelRow, DeliveryRow, NotificationRow
from hullwatch.storage.repositories.notifications.channels import takes_notices
from hullwatch.storage.rows import row_of, table_of, value_of, values_of
from hullwatch.storage.transaction import Transaction

_IDS_PER_QUERY: Final = 1000


class Notifications:
    """Satisfies `NotificationRepository`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, notification: Notification) -> bool:
        """Store a notice with its deliveries; False when the incident has one, or the user is removed."""
        insert = self._transaction.insert_for_user(
            row_of(NotificationRow, notification), notification.user_id
        )
        done = await self._transaction.execute(insert.on_conflict_do_nothing().returning(NotificationRow.id))
        is_new = done.first() is not None
        if is_new and notification.kind not in PAGE_ONLY:
            await self._fan_out([notification.id])
        return is_new

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store the notices that a channel of their user delivers, and return those that are new."""
        if not notifications:
            return []
        carried = (
            select(ChannelRow.user_id, ChannelKindRow.kind)
            .join(ChannelKindRow, ChannelKindRow.channel_id == ChannelRow.id)
            .where(
                takes_notices(),
                ChannelRow.user_id.in_({one.user_id for one in notifications}),
                ChannelKindRow.kind.in_({_chosen(one.kind) for one in notifications} - PAGE_ONLY),
            )
            .with_for_update(read=True, key_share=True)
        )
        wanted = {(user_id, kind) for user_id, kind in await self._transaction.execute(carried)}
        rows = [
            values_of(row_of(NotificationRow, one))
            for one in notifications
            if (one.user_id, _chosen(one.kind)) in wanted
        ]
        if not rows:
            return []
        insert = self._transaction.insert(NotificationRow).on_conflict_do_nothing()
        done = await self._transaction.execute(insert.returning(table_of(NotificationRow).c.id), rows)
        stored = {row.id for row in done}
        if stored:
            await self._fan_out(sorted(stored))
        return [one for one in notifications if one.id in stored]

    async def rewrite(self, notifications: Sequence[Notification]) -> None:
        """Store other titles and texts of stored notices; what is not sent yet is sent with them."""
        table = table_of(NotificationRow)
        change = (
            update(table)
            .where(table.c.id == bindparam("of"))
            .values(title=bindparam("new_title"), text=bindparam("new_text"))
        )
        ordered = sorted(notifications, key=lambda one: one.id)
        values = [{"of": one.id, "new_title": one.title, "new_text": one.text} for one in ordered]
        await self._transaction.execute_many(change, values)

    async def retract(self, ids: Collection[str]) -> Retraction:
        """Cancel the unsent deliveries of these notices, and remove those that reached no channel."""
        stored, unsent = set[str](), set[str]()
        for some in _batches(ids):
            found = await self._transaction.execute(
                select(NotificationRow.id).where(NotificationRow.id.in_(some))
            )
            stored |= {row.id for row in found}
            # Locked in the order of ids, as `Outbox.finish` does it, so that the two cannot deadlock.
            query = select(DeliveryRow).where(DeliveryRow.notification_id.in_(some)).order_by(DeliveryRow.id)
            deliveries = await self._transaction.rows(query.with_for_update())
            unsent |= {one.notification_id for one in deliveries}
            unsent -= {one.notification_id for one in deliveries if _may_have_been_sent(one)}
            await self._transaction.execute(
                delete(DeliveryRow).where(
                    DeliveryRow.notification_id.in_(some), DeliveryRow.state != DeliveryState.SENT
                )
            )
        for some in _batches(unsent):
            await self._transaction.execute(delete(NotificationRow).where(NotificationRow.id.in_(some)))
        return Retraction(frozenset(stored - unsent), frozenset(unsent))

    async def was_notified(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether a notice of this kind about the incident is stored for the user."""
        query = select(NotificationRow.id).where(
            NotificationRow.user_id == user_id,
            NotificationRow.kind == kind,
            NotificationRow.incident_id == incident_id,
        )
        return await self._transaction.row(query) is not None

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        query = select(NotificationRow).where(NotificationRow.user_id == user_id)
        if unread_only:
            query = query.where(NotificationRow.read_at.is_(None))
        query = query.order_by(NotificationRow.created_at.desc(), NotificationRow.id.desc()).limit(limit)
        return [value_of(Notification, row) for row in await self._transaction.rows(query)]

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool:
        """Store when the notice was first read; False when the user has no such notice."""
        done = await self._transaction.execute(
            update(NotificationRow)
            .where(NotificationRow.id == notification_id, NotificationRow.user_id == user_id)
            .values(read_at=func.coalesce(NotificationRow.read_at, at))
            .returning(NotificationRow.id)
        )
        return done.first() is not None

    async def notified_users(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notice of this kind about an incident that many users share."""
        query = select(NotificationRow.user_id).where(
            NotificationRow.kind == kind, NotificationRow.incident_id == incident_id
        )
        return set(await self._transaction.rows(query))

    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return the users with a channel that is on and delivers notices of this kind."""
        query = (
            select(ChannelRow.user_id)
            .join(ChannelKindRow, ChannelKindRow.channel_id == ChannelRow.id)
            .where(ChannelKindRow.kind == kind, takes_notices())
        )
        return set(await self._transaction.rows(query))

    async def _fan_out(self, ids: Sequence[str]) -> None:
        """Create a delivery for each channel that delivers one of these notices."""
        note, channel, kind = table_of(NotificationRow), table_of(ChannelRow), table_of(ChannelKindRow)
        delivery = table_of(DeliveryRow).c
        with_others = {one: literal(other, note.c.kind.type) for one, other in DELIVERED_WITH.items()}
        chosen_kind = case(with_others, value=note.c.kind, else_=note.c.kind)
        values = {
            "id": note.c.id.concat(".").concat(channel.c.id),
            "notification_id": note.c.id,
            "channel_id": channel.c.id,
            "user_id": channel.c.user_id,
            "state": literal(DeliveryState.WAITING, delivery.state.type),
            "created_at": note.c.created_at,
            "due_at": note.c.created_at,
            "attempts": literal(0),
            "claimed_until": null(),
            "ended_at": null(),
            "last_error": null(),
        }
        chosen = (
            select(*(value.label(name) for name, value in values.items()))
            .select_from(note)
            .join(channel, channel.c.user_id == note.c.user_id)
            .join(kind, (kind.c.channel_id == channel.c.id) & (kind.c.kind == chosen_kind))
            .where(note.c.id.in_(ids), takes_notices())
            # Waits for a channel that is being removed: a foreign key error would undo the whole transaction.
            .with_for_update(read=True, key_share=True, of=channel)
        )
        insert = self._transaction.insert(DeliveryRow).from_select(list(values), chosen)
        done = await self._transaction.execute(insert.on_conflict_do_nothing())
        if done.rowcount:
            self._transaction.has_deliveries = True


def _chosen(kind: NotificationKind) -> NotificationKind:
    return DELIVERED_WITH.get(kind, kind)


def _may_have_been_sent(delivery: DeliveryRow) -> bool:
    return delivery.state is not DeliveryState.WAITING or bool(delivery.attempts or delivery.claimed_until)


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[start : start + _IDS_PER_QUERY] for start in range(0, len(ordered), _IDS_PER_QUERY))
