"""Notifications, and the channels that carry them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from fakes.store.tables import Repository, StoredDelivery, Tables, drop, drop_strays, kept, storable
from hullwatch.domain.failures import AlreadyExists
from hullwatch.domain.notifications.channels import AddressProof, Channel, ChannelAddress, Destination
from hullwatch.domain.notifications.mail_codes import MailCode
from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    PAGE_ONLY,
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
    Retraction,
)


class Notifications(Repository):
    """Stored notifications."""

    async def add(self, notification: Notification) -> bool:
        """Store it unless its incident has one of its kind."""
        notification = kept(notification)
        known = {
            (other.user_id, other.kind, other.incident_id)
            for other in self.tables.notifications.values()
            if other.incident_id is not None
        }
        key = (notification.user_id, notification.kind, notification.incident_id)
        if notification.user_id not in self.tables.users or notification.id in self.tables.notifications:
            return False
        if key in known:
            return False
        self.tables.notifications[notification.id] = notification
        self._fan_out(notification)
        return True

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store those that some channel of their user carries; return those that were not stored before."""
        return [one for one in notifications if self._carriers(one) and await self.add(one)]

    async def rewrite(self, notifications: Sequence[Notification]) -> None:
        """Store other titles and texts."""
        for one in map(kept, notifications):
            stored = self.tables.notifications.get(one.id)
            if stored is not None:
                self.tables.notifications[one.id] = replace(stored, title=one.title, text=one.text)

    async def retract(self, ids: Collection[str]) -> Retraction:
        """Cancel unsent deliveries, and remove notices that reached no channel."""
        stored = {one for one in ids if one in self.tables.notifications}
        own = [one for one in self.tables.deliveries.values() if one.notification_id in stored]
        tried = {
            one.notification_id
            for one in own
            if one.state is not DeliveryState.WAITING or one.attempts or one.claimed_until
        }
        unsent = {one.notification_id for one in own} - tried
        for one in own:
            if one.state is not DeliveryState.SENT:
                del self.tables.deliveries[one.id]
        for notification_id in unsent:
            del self.tables.notifications[notification_id]
        return Retraction(frozenset(stored - unsent), frozenset(unsent))

    async def was_notified(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether the user has had a notice of this kind about the incident."""
        return any(
            (one.user_id, one.kind, one.incident_id) == (user_id, kind, incident_id)
            for one in self.tables.notifications.values()
        )

    def _carriers(self, notification: Notification) -> list[Channel]:
        if notification.kind in PAGE_ONLY:
            return []
        return [
            channel
            for channel in self.tables.channels.values()
            if channel.user_id == notification.user_id
            and takes_notices(channel)
            and DELIVERED_WITH.get(notification.kind, notification.kind) in channel.kinds
        ]

    def _fan_out(self, notification: Notification) -> None:
        for channel in self._carriers(notification):
            put_delivery(self.tables, notification, channel.id)

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        own = [
            notification
            for notification in self.tables.notifications.values()
            if notification.user_id == user_id and not (unread_only and notification.read_at)
        ]
        return sorted(own, key=lambda of: (of.created_at, of.id), reverse=True)[:limit]

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool:
        """Note when it was read first."""
        found = self.tables.notifications.get(notification_id)
        if found is None or found.user_id != user_id:
            return False
        self.tables.notifications[notification_id] = replace(found, read_at=found.read_at or at)
        return True

    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return who has a channel that is on and carries notices of this kind."""
        return {
            one.user_id for one in self.tables.channels.values() if takes_notices(one) and kind in one.kinds
        }

    async def notified_users(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notification of this kind about an incident."""
        return {
            found.user_id
            for found in self.tables.notifications.values()
            if found.kind is kind and found.incident_id == incident_id
        }


def put_delivery(tables: Tables, notification: Notification, channel_id: str) -> None:
    """Put a notice into the outbox for a channel."""
    made = StoredDelivery(
        id=f"{notification.id}.{channel_id}",
        notification_id=notification.id,
        channel_id=channel_id,
        user_id=notification.user_id,
        created_at=notification.created_at,
        due_at=notification.created_at,
    )
    tables.deliveries.setdefault(made.id, made)


def takes_notices(channel: Channel) -> bool:
    """Return whether a channel gets new notices."""
    return channel.is_on and channel.is_confirmed


class Channels(Repository):
    """Users' channels."""

    async def lock(self, user_id: str) -> None:
        """Nothing to do: units of work come one after the other."""

    async def add(self, channel: Channel, destination: Destination) -> None:
        """Store a channel with where it leads."""
        channel = kept(channel)
        self.needs_user(channel.user_id)
        if channel.id in self.tables.channels:
            raise AlreadyExists("That exists already.")
        self.tables.channels[channel.id] = channel
        self.tables.destinations[channel.id] = destination

    async def get(self, user_id: str, channel_id: str) -> Channel | None:
        """Return one of the user's channels."""
        found = self.tables.channels.get(channel_id)
        return found if found is not None and found.user_id == user_id else None

    async def of_user(self, user_id: str) -> list[Channel]:
        """Return a user's channels, oldest first."""
        own = [channel for channel in self.tables.channels.values() if channel.user_id == user_id]
        return sorted(own, key=lambda channel: (channel.created_at, channel.id))

    async def delivering(
        self, kind: NotificationKind, user_ids: Collection[str]
    ) -> list[tuple[Channel, Destination]]:
        """Return the channels of these users that take notices of this kind."""
        return [
            (one, self.tables.destinations[one.id])
            for one in sorted(self.tables.channels.values(), key=lambda one: one.id)
            if takes_notices(one) and one.user_id in user_ids and DELIVERED_WITH.get(kind, kind) in one.kinds
        ]

    async def update(self, channel: Channel) -> None:
        """Store its label, its kinds and whether it is on."""
        storable(channel.label)
        stored = await self.get(channel.user_id, channel.id)
        if stored is None:
            return
        self.tables.channels[channel.id] = replace(
            stored, label=channel.label, kinds=channel.kinds, is_on=channel.is_on
        )
        if not channel.is_on:
            drop(
                self.tables.deliveries,
                lambda one: one.channel_id == channel.id and one.state is DeliveryState.WAITING,
            )

    async def destination(self, user_id: str, channel_id: str) -> Destination | None:
        """Return the address of one of the user's channels."""
        found = await self.get(user_id, channel_id)
        return None if found is None else self.tables.destinations.get(channel_id)

    async def confirm(self, channel_id: str) -> None:
        """Store that the e-mail address was confirmed with a code."""
        if channel_id in self.tables.channels:
            confirmed = replace(self.tables.channels[channel_id], proof=AddressProof.CODE)
            self.tables.channels[channel_id] = confirmed

    async def confirmed_addresses(self, user_id: str) -> list[ChannelAddress]:
        """Return the e-mail addresses that the user confirmed with a code, oldest first."""
        return [
            self.tables.destinations[one.id].address
            for one in await self.of_user(user_id)
            if one.kind is ChannelKind.EMAIL and one.proof is AddressProof.CODE
        ]

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove it with its deliveries."""
        if await self.get(user_id, channel_id) is None:
            return False
        del self.tables.channels[channel_id]
        drop_strays(self.tables)
        return True


class MailCodes(Repository):
    """Mailed codes."""

    async def lock(self) -> None:
        """Nothing to do: units of work come one after the other."""

    async def add(self, code: MailCode) -> None:
        """Store a code."""
        self.needs_user(code.user_id)
        self.tables.mail_codes[code.id] = kept(code)

    async def remove(self, code_id: str) -> None:
        """Remove a code."""
        self.tables.mail_codes.pop(code_id, None)

    async def newest_of(self, channel_id: str) -> MailCode | None:
        """Return the code that was mailed last for this channel."""
        own = [one for one in self.tables.mail_codes.values() if one.channel_id == channel_id]
        return max(own, key=lambda one: one.sent_at, default=None)

    async def sent_to(self, recipient_hash: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed to this recipient."""
        codes = self.tables.mail_codes.values()
        return [one.sent_at for one in codes if one.recipient_hash == recipient_hash and one.sent_at > since]

    async def sent_by(self, user_id: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed for this user."""
        codes = self.tables.mail_codes.values()
        return [one.sent_at for one in codes if one.user_id == user_id and one.sent_at > since]

    async def count_wrong(self, code_id: str) -> None:
        """Count a wrong code."""
        if code_id in self.tables.mail_codes:
            code = self.tables.mail_codes[code_id]
            self.tables.mail_codes[code_id] = replace(code, wrong_codes=code.wrong_codes + 1)

    async def purge(self, *, before: datetime) -> None:
        """Remove old codes."""
        drop(self.tables.mail_codes, lambda one: one.sent_at < before)
