"""Channels of users, tests of them, and the dead letters that operators retry or discard."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import LimitReached, NotAllowed, NotFound, TooManyAttempts
from hullwatch.domain.notifications.channels import (
    MOST_CHANNELS,
    Channel,
    ChannelAddress,
    DeadLetter,
    Delivery,
    Destination,
    SigningSecret,
    choosable_kinds,
    read_apprise_address,
    read_kinds,
    read_label,
    read_mail_address,
    read_slack,
    read_telegram,
    read_webhook_address,
)
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.users.accounts import User
from hullwatch.services.context import Context
from hullwatch.services.ports import ChannelPort
from hullwatch.services.texts.channels import compose_test

MOST_AT_ONCE: Final = 6
"""Tests and new channels of one user within `WINDOW_S`: each sends to an address that the user chose."""
WINDOW_S: Final = 60.0
_MOST_USERS: Final = 10_000
_NO_CHANNEL: Final = "You have no such channel."
_NO_DELIVERY: Final = "There is no such undelivered notice."


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel as a person typed it; which of the parts are needed depends on its kind."""

    kind: ChannelKind
    label: str
    kinds: frozenset[NotificationKind]
    address: str = field(default="", repr=False)
    bot_token: str = field(default="", repr=False)
    chat: str = field(default="", repr=False)

    def read(self) -> tuple[ChannelAddress, str]:
        """Return the address, and the part of it that may be shown.

        Raises:
            InvalidInput: It cannot be used.
        """
        match self.kind:
            case ChannelKind.EMAIL:
                return read_mail_address(self.address)
            case ChannelKind.WEBHOOK:
                return read_webhook_address(self.address)
            case ChannelKind.TELEGRAM:
                return read_telegram(self.bot_token, self.chat)
            case ChannelKind.SLACK:
                return read_slack(self.address)
            case ChannelKind.APPRISE:
                return read_apprise_address(self.address)


@dataclass(frozen=True, slots=True)
class Choice:
    """A user's choice for a channel; `None` leaves a part as it is."""

    label: str | None = None
    kinds: frozenset[NotificationKind] | None = None
    is_on: bool | None = None


