"""Storage and delivery of notices: notifications, channels, the outbox, and the adapters that send."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from hullwatch.domain.notifications.channels import (
    Channel,
    ChannelAddress,
    ChannelHealth,
    Claimed,
    ClaimLimits,
    DeadLetter,
    Delivery,
    DeliveryResult,
    Destination,
    Mail,
    Message,
    SendOutcome,
)
from hullwatch.domain.notifications.mail_codes import MailCode
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    Notification,
    NotificationKind,
    Retraction,
)


class NotificationRepository(Protocol):
    """Stored notifications. Storing one creates a delivery for each channel that delivers its kind."""

    async def add(self, notification: Notification) -> bool:
        """Store a notice; False when the user's incident has one of this kind."""
        ...

    async def add_carried(self, notifications: Sequence[Notification]) -> list[Notification]:
        """Store the notices that a channel of their user delivers, and return those that are new."""
        ...

    async def rewrite(self, notifications: Sequence[Notification]) -> None:
        """Store other titles and texts of stored notices; what is not sent yet is sent with them."""
        ...

    async def retract(self, ids: Collection[str]) -> Retraction:
        """Cancel the unsent deliveries of these notices, and remove those that reached no channel."""
        ...

    async def was_notified(self, user_id: str, kind: NotificationKind, incident_id: str) -> bool:
        """Return whether a notice of this kind about the incident is stored for the user."""
        ...

    async def of_user(
        self, user_id: str, *, unread_only: bool = False, limit: int = 100
    ) -> list[Notification]:
        """Return newest first."""
        ...

    async def mark_read(self, user_id: str, notification_id: str, *, at: datetime) -> bool: ...
    async def users_wanting(self, kind: NotificationKind) -> set[str]:
        """Return the users with a channel that is on and delivers notices of this kind."""
        ...

    async def notified_users(self, kind: NotificationKind, incident_id: str) -> set[str]:
        """Return the users who have a notice of this kind about an incident that many users share."""
        ...


class ChannelRepository(Protocol):
    """Users' channels; their addresses are encrypted and bound to the row."""

    async def lock(self, user_id: str) -> None:
        """Lock the user's channels until the unit of work ends; call it before counting them."""
        ...

    async def add(self, channel: Channel, destination: Destination) -> None: ...
    async def get(self, user_id: str, channel_id: str) -> Channel | None: ...
    async def of_user(self, user_id: str) -> list[Channel]:
        """Return oldest first."""
        ...

    async def delivering(
        self, kind: NotificationKind, user_ids: Collection[str]
    ) -> list[tuple[Channel, Destination]]:
        """Return the channels of these users that take notices of this kind; those that cannot be decrypted are left out."""
        ...

    async def update(self, channel: Channel) -> None:
        """Store label, kinds and whether it is on; turning it off removes its waiting deliveries."""
        ...

    async def destination(self, user_id: str, channel_id: str) -> Destination | None:
        """Return the address of one of the user's channels; None also when it cannot be decrypted."""
        ...

    async def confirm(self, channel_id: str) -> None:
        """Store that the e-mail address was confirmed with a code."""
        ...

    async def confirmed_addresses(self, user_id: str) -> list[ChannelAddress]:
        """Return the e-mail addresses that the user confirmed with a code, oldest first."""
        ...

    async def remove(self, user_id: str, channel_id: str) -> bool:
        """Remove a channel with its deliveries; False when the user has no such channel."""
        ...


class MailCodeRepository(Protocol):
    """The mailed codes of the last day. They outlive their channels, since the recipients are counted."""

    async def lock(self) -> None:
        """Lock all codes until the unit of work ends; call it before counting them or trying one."""
        ...

    async def add(self, code: MailCode) -> None: ...
    async def remove(self, code_id: str) -> None: ...
    async def newest_of(self, channel_id: str) -> MailCode | None: ...
    async def sent_to(self, recipient_hash: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed to this recipient, by all users."""
        ...

    async def sent_by(self, user_id: str, *, since: datetime) -> list[datetime]:
        """Return when codes were mailed for this user, to all recipients."""
        ...

    async def count_wrong(self, code_id: str) -> None:
        """Count a wrong code that was entered for this one."""
        ...

    async def purge(self, *, before: datetime) -> None: ...


class OutboxRepository(Protocol):
    """The outbox: one delivery per notice and channel."""

    async def add(self, notification: Notification, channel_id: str) -> None:
        """Create a delivery of a stored notice on this channel, whatever kinds the channel delivers."""
        ...

    async def has_due(self, *, now: datetime) -> bool:
        """Return whether a delivery is due."""
        ...

    async def claim(self, wish: ClaimLimits, *, now: datetime, until: datetime) -> list[Claimed]:
        """Claim due deliveries, alternating between channels; no other server gets them before `until`."""
        ...

    async def finish(self, results: Sequence[DeliveryResult], healths: Mapping[str, ChannelHealth]) -> None:
        """Store results of attempts, and channel id → health; removed rows are skipped."""
        ...

    async def of_user(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return newest first."""
        ...

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Return deliveries that failed permanently, except tests, newest first."""
        ...

    async def retry(self, delivery_id: str, *, now: datetime) -> bool:
        """Make a failed delivery due at once, as if new; False when there is none."""
        ...

    async def discard(self, delivery_id: str) -> bool:
        """Remove a failed delivery; False when there is none."""
        ...

    async def purge(self, *, sent_before: datetime, others_before: datetime, limit: int) -> int:
        """Remove at most `limit` old deliveries and `limit` old notices that were read; return how many."""
        ...


class ChannelPort(Protocol):
    """Sends messages on channels. No method raises for a failure of a receiver or the network."""

    can_mail: bool
    """Whether the operator has configured a mail server."""

    async def check(self, destination: Destination) -> None:
        """Check an address before it is stored; sends nothing.

        Raises:
            InvalidInput: It cannot be used, or leads to a private network.
        """
        ...

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send once, within `limit_s`."""
        ...

    async def mail(self, mail: Mail, recipient: ChannelAddress) -> SendOutcome:
        """Send a mail that is no notice once, within `limit_s` of an e-mail."""
        ...

    def limit_s(self, kind: ChannelKind) -> float:
        """Return the time limit of one send, in seconds."""
        ...
