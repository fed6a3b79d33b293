"""Who may send at once. Each kind of way has room of its own, each channel a lane in it, so that a dead one delays no other.

A channel of which it is not known that it works gets one attempt at a time, and all such channels together half of the room: the other
half is always there for those that work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hullwatch.domain.channels import ChannelHealth, Claimed, ClaimWish
from hullwatch.domain.notifications import ChannelKind


@dataclass(frozen=True, slots=True)
class Way:
    """What kinds of channels share: the operator's mail server, the connections of this process, Apprise's processes."""

    kinds: frozenset[ChannelKind]
    room: int
    per_channel: int


WAYS: Final = (
    Way(frozenset({ChannelKind.EMAIL}), room=8, per_channel=2),
    Way(frozenset({ChannelKind.WEBHOOK}), room=128, per_channel=4),
    # As many as Apprise has processes. One message after the other, so that a person reads them in their order.
    Way(frozenset({ChannelKind.TELEGRAM, ChannelKind.SLACK, ChannelKind.APPRISE}), room=4, per_channel=1),
)


@dataclass(slots=True)
class _Lane:
    way: Way
    health: ChannelHealth
    under_way: int = 0
    unsaved: int = 0
    """Attempts that have ended and are not stored yet; until then memory knows better than the database how the channel does."""


class Lanes:
    """What this server has under way, by channel."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def wishes(self) -> list[ClaimWish]:
        """Return what each way has room for; one that is nearly full waits until more room has come together."""
        return [wish for wish in map(self._wish, WAYS) if wish is not None]

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
