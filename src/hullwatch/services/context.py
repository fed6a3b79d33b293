"""What almost every service works with, as one value."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from hullwatch.domain.events import Event
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.ports import StorePort


@dataclass(frozen=True, slots=True)
class Context:
    """Time, randomness, ids, the database and the event hub of one installation."""

    store: StorePort
    clock: Clock
    """The time of markets and tokens; `clock.real` is the time of the network."""
    calendar: MarketCalendar
    hub: Broadcast[Event]
    random: Random
    """Source of jitter; never of secrets."""
    new_id: Callable[[str], str]
    """Returns an id for a prefix: ``usr`` → ``usr_…``."""
    new_secret: Callable[[], str]
    """Returns a value of at least 128 random bits that fits an address."""
