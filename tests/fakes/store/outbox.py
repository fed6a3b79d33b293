"""The outbox: one delivery per notice and channel."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fakes.store.notifications import put_delivery
from fakes.store.tables import Repository, StoredDelivery, drop_strays, kept
from hullwatch.domain.failures import NotFound
from hullwatch.domain.notifications.channels import (
    ChannelHealth,
    Claimed,
    ClaimLimits,
    DeadLetter,
    Delivery,
    DeliveryResult,
)
from hullwatch.domain.notifications.notifications import DeliveryState, Notification, NotificationKind


class Outbox(Repository):
    """The outbox."""

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Create a delivery of a stored notice on this channel."""
        if notification.id not in self.tables.notifications or channel_id not in self.tables.channels:
            raise NotFound("What this belongs to no longer exists.")
        put_delivery(self.tables, notification, channel_id)

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether a delivery is due."""
        return any(self._is_due(one, now) for one in self.tables.deliveries.values())

    async def claim(self, wish: ClaimLimits, *, now: datetime, until: datetime) -> list[Claimed]:
        """Claim due deliveries, alternating between channels."""
        positions: dict[str, int] = {}
        due = []
        for one in sorted(self.tables.deliveries.values(), key=lambda one: (one.due_at, one.id)):
            channel = self.tables.channels[one.channel_id]
            if self._is_due(one, now) and channel.kind in wish.kinds:
                positions[channel.id] = positions.get(channel.id, 0) + 1
                due.append((channel.health.is_proven, positions[channel.id], one.due_at, one.id, channel.id))
        picked = wish.picked([(line[3], line[4], line[0]) for line in sorted(due)])
        for delivery_id in picked:
            line = self.tables.deliveries[delivery_id]
            self.tables.deliveries[delivery_id] = replace(line, claimed_until=until)
        taken = sorted((self.tables.deliveries[one] for one in picked), key=lambda one: (one.due_at, one.id))
        return [self._claimed(one) for one in taken]

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store the results of attempts and the health of channels."""
        for result in results:
            stored = self.tables.deliveries.get(result.id)
            if stored is None or stored.state is not DeliveryState.WAITING:
                continue
            self.tables.deliveries[result.id] = replace(
                stored,
                state=result.state,
                attempts=stored.attempts + 1,
                due_at=result.due_at,
                claimed_until=None,
                ended_at=None if result.state is DeliveryState.WAITING else result.at,
                last_error=result.error,
            )
        for channel_id, health in healths.items():
            if channel_id in self.tables.channels:
                channel = self.tables.channels[channel_id]
                self.tables.channels[channel_id] = replace(channel, health=kept(health))

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return a user's deliveries, newest first."""
        own = [one for one in self.tables.deliveries.values() if one.user_id == user_id]
        own.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        return [self._delivery(one) for one in own[:limit]]

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Return failed deliveries, except tests, newest first."""
        found = [
            one
            for one in sorted(self.tables.deliveries.values(), key=lambda one: one.id)
            if one.state is DeliveryState.FAILED_PERMANENTLY
            and self.tables.notifications[one.notification_id].kind is not NotificationKind.TEST
        ]
        found.sort(key=lambda one: one.ended_at, reverse=True)
        return [self._dead_letter(one) for one in found[:limit]]

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Make a failed delivery due at once."""
        found = self.tables.deliveries.get(delivery_id)
        if found is None or found.state is not DeliveryState.FAILED_PERMANENTLY:
            return False
        self.tables.deliveries[delivery_id] = replace(
            found,
            state=DeliveryState.WAITING,
            created_at=now,
            due_at=now,
            attempts=0,
            ended_at=None,
            claimed_until=None,
        )
        channel = self.tables.channels[found.channel_id]
        health = replace(channel.health, paused_until=None)
        self.tables.channels[channel.id] = replace(channel, health=health)
        return True

    async def discard(self, delivery_id: str) -> bool:
        """Remove a failed delivery."""
        found = self.tables.deliveries.get(delivery_id)
        if found is None or found.state is not DeliveryState.FAILED_PERMANENTLY:
            return False
        del self.tables.deliveries[delivery_id]
        return True

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove old deliveries, and old notices that were read and wait on no channel."""
        before = {DeliveryState.SENT: sent_before, DeliveryState.FAILED_PERMANENTLY: others_before}
        old = [
            one.id
            for one in self.tables.deliveries.values()
            if one.state in before and one.ended_at < before[one.state]
        ][:limit]
        for delivery_id in old:
            del self.tables.deliveries[delivery_id]
        wanted = {
            one.notification_id
            for one in self.tables.deliveries.values()
            if one.state is not DeliveryState.SENT
        }
        read = [
            one.id
            for one in self.tables.notifications.values()
            if one.read_at is not None and one.created_at < others_before and one.id not in wanted
        ][:limit]
        for notification_id in read:
            del self.tables.notifications[notification_id]
        drop_strays(self.tables)
        return len(old) + len(read)

    def _is_due(self, one: StoredDelivery, now: datetime) -> bool:
        channel = self.tables.channels[one.channel_id]
        paused_until = channel.health.paused_until
        is_open = channel.is_on and (paused_until is None or paused_until <= now)
        is_test = self.tables.notifications[one.notification_id].kind is NotificationKind.TEST
        return (
            one.state is DeliveryState.WAITING
            and one.due_at <= now
            and (one.claimed_until is None or one.claimed_until <= now)
            and channel.is_confirmed
            and (is_open or is_test)
        )

    def _claimed(self, one: StoredDelivery) -> Claimed:
        channel = self.tables.channels[one.channel_id]
        return Claimed(
            id=one.id,
            attempts=one.attempts,
            created_at=one.created_at,
            notification=self.tables.notifications[one.notification_id],
            channel_id=channel.id,
            channel_kind=channel.kind,
            channel_label=channel.label,
            health=channel.health,
            destination=self.tables.destinations.get(channel.id),
        )

    def _delivery(self, one: StoredDelivery) -> Delivery:
        notification = self.tables.notifications[one.notification_id]
        return Delivery(
            id=one.id,
            notification_id=notification.id,
            channel_id=one.channel_id,
            channel_label=self.tables.channels[one.channel_id].label,
            kind=notification.kind,
            title=notification.title,
            state=one.state,
            created_at=one.created_at,
            attempts=one.attempts,
            ended_at=one.ended_at,
            last_error=one.last_error,
        )

    def _dead_letter(self, one: StoredDelivery) -> DeadLetter:
        channel = self.tables.channels[one.channel_id]
        email = self.tables.users[one.user_id].email
        return DeadLetter(self._delivery(one), one.user_id, email, channel.kind, channel.hint)
