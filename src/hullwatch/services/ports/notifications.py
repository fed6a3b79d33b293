"""Stored: notices, the channels that carry them, and the outbox between both."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hullwatch.domain.notifications.channels import (
    Channel,
    ChannelHealth,
    Claimed,
    ClaimWish,
    DeadLetter,
    Delivery,
    DeliveryResult,
    Destination,
    Message,
    SendOutcome,
)
from hullwatch.domain.notifications.notifications import ChannelKind, Notification, NotificationKind
from hullwatch.domain.secrets import SecretText


class NotificationRepository(Protocol):
    """Stored notifications. Storing one puts it into the outbox too, once for each channel of its user that carries its kind."""

    async def add(self, notification: Notification) -> bool:
        """Store it; False when one of this kind exists for the user's incident already."""
        ...

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store those that some channel of their user carries, and return those that were not stored before."""
        ...

    async def was_notified(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether the user has had a notice of this kind about the incident."""
        ...

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        ...

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool: ...
    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return who has a channel that is on and carries notices of this kind."""
        ...

    async def notified_users(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notification of this kind about an incident that many share."""
        ...


class ChannelRepository(Protocol):
    """Users' channels; where they lead is encrypted and bound to the row."""

    async def lock(self, user_id: str) -> None:
        """Let no other unit of work add a channel for the user until this one ends; to be called before counting them."""
        ...

    async def add(self, channel: Channel, destination: Destination) -> None: ...
    async def get(self, user_id: str, channel_id: str) -> Channel | None: ...
    async def of_user(self, user_id: str) -> list[Channel]:
        """Return oldest first."""
        ...

    async def update(self, channel: Channel) -> None:
        """Store its label, its kinds and whether it is on; one that is turned off loses what waits for it."""
        ...

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove it with its deliveries; False when the user has no such channel."""
        ...


class OutboxRepository(Protocol):
    """The outbox: one delivery per notice and channel."""

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Put a stored notice into the outbox for this one channel, whatever kinds it carries."""
        ...

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether anything could be claimed."""
        ...

    async def claim(self, wish: ClaimWish, *, now: datetime, until: datetime) -> list[Claimed]:
        """Take on what is due, in turns between channels; nobody else gets it before `until`."""
        ...

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store how attempts ended, and channel id → how it does now; what was removed meanwhile is passed over."""
        ...

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return newest first."""
        ...

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Return what could not be delivered, except tests, newest first."""
        ...

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Let one that was set aside wait again, at once and as if new; False when there is none."""
        ...

    async def discard(self, delivery_id: str) -> bool:
        """Remove one that was set aside; False when there is none."""
        ...

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove old deliveries, and old notices that were read and wait on no channel: at most so many of each; return how many."""
        ...


class ChannelPort(Protocol):
    """The ways beyond the page. No method raises for anything that receivers or the network do."""

    can_mail: bool
    """Whether the operator has set up a mail server."""

    async def check(self, destination: Destination) -> None:
        """Look at an address that a user gives before it is stored; sends nothing.

        Raises:
            InvalidInput: It cannot be used, or leads to a private network.
        """
        ...

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send once, in bounded time."""
        ...

    def limit_s(self, kind: ChannelKind) -> float:
        """Return after how many seconds a sending that has not ended is given up."""
        ...


class LinkMaker(Protocol):
    """Makes the login links that notices carry; satisfied by `LoginLinkService`."""

    async def link_for(self, user_id: str, *, requested_by: str = "hullwatch") -> SecretText | None:
        """Return the address of a new link, or `None` when none makes sense: the session lives on, nothing is linked, the user is gone.

        Raises:
            StorageUnavailable: none was made.
        """
        ...
