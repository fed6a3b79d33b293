"""How many messages this server sends at once, by channel kind and by channel, so that one hanging channel delays no other.

A channel whose last attempt did not succeed may hang. It gets one attempt at a time, and all such channels together get half of
the slots of their kind.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from hullwatch.domain.notifications.channels import ChannelHealth, Claimed, ClaimLimits
from hullwatch.domain.notifications.notifications import ChannelKind


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that channel kinds share, because they share a mail server, connections or processes."""

    kinds: frozenset[ChannelKind]
    claimed: int
    """Messages that this server claims at once."""
    sending: int
    """Messages of them that are sent at the same moment; the others wait, so that a free slot never waits for the database."""
    per_channel: int


LIMITS: Final = (
    # Mail servers accept few connections from one client.
    Limit(frozenset({ChannelKind.EMAIL}), claimed=64, sending=8, per_channel=2),
    Limit(frozenset({ChannelKind.WEBHOOK}), claimed=128, sending=128, per_channel=4),
    # As many as Apprise has processes; one at a time for each channel, so that a person reads messages in order.
    Limit(
        frozenset({ChannelKind.TELEGRAM, ChannelKind.SLACK, ChannelKind.APPRISE}),
        claimed=4,
        sending=4,
        per_channel=1,
    ),
)


class _Slots:
    """The sending slots of one limit; channels that may hang get half of them."""

    def __init__(self, limit: Limit) -> None:
        self._all = asyncio.Semaphore(limit.sending)
        self._unproven = asyncio.Semaphore(max(1, limit.sending // 2))

    @asynccontextmanager
    async def hold(self, *, is_proven: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if not is_proven:
                await stack.enter_async_context(self._unproven)
            await stack.enter_async_context(self._all)
            yield


@dataclass(slots=True)
class _ChannelState:
    limit: Limit
    health: ChannelHealth
    claimed: int = 0
    unsaved: int = 0
    """Attempts that have ended and are not stored; until then this health is newer than the stored one."""


class ConcurrencyLimits:
    """The deliveries that this server has claimed, by channel."""

    def __init__(self) -> None:
        self._channels: dict[str, _ChannelState] = {}
        self._slots = {limit: _Slots(limit) for limit in LIMITS}
        self._may_be_due = set(LIMITS)

    def anything_may_be_due(self) -> None:
        """Note that deliveries of every kind may have become due."""
        self._may_be_due.update(LIMITS)

    def claimable(self) -> list[ClaimLimits]:
        """Return how much can be claimed of each kind; a kind that is nearly full waits for more free slots."""
        found = (self._free(limit) for limit in LIMITS if limit in self._may_be_due)
        return [free for free in found if free is not None]

    def nothing_due(self, limits: ClaimLimits) -> None:
        """Note that nothing of these kinds is due until something is stored, time passes or an attempt ends."""
        self._may_be_due -= {limit for limit in LIMITS if limit.kinds == limits.kinds}

    def slot(self, claimed: Claimed) -> AbstractAsyncContextManager[None]:
        """Wait until a claimed delivery may be sent, and hold its slot while it is."""
        channel = self._channels[claimed.channel_id]
        return self._slots[channel.limit].hold(is_proven=channel.health.is_proven)

    def add(self, claimed: Claimed) -> None:
        """Count a claimed delivery."""
        channel = self._channels.get(claimed.channel_id)
        if channel is None:
            limit = next(limit for limit in LIMITS if claimed.channel_kind in limit.kinds)
            channel = self._channels[claimed.channel_id] = _ChannelState(limit, claimed.health)
        channel.claimed += 1

    def health(self, claimed: Claimed) -> ChannelHealth:
        """Return the health of the channel, attempts since the claim included."""
        return self._channels[claimed.channel_id].health

    def ended(self, claimed: Claimed, health: ChannelHealth) -> None:
        """Free the slot of an attempt that has ended, and keep the new health of its channel."""
        channel = self._channels[claimed.channel_id]
        channel.health = health
        channel.claimed -= 1
        channel.unsaved += 1
        self._may_be_due.add(channel.limit)

    def saved(self, claimed: Claimed) -> None:
        """Forget an attempt whose result is stored, or that was cancelled without one."""
        channel = self._channels[claimed.channel_id]
        channel.unsaved -= 1
        if not channel.claimed and not channel.unsaved:
            del self._channels[claimed.channel_id]

    def _free(self, limit: Limit) -> ClaimLimits | None:
        claimed: Mapping[str, int] = {
            channel_id: channel.claimed
            for channel_id, channel in self._channels.items()
            if channel.limit is limit
        }
        free = limit.claimed - sum(claimed.values())
        if free < max(1, limit.claimed // 4):
            return None
        unproven = sum(
            channel.claimed
            for channel in self._channels.values()
            if channel.limit is limit and not channel.health.is_proven
        )
        return ClaimLimits(
            limit.kinds, free, max(0, limit.claimed // 2 - unproven), limit.per_channel, claimed
        )
