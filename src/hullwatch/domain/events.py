"""Events that services publish to open tabs and to each other, and the topics that all users or all admins receive."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.readiness.readiness import ReadinessResult
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.signals.signals import Signal

ADMINS: Final = "admin"
"""Topic of the events that every admin receives; all other topics are user ids."""
EVERYBODY: Final = "everybody"
"""Topic of the events that every user receives."""


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """An account's connection object changed."""

    user_id: str
    before: LoginState
    connection: Connection


@dataclass(frozen=True, slots=True)
class QuotesArrived:
    """New quotes for one account, with the HMA that each forming candle would give where it is known."""

    user_id: str
    quotes: tuple[Quote, ...]
    previews: Mapping[str, float]
    """Watch id → preview of its HMA at the quote's price, which never gives a signal."""
    at: datetime


@dataclass(frozen=True, slots=True)
class CandleClosed:
    """A closed candle was evaluated for an account."""

    user_id: str
    symbol: Symbol
    resolution: Resolution
    candle: Candle


@dataclass(frozen=True, slots=True)
class SignalFired:
    """A signal was stored; published exactly once."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class SignalsCorrected:
    """Stored signals were withdrawn, reinstated, changed or marked; each is given as it is now."""

    user_id: str
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class NotificationStored:
    """A notification was stored."""

    notification: Notification


@dataclass(frozen=True, slots=True)
class WatchStatusChanged:
    """The monitoring status of an account changed."""

    user_id: str
    status: WatchStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class BrokerOutageChanged:
    """A mass refusal began or ended; published to all users."""

    is_ongoing: bool
    incident_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SweepProgressed:
    """The progress of a validation of many accounts; published to admins."""

    done: int
    total: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ReadinessChanged:
    """The readiness of an account, or its reason, changed."""

    user_id: str
    result: ReadinessResult
    reason: Obstacle | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ReadinessChecked:
    """The readiness of all accounts was checked; published to admins."""

    total: int
    ready: int
    at: datetime


Event = (
    ConnectionChanged
    | QuotesArrived
    | CandleClosed
    | SignalFired
    | SignalsCorrected
    | NotificationStored
    | WatchStatusChanged
    | BrokerOutageChanged
    | SweepProgressed
    | ReadinessChanged
    | ReadinessChecked
)
