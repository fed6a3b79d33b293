"""The outbox: deliveries are claimed, their results stored, and dead letters listed."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, exists, func, or_, select, update

from hullwatch.domain.notifications.channels import (
    ChannelHealth,
    Claimed,
    ClaimLimits,
    DeadLetter,
    Delivery,
    DeliveryResult,
)
from hullwatch.domain.notifications.notifications import DeliveryState, Notification, NotificationKind
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.models import ChannelRow, DeliveryRow, NotificationRow, UserRow
from hullwatch.storage.repositories.notifications.channels import destination_of, is_confirmed
from hullwatch.storage.rows import table_of, value_of
from hullwatch.storage.transaction import Transaction


class Outbox:
    """Satisfies `OutboxRepository`."""

    def __init__(self, transaction: Transaction, cipher: Cipher) -> None:
        self._transaction = transaction
        self._cipher = cipher

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Create a delivery of a stored notice on this channel, whatever kinds the channel delivers."""
        row = DeliveryRow(
            id=f"{notification.id}.{channel_id}",
            notification_id=notification.id,
            channel_id=channel_id,
            user_id=notification.user_id,
            state=DeliveryState.WAITING,
            created_at=notification.created_at,
            due_at=notification.created_at,
        )
        await self._transaction.execute(self._transaction.insert_row(row))
        self._transaction.has_deliveries = True

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether a delivery is due."""
        return await self._transaction.row(_joined(DeliveryRow.id).where(_is_due(now)).limit(1)) is not None

    async def claim(self, wish: ClaimLimits, *, now: datetime, until: datetime) -> list[Claimed]:
        """Claim due deliveries, alternating between channels; no other server gets them before `until`."""
        if wish.limit <= 0:
            return []
        # Two queries, so that a channel that may hang does not delay one that works.
        working = await self._due(wish, now, proven=True, limit=wish.limit + sum(wish.running.values()))
        others = await self._due(wish, now, proven=False, limit=wish.unproven_limit)
        picked = wish.picked([*others, *working])
        return await self._take(picked, now, until) if picked else []

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store results of attempts, and channel id → health; removed rows are skipped."""
        delivery, channel = table_of(DeliveryRow), table_of(ChannelRow)
        ended = (
            update(delivery)
            .where(delivery.c.id == bindparam("of"), delivery.c.state == DeliveryState.WAITING)
            .values(
                state=bindparam("to"),
                attempts=delivery.c.attempts + 1,
                due_at=bindparam("due"),
                claimed_until=None,
                ended_at=bindparam("at"),
                last_error=bindparam("why"),
            )
        )
        # Rows are locked in the order of ids, so that two servers cannot deadlock.
        await self._transaction.execute_many(
            ended,
            [
                {
                    "of": one.id,
                    "to": one.state,
                    "due": one.due_at,
                    "at": None if one.state is DeliveryState.WAITING else one.at,
                    "why": one.error,
                }
                for one in sorted(results, key=lambda one: one.id)
            ],
        )
        names = [field.name for field in fields(ChannelHealth)]
        known = (
            update(channel)
            .where(channel.c.id == bindparam("of"))
            .values({name: bindparam(f"new_{name}") for name in names})
        )
        await self._transaction.execute_many(
            known,
            [
                {"of": channel_id, **{f"new_{name}": getattr(health, name) for name in names}}
                for channel_id, health in sorted(healths.items())
            ],
        )

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return a user's deliveries, newest first."""
        query = _joined(DeliveryRow, NotificationRow, ChannelRow).where(DeliveryRow.user_id == user_id)
        query = query.order_by(DeliveryRow.created_at.desc(), DeliveryRow.id.desc()).limit(limit)
        return [_delivery(*row) for row in await self._transaction.execute(query)]

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Return deliveries that failed permanently, except tests, newest first."""
        query = (
            _joined(DeliveryRow, NotificationRow, ChannelRow, UserRow.email)
            .join(UserRow, UserRow.id == DeliveryRow.user_id)
            .where(_has_failed())
            .order_by(DeliveryRow.ended_at.desc(), DeliveryRow.id)
            .limit(limit)
        )
        return [
            DeadLetter(
                _delivery(delivery, notice, channel), channel.user_id, email, channel.kind, channel.hint
            )
            for delivery, notice, channel, email in await self._transaction.execute(query)
        ]

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Make a failed delivery due at once, as if new; False when there is none."""
        done = await self._transaction.execute(
            update(DeliveryRow)
            .where(DeliveryRow.id == delivery_id, DeliveryRow.state == DeliveryState.FAILED_PERMANENTLY)
            .values(
                state=DeliveryState.WAITING,
                created_at=now,
                due_at=now,
                attempts=0,
                ended_at=None,
                claimed_until=None,
            )
            .returning(DeliveryRow.channel_id)
        )
        found = done.first()
        if found is None:
            return False
        # An operator who retries wants to see the result now, not after the pause.
        await self._transaction.execute(
            update(ChannelRow).where(ChannelRow.id == found.channel_id).values(paused_until=None)
        )
        self._transaction.has_deliveries = True
        return True

    async def discard(self, delivery_id: str) -> bool:
        """Remove a failed delivery; False when there is none."""
        done = await self._transaction.execute(
            delete(DeliveryRow)
            .where(DeliveryRow.id == delivery_id, DeliveryRow.state == DeliveryState.FAILED_PERMANENTLY)
            .returning(DeliveryRow.id)
        )
        return done.first() is not None

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove at most `limit` old deliveries and `limit` old notices that were read; return how many."""
        done_with = or_(
            and_(DeliveryRow.state == DeliveryState.SENT, DeliveryRow.ended_at < sent_before),
            and_(DeliveryRow.state == DeliveryState.FAILED_PERMANENTLY, DeliveryRow.ended_at < others_before),
        )
        is_wanted = exists().where(
            DeliveryRow.notification_id == NotificationRow.id, DeliveryRow.state != DeliveryState.SENT
        )
        old_notices = and_(
            NotificationRow.read_at.is_not(None), NotificationRow.created_at < others_before, ~is_wanted
        )
        removed = 0
        for row, condition in ((DeliveryRow, done_with), (NotificationRow, old_notices)):
            some = select(row.id).where(condition).limit(limit)
            gone = await self._transaction.execute(delete(row).where(row.id.in_(some)).returning(row.id))
            removed += len(gone.all())
        return removed

    async def _due(
        self, wish: ClaimLimits, now: datetime, *, proven: bool, limit: int
    ) -> list[tuple[str, str, bool]]:
        """Return delivery id, channel id and `proven` of due deliveries, the first of each channel first."""
        works = and_(ChannelRow.failures == 0, ChannelRow.last_sent_at.is_not(None))
        most = wish.per_channel if proven else 1
        full = [channel_id for channel_id, number in wish.running.items() if number >= most]
        position = func.row_number().over(
            partition_by=DeliveryRow.channel_id, order_by=(DeliveryRow.due_at, DeliveryRow.id)
        )
        waiting = (
            _joined(DeliveryRow.id, DeliveryRow.channel_id, DeliveryRow.due_at, position)
            .where(_is_due(now), ChannelRow.kind.in_(wish.kinds), DeliveryRow.channel_id.not_in(full))
            .where(works if proven else ~works)
            .subquery()
        )
        identity, channel_id, due_at, rank = waiting.c
        query = select(identity, channel_id).where(rank <= most).order_by(rank, due_at, identity)
        found = await self._transaction.execute(query.limit(max(0, limit)))
        return [(row[0], row[1], proven) for row in found]

    async def _take(self, picked: Sequence[str], now: datetime, until: datetime) -> list[Claimed]:
        free = select(DeliveryRow.id).where(
            DeliveryRow.id.in_(picked),
            DeliveryRow.state == DeliveryState.WAITING,
            or_(DeliveryRow.claimed_until.is_(None), DeliveryRow.claimed_until <= now),
        )
        taken = await self._transaction.execute(
            update(DeliveryRow)
            .where(DeliveryRow.id.in_(free.with_for_update(skip_locked=True)))
            .values(claimed_until=until)
            .returning(DeliveryRow.id)
        )
        ids = [row.id for row in taken]
        query = _joined(DeliveryRow, NotificationRow, ChannelRow).where(DeliveryRow.id.in_(ids))
        found = await self._transaction.execute(query.order_by(DeliveryRow.due_at, DeliveryRow.id))
        return [self._claimed(*row) for row in found]

    def _claimed(self, delivery: DeliveryRow, notice: NotificationRow, channel: ChannelRow) -> Claimed:
        return value_of(
            Claimed,
            delivery,
            notification=value_of(Notification, notice),
            channel_kind=channel.kind,
            channel_label=channel.label,
            health=value_of(ChannelHealth, channel),
            destination=destination_of(channel, self._cipher),
        )


def _joined(*what: Any) -> Select[Any]:
    """Return a query of deliveries with their notices and channels."""
    return (
        select(*what)
        .select_from(DeliveryRow)
        .join(NotificationRow, NotificationRow.id == DeliveryRow.notification_id)
        .join(ChannelRow, ChannelRow.id == DeliveryRow.channel_id)
    )


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a delivery may be tried: a test always, others while the channel is on and not paused."""
    is_open = and_(ChannelRow.is_on, or_(ChannelRow.paused_until.is_(None), ChannelRow.paused_until <= now))
    return and_(
        DeliveryRow.state == DeliveryState.WAITING,
        DeliveryRow.due_at <= now,
        or_(DeliveryRow.claimed_until.is_(None), DeliveryRow.claimed_until <= now),
        is_confirmed(),
        or_(is_open, NotificationRow.kind == NotificationKind.TEST),
    )


def _has_failed() -> ColumnElement[bool]:
    return and_(
        DeliveryRow.state == DeliveryState.FAILED_PERMANENTLY, NotificationRow.kind != NotificationKind.TEST
    )


def _delivery(delivery: DeliveryRow, notice: NotificationRow, channel: ChannelRow) -> Delivery:
    return value_of(Delivery, delivery, channel_label=channel.label, kind=notice.kind, title=notice.title)