class ChannelService:
    """Channels of one user at a time; and the dead letters, for callers whose admin role was checked."""

    def __init__(self, context: Context, *, channels: ChannelPort) -> None:
        self._store = context.store
        self._channels = channels
        self._clock = context.clock
        self._new_id = context.new_id
        self._new_secret = context.new_secret
        self._recent_calls: OrderedDict[str, deque[float]] = OrderedDict()
        self._log = structlog.get_logger(component="NotificationService")

    def kinds_for(self, user: User) -> tuple[NotificationKind, ...]:
        """Return the kinds of notices that the user may choose."""
        return choosable_kinds(user.role)

    def available(self) -> tuple[ChannelKind, ...]:
        """Return the kinds of channels that can be added here."""
        return tuple(kind for kind in ChannelKind if kind is not ChannelKind.EMAIL or self._channels.can_mail)

    async def of_user(self, user_id: str) -> list[Channel]:
        """Return a user's channels, oldest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.channels.of_user(user_id)

    async def add(self, user: User, new: NewChannel) -> tuple[Channel, SigningSecret | None]:
        """Store a channel and return it, for a webhook with the secret that is shown this once.

        Raises:
            InvalidInput: A part of it cannot be used, or it leads to a private network.
            LimitReached: The user has the largest number of channels.
            TooManyAttempts: The user has done this too often in the last minute.
        """
        label, kinds = read_label(new.label), read_kinds(new.kinds, user.role)
        address, hint = new.read()
        secret = SigningSecret(self._new_secret()) if new.kind is ChannelKind.WEBHOOK else None
        destination = Destination(new.kind, address, secret)
        self._limit_calls(user.id)
        await self._channels.check(destination)
        now = self._clock.now()
        channel = Channel(
            self._new_id("chn"), user.id, new.kind, label, hint, kinds, is_on=True, created_at=now
        )
        async with self._store.begin() as work:
            await work.channels.lock(user.id)
            if len(await work.channels.of_user(user.id)) >= MOST_CHANNELS:
                raise LimitReached(f"You can have up to {MOST_CHANNELS} channels. Remove one first.")
            await work.channels.add(channel, destination)
            await work.audit.add([_entry(now, channel, "channel.added")])
            await work.commit()
        self._log.info("channel.added", user_id=user.id, channel_id=channel.id, channel=new.kind)
        return channel, secret

    async def choose(self, user: User, choices: Mapping[str, Choice]) -> list[Channel]:
        """Change channels, all in one step, and return all of the user's.

        Raises:
            NotFound: One of them is not the user's; nothing was changed.
            InvalidInput: A kind or a name cannot be chosen; nothing was changed.
        """
        async with self._store.begin() as work:
            for channel_id, choice in choices.items():
                channel = await work.channels.get(user.id, channel_id)
                if channel is None:
                    raise NotFound(_NO_CHANNEL)
                await work.channels.update(_changed(channel, choice, user))
            await work.commit()
        return await self.of_user(user.id)

    async def remove(self, user_id: str, channel_id: str) -> None:
        """Remove a channel and its waiting deliveries.

        Raises:
            NotFound: The user has no such channel.
        """
        async with self._store.begin() as work:
            channel = await work.channels.get(user_id, channel_id)
            if channel is None or not await work.channels.remove(user_id, channel_id):
                raise NotFound(_NO_CHANNEL)
            await work.audit.add([_entry(self._clock.now(), channel, "channel.removed")])
            await work.commit()

    async def test(self, user_id: str, channel_id: str) -> str:
        """Put a test into the outbox, where it is sent like any notice, and return the id of its delivery.

        Raises:
            NotFound: The user has no such channel.
            NotAllowed: Its e-mail address is not confirmed.
            TooManyAttempts: The user has done this too often in the last minute.
        """
        async with self._store.begin() as work:
            channel = await work.channels.get(user_id, channel_id)
            if channel is None:
                raise NotFound(_NO_CHANNEL)
            if not channel.is_confirmed:
                raise NotAllowed("Confirm this address first: enter the code that was mailed to it.")
            self._limit_calls(user_id)
            notification = compose_test(channel, now=self._clock.now(), new_id=self._new_id)
            await work.notifications.add(notification)
            await work.outbox.add(notification, channel_id)
            await work.commit()
        return f"{notification.id}.{channel_id}"

    async def deliveries(self, user_id: str, *, limit: int = 50) -> list[Delivery]:
        """Return a user's deliveries, newest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.outbox.of_user(user_id, limit=limit)

    # ---- for operators

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Return the dead letters of all users, newest first."""
        async with self._store.begin(read_only=True) as work:
            return await work.outbox.dead_letters(limit=limit)

    async def retry(self, delivery_id: str, *, actor: str) -> None:
        """Retry a dead letter as if it were new.

        Raises:
            NotFound: There is none.
        """
        now = self._clock.now()
        async with self._store.begin() as work:
            if not await work.outbox.retry(delivery_id, now=now):
                raise NotFound(_NO_DELIVERY)
            await work.audit.add([_decided(now, "notice.retried", actor, delivery_id)])
            await work.commit()

    async def discard(self, delivery_id: str, *, actor: str) -> None:
        """Discard a dead letter.

        Raises:
            NotFound: There is none.
        """
        now = self._clock.now()
        async with self._store.begin() as work:
            if not await work.outbox.discard(delivery_id):
                raise NotFound(_NO_DELIVERY)
            await work.audit.add([_decided(now, "notice.discarded", actor, delivery_id)])
            await work.commit()

    def _limit_calls(self, user_id: str) -> None:
        now_s = self._clock.monotonic()
        lately = self._recent_calls.setdefault(user_id, deque())
        self._recent_calls.move_to_end(user_id)
        while lately and now_s - lately[0] >= WINDOW_S:
            lately.popleft()
        if len(lately) >= MOST_AT_ONCE:
            raise TooManyAttempts(
                "Too many tests and new channels. Wait a minute.",
                retry_after_s=WINDOW_S - (now_s - lately[0]),
            )
        lately.append(now_s)
        while len(self._recent_calls) > _MOST_USERS:
            self._recent_calls.popitem(last=False)


def _changed(channel: Channel, choice: Choice, user: User) -> Channel:
    kinds = channel.kinds if choice.kinds is None else choice.kinds
    if choice.kinds is not None:
        # A former admin may keep the kinds for admins: such notices are addressed to admins alone.
        read_kinds(choice.kinds - channel.kinds, user.role)
    return replace(
        channel,
        label=channel.label if choice.label is None else read_label(choice.label),
        kinds=kinds,
        is_on=channel.is_on if choice.is_on is None else choice.is_on,
    )


def _entry(at: datetime, channel: Channel, kind: str) -> AuditEntry:
    evidence = {"channelId": channel.id, "channel": channel.kind.value}
    return AuditEntry(at, channel.user_id, kind, channel.user_id, evidence=evidence)


def _decided(at: datetime, kind: str, actor: str, delivery_id: str) -> AuditEntry:
    return AuditEntry(at, None, kind, actor, evidence={"deliveryId": delivery_id})
