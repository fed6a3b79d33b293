"""Trading sessions and the hours of ordinary days. Moments are aware, UTC; a day is a day in IST."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from itertools import pairwise
from typing import Final

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian Standard Time; India has had no daylight saving time since 1945."""

REGULAR_OPEN: Final = time(9, 15)
REGULAR_CLOSE: Final = time(15, 30)


class SessionKind(StrEnum):
    """The reason for a session."""

    REGULAR = "regular"
    """The hours of every ordinary trading day."""
    SPECIAL = "special"
    """A full session on a day that is usually closed, such as a Budget Sunday."""
    MUHURAT = "muhurat"
    """The one-hour session on Diwali."""
    DISASTER_RECOVERY_DRILL = "disaster_recovery_drill"
    """A short session on the exchange's second site."""


class MarketPhase(StrEnum):
    """Whether and how a segment trades."""

    CLOSED = "closed"
    """No trading."""
    CONTINUOUS = "continuous"
    """Continuous trading."""
    CLOSING_AUCTION = "closing_auction"
    """Stocks with derivatives are in their closing auction; other stocks trade on until the session's close."""


@dataclass(frozen=True, slots=True)
class ClosingAuction:
    """The auction for the closing price, from `begins_at` until its last trade is reported at `ends_at`; UTC."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class TradingSession:
    """Trading from `opens_at` to just before `closes_at`; both aware, UTC.

    Intraday candles are counted within it.
    """

    opens_at: datetime
    closes_at: datetime
    kind: SessionKind = SessionKind.REGULAR
    auction: ClosingAuction | None = None
    """It begins in the session and may end after it."""

    def __post_init__(self) -> None:
        if not self.opens_at < self.closes_at:
            raise ValueError("a trading session must close after it opens")
        if ist_date(self.opens_at) != ist_date(self.settles_at - timedelta(microseconds=1)):
            raise ValueError("a trading session must be within one day in IST")
        auction = self.auction
        if auction is not None and not (
            self.opens_at <= auction.begins_at < min(self.closes_at, auction.ends_at)
        ):
            raise ValueError("a closing auction must begin in its session")

    @property
    def day(self) -> date:
        """The exchange's day, in IST."""
        return ist_date(self.opens_at)

    @property
    def settles_at(self) -> datetime:
        """When the closing price is final: at the close, or at the end of an auction that ends later."""
        return self.closes_at if self.auction is None else max(self.closes_at, self.auction.ends_at)

    @property
    def change_times(self) -> tuple[datetime, ...]:
        """The times at which the session opens, closes or changes its phase, unsorted."""
        auction = () if self.auction is None else (self.auction.begins_at, self.auction.ends_at)
        return (self.opens_at, self.closes_at, *auction)

    def phase_at(self, moment: datetime) -> MarketPhase:
        """Return the phase at `moment`; closed before and after the session."""
        if self.auction is not None and self.auction.begins_at <= moment < self.auction.ends_at:
            return MarketPhase.CLOSING_AUCTION
        is_open = self.opens_at <= moment < self.closes_at
        return MarketPhase.CONTINUOUS if is_open else MarketPhase.CLOSED


@dataclass(frozen=True, slots=True)
class RegularHours:
    """The hours of ordinary trading days from `since` on, in IST."""

    opens: time = REGULAR_OPEN
    closes: time = REGULAR_CLOSE
    auction: tuple[time, time] | None = None
    """Begin and end of the closing auction."""
    since: date = date.min


def ist_date(moment: datetime) -> date:
    """Return the day in IST at `moment`; raises `ValueError` for a naive moment."""
    if moment.tzinfo is None:
        raise ValueError("a moment must be aware")
    return moment.astimezone(IST).date()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return the begin and end of a day in IST, both as UTC."""
    begins_at = _moment(day, time())
    return begins_at, begins_at + timedelta(days=1)


def trading_session(
    day: date,
    opens: time = REGULAR_OPEN,
    closes: time = REGULAR_CLOSE,
    kind: SessionKind = SessionKind.REGULAR,
    auction: tuple[time, time] | None = None,
) -> TradingSession:
    """Build the session of `day` from hours in IST."""
    return TradingSession(
        opens_at=_moment(day, opens),
        closes_at=_moment(day, closes),
        kind=kind,
        auction=ClosingAuction(_moment(day, auction[0]), _moment(day, auction[1])) if auction else None,
    )


def in_order(day: date, sessions: tuple[TradingSession, ...]) -> tuple[TradingSession, ...]:
    """Return the sessions of `day` sorted; raises `ValueError` for one of another day and for overlapping ones."""
    ordered = tuple(sorted(sessions, key=lambda session: session.opens_at))
    if any(session.day != day for session in ordered):
        raise ValueError("a session must be on its day")
    if any(later.opens_at < earlier.settles_at for earlier, later in pairwise(ordered)):
        raise ValueError("the sessions of a day must not overlap")
    return ordered


def _moment(day: date, at: time) -> datetime:
    return datetime.combine(day, at, IST).astimezone(UTC)
