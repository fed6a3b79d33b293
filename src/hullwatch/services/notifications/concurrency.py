"""Who may send at once. Each kind of way has room of its own, each channel a lane in it, so that a dead one delays no other.

A channel of which it is not known that it works gets one attempt at a time, and all such channels together half of the room: the other
half is always there for those that work.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from hullwatch.domain.notifications.channels import ChannelHealth, Claimed, ClaimWish
from hullwatch.domain.notifications.notifications import ChannelKind


@dataclass(frozen=True, slots=True)
class Way:
    """What kinds of channels share: the operator's mail server, the connections of this process, Apprise's processes."""

    kinds: frozenset[ChannelKind]
    room: int
    """How many messages this server takes on at once."""
    at_once: int
    """How many of them are being sent at the same moment; the others wait for their turn, so that nobody waits for the database."""
    per_channel: int


WAYS: Final = (
    # Mail servers take a few connections from one client, and take it ill if there are many.
    Way(frozenset({ChannelKind.EMAIL}), room=64, at_once=8, per_channel=2),
    Way(frozenset({ChannelKind.WEBHOOK}), room=128, at_once=128, per_channel=4),
    # As many as Apprise has processes. One message after the other, so that a person reads them in their order.
    Way(
        frozenset({ChannelKind.TELEGRAM, ChannelKind.SLACK, ChannelKind.APPRISE}),
        room=4,
        at_once=4,
        per_channel=1,
    ),
)


class _Gate:
    """Lets so many send at the same moment, and of channels that may hang half as many."""

    def __init__(self, way: Way) -> None:
        self._all = asyncio.Semaphore(way.at_once)
        self._unproven = asyncio.Semaphore(max(1, way.at_once // 2))

    @asynccontextmanager
    async def turn(self, *, is_proven: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if not is_proven:
                await stack.enter_async_context(self._unproven)
            await stack.enter_async_context(self._all)
            yield


@dataclass(slots=True)
class _Lane:
    way: Way
    health: ChannelHealth
    under_way: int = 0
    unsaved: int = 0
    """Attempts that have ended and are not stored yet; until then memory knows better than the database how the channel does."""


class ConcurrencyLimits:
    """What this server has under way, by channel."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._gates = {way: _Gate(way) for way in WAYS}
        self._worth_a_look = set(WAYS)

    def look_everywhere(self) -> None:
        """Something may have become due on any way."""
        self._worth_a_look.update(WAYS)

    def wishes(self) -> list[ClaimWish]:
        """Return what each way has room for on which something may be due; one that is nearly full waits until more room has come."""
        return [wish for way in WAYS if way in self._worth_a_look and (wish := self._wish(way)) is not None]

    def found_nothing(self, wish: ClaimWish) -> None:
        """Nothing is due there until something is stored, time passes, or an attempt ends."""
        self._worth_a_look -= {way for way in WAYS if way.kinds == wish.kinds}

    def turn(self, claimed: Claimed) -> AbstractAsyncContextManager[None]:
        """Wait until a delivery under way may be sent, and hold its place while it is."""
        lane = self._lanes[claimed.channel_id]
        return self._gates[lane.way].turn(is_proven=lane.health.is_proven)

    def enter(self, claimed: Claimed) -> None:
        """Take a delivery into its lane."""
        lane = self._lanes.get(claimed.channel_id)
        if lane is None:
            way = next(way for way in WAYS if claimed.channel_kind in way.kinds)
            lane = self._lanes[claimed.channel_id] = _Lane(way, claimed.health)
        lane.under_way += 1

    def health(self, claimed: Claimed) -> ChannelHealth:
        """Return how the channel of a delivery under way does: what happened since it was claimed counts."""
        return self._lanes[claimed.channel_id].health

    def ended(self, claimed: Claimed, health: ChannelHealth) -> None:
        """Make room: an attempt has ended, and this is how the channel does now."""
        lane = self._lanes[claimed.channel_id]
        lane.health = health
        lane.under_way -= 1
        lane.unsaved += 1
        self._worth_a_look.add(lane.way)

    def saved(self, claimed: Claimed) -> None:
        """Let go of an attempt whose outcome is stored, or which was given up without one."""
        lane = self._lanes[claimed.channel_id]
        lane.unsaved -= 1
        if not lane.under_way and not lane.unsaved:
            del self._lanes[claimed.channel_id]

    def _wish(self, way: Way) -> ClaimWish | None:
        under_way: Mapping[str, int] = {
            channel_id: lane.under_way for channel_id, lane in self._lanes.items() if lane.way is way
        }
        room = way.room - sum(under_way.values())
        if room < max(1, way.room // 4):
            return None
        unproven = sum(
            lane.under_way for lane in self._lanes.values() if lane.way is way and not lane.health.is_proven
        )
        return ClaimWish(way.kinds, room, max(0, way.room // 2 - unproven), way.per_channel, under_way)
