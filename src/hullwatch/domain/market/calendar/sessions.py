"""Trading sessions and the hours they come from; the calendar that finds them is in `calendar`.

Moments are aware and leave here in UTC. A day is a day in IST; a session lies within one day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from itertools import pairwise
from typing import Final

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian Standard Time: a fixed offset, India has had no daylight saving since 1945."""

REGULAR_OPEN: Final = time(9, 15)
REGULAR_CLOSE: Final = time(15, 30)


class SessionKind(StrEnum):
    """Why there is trading at that time."""

    REGULAR = "regular"
    """The hours of every ordinary trading day."""
    SPECIAL = "special"
    """A full session on a day that is usually closed, such as a Budget Sunday."""
    MUHURAT = "muhurat"
    """The hour on Diwali."""
    DISASTER_RECOVERY_DRILL = "disaster_recovery_drill"
    """A short session in which the exchange moves to its second site."""


class MarketPhase(StrEnum):
    """What a segment does at a moment."""

    CLOSED = "closed"
    """Nothing trades."""
    CONTINUOUS = "continuous"
    """Orders meet as they come."""
    CLOSING_AUCTION = "closing_auction"
    """Stocks with derivatives are in their closing auction; other stocks trade on until the session's close."""


@dataclass(frozen=True, slots=True)
class ClosingAuction:
    """The auction that finds the closing price, from `begins_at` until its last trade is reported at `ends_at`; UTC."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class TradingSession:
    """Trading from `opens_at` to just before `closes_at`; both aware, UTC. Intraday candles are counted within it."""

    opens_at: datetime
    closes_at: datetime
    kind: SessionKind = SessionKind.REGULAR
    auction: ClosingAuction | None = None
    """It begins within the session and may outlast it."""

    def __post_init__(self) -> None:
        if not self.opens_at < self.closes_at:
            raise ValueError("a trading session closes after it opens")
        if ist_date(self.opens_at) != ist_date(self.settles_at - timedelta(microseconds=1)):
            raise ValueError("a trading session lies within one day in IST")
        auction = self.auction
        if auction is not None and not (
            self.opens_at <= auction.begins_at < min(self.closes_at, auction.ends_at)
        ):
            raise ValueError("a closing auction begins within its session")

    @property
    def day(self) -> date:
        """The exchange's day, in IST."""
        return ist_date(self.opens_at)

    @property
    def settles_at(self) -> datetime:
        """When the session's closing price is final: at its close, or with the end of an auction that outlasts it."""
        return self.closes_at if self.auction is None else max(self.closes_at, self.auction.ends_at)

    @property
    def change_times(self) -> tuple[datetime, ...]:
        """The moments at which its phase changes or it opens or closes, in no order."""
        auction = () if self.auction is None else (self.auction.begins_at, self.auction.ends_at)
        return (self.opens_at, self.closes_at, *auction)

    def phase_at(self, moment: datetime) -> MarketPhase:
        """Return what happens in this session at `moment`; closed before and after it."""
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
    """When the closing auction begins and ends."""
    since: date = date.min


def ist_date(moment: datetime) -> date:
    """Return the exchange's calendar day at `moment`; refuses a naive moment, whose day nobody knows."""
    if moment.tzinfo is None:
        raise ValueError("a moment has to be aware")
    return moment.astimezone(IST).date()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return when a calendar day begins and ends in IST, both in UTC."""
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
    """Return the sessions of `day` by their opening; refuses those of another day, and any that overlap."""
    ordered = tuple(sorted(sessions, key=lambda session: session.opens_at))
    if any(session.day != day for session in ordered):
        raise ValueError("a session belongs to the day it is filed under")
    if any(later.opens_at < earlier.settles_at for earlier, later in pairwise(ordered)):
        raise ValueError("the sessions of a day follow each other")
    return ordered


def _moment(day: date, at: time) -> datetime:
    return datetime.combine(day, at, IST).astimezone(UTC)
