"""Which trading minutes were watched and which were blind, from the lines of the audit trail.

What counts, for one account and to the cycle:

- Time that lies between the ends of two good cycles, one after the other, is *watched*.
- A *blind stretch* begins where the last good cycle ended, or where the trading session opened if that came later, or where the login session
  ended if that moment is known and came later still: its known end, a sign-out. It ends where the first good cycle after it ends. Its reason is
  what the cycles in it said; where that changes, one stretch ends and the next begins at the end of the cycle that said so.
- A cycle falls out when one that was due had not begun a whole interval later. The time between the two good cycles around it is blind, though
  both were good.
- A server that was killed leaves its last sign of life (`HEARTBEAT_EVERY`). All that happened up to there is stored, so blindness begins there: less
  than one usual cycle from where it really began, or three if a cycle was hanging just then. Nothing is written for a cycle that is like the one
  before it, however many accounts there are.
- Time in which monitoring was not wanted, in which nothing was on the watchlist, or of which nothing is known, is neither.

The newest moments, in which the next cycle has not ended yet, count as what the last one said.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import Connection, DisconnectReason
from hullwatch.domain.signals.signals import CANDLE_READ_DELAY, Signal

HEARTBEAT_EVERY: Final = timedelta(seconds=5)
"""How often a running server leaves a sign of life: one stored moment, overwritten."""
MAX_HEARTBEAT_GAP: Final = timedelta(seconds=60)
"""A process that is silent for longer stood still, with its machine perhaps; a shorter silence shows in each account's cycles alone."""

STATUS_KIND: Final = "monitoring.status"
STARTED_KIND: Final = "server.started"
RESUMED_KIND: Final = "server.resumed"
STOPPED_KIND: Final = "server.stopped"
SINCE: Final = "since"
"""Evidence of a line: from when on it counts, where that is before it was written."""
GAP_BEGAN_AT: Final = "blindSince"
"""Evidence of a line: where the blind stretch began that it continues."""


class BlindReason(StrEnum):
    """Why an account that wanted to be watched was not."""

    STARTING = "starting"
    """The first cycle after a start had not ended."""
    NO_SESSION = "no_session"
    """There was no login session with Fyers."""
    CHECKING_LOGIN = "checking_login"
    """Fyers had refused once and was asked a second time."""
    FYERS_UNAVAILABLE = "fyers_unavailable"
    """Fyers did not answer usefully, or refused many sessions at once."""
    RATE_LIMITED = "rate_limited"
    """Fyers asked us to wait."""
    SERVER_DOWN = "server_down"
    """Hullwatch itself did not run."""
    SERVER_BUSY = "server_busy"
    """Hullwatch ran, but began a cycle so late that others fell out."""
    SLOW_CYCLE = "slow_cycle"
    """A cycle took so long that others fell out."""


MISSED_CYCLE_REASONS: Final = frozenset({BlindReason.SERVER_BUSY, BlindReason.SLOW_CYCLE})
_WANTED: Final = frozenset({WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED})
State = WatchStatus | BlindReason
"""What a line of the trail says: a status, or why cycles fell out between good ones."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """From this moment on monitoring did this for the account."""

    at: datetime
    state: State


@dataclass(frozen=True, slots=True)
class BlindStretch:
    """A stretch of trading time in which the account was not watched although it wanted to be."""

    began_at: datetime
    ended_at: datetime
    reason: BlindReason

    @property
    def length(self) -> timedelta:
        """How long it was."""
        return self.ended_at - self.began_at


Spans = Sequence[tuple[datetime, datetime]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One account's exchange day so far."""

    day: date
    watched_spans: tuple[tuple[datetime, datetime], ...]
    stretches: tuple[BlindStretch, ...]
    in_session: timedelta
    """Trading time that has passed, wanted or not."""

    @property
    def watched(self) -> timedelta:
        """The length of all that was watched."""
        return sum((end - start for start, end in self.watched_spans), timedelta())

    @property
    def blind(self) -> timedelta:
        """The length of all stretches."""
        return sum((stretch.length for stretch in self.stretches), timedelta())

    @property
    def watched_minutes(self) -> float:
        """Minutes that were watched."""
        return minutes(self.watched)

    @property
    def blind_minutes(self) -> float:
        """Minutes that were not, although that was wanted."""
        return minutes(self.blind)

    @property
    def percent(self) -> float | None:
        """How much of the wanted time was watched; `None` where nothing was wanted. 100 only where nothing was missed."""
        wanted = self.watched + self.blind
        if not wanted:
            return None
        share = round(100 * (self.watched / wanted), 2)
        return min(share, 99.99) if self.blind else share

    @property
    def blind_by_reason(self) -> dict[BlindReason, timedelta]:
        """Reason → blind time, the longest first."""
        times: dict[BlindReason, timedelta] = {}
        for stretch in self.stretches:
            times[stretch.reason] = times.get(stretch.reason, timedelta()) + stretch.length
        return dict(sorted(times.items(), key=lambda item: item[1], reverse=True))


def minutes(duration: timedelta) -> float:
    """Return a duration in minutes, rounded to hundredths."""
    return round(duration.total_seconds() / 60, 2)


# ---------------------------------------------------------------- reading the trail


def evidence_time(entry: AuditEntry, name: str) -> datetime | None:
    """Return a moment that stands in a line's evidence."""
    said = entry.evidence.get(name)
    return datetime.fromisoformat(said) if isinstance(said, str) else None


def status_changes(entries: Iterable[AuditEntry]) -> list[StatusChange]:
    """Read one account's status lines, oldest first; each counts from where it says, but never before the line before it."""
    changes: list[StatusChange] = []
    for entry in entries:
        if entry.to_state is None:
            continue
        at = evidence_time(entry, SINCE) or entry.at
        if changes:
            at = max(at, changes[-1].at)
        changes.append(StatusChange(at, parse_state(entry.to_state)))
    return changes


def parse_state(name: str) -> State:
    """Return the state of a line; raises `ValueError` for a word that is none."""
    return BlindReason(name) if name in MISSED_CYCLE_REASONS else WatchStatus(name)


def downtimes(entries: Iterable[AuditEntry]) -> list[tuple[datetime, datetime]]:
    """Return when the server did not run, from the lines about its starts and resumptions, oldest first."""
    down = ((evidence_time(entry, SINCE), entry.at) for entry in entries)
    return [(since, at) for since, at in down if since is not None and since < at]


def known_disconnect_time(connection: Connection) -> datetime | None:
    """Return when a session ended, if that is known to the moment: at its own end, or by somebody's hand; a refusal only shows that it has ended."""
    if connection.has_session or connection.last_disconnect_at is None:
        return None
    match connection.reason:
        case DisconnectReason.SIGNED_OUT | DisconnectReason.BY_ADMIN:
            return connection.last_disconnect_at
        case DisconnectReason.EXPIRED:
            ends_at = connection.expires_at
            return ends_at if ends_at is not None and ends_at <= connection.last_disconnect_at else None
        case _:
            return None


def late_signals_by_stretch(
    late: Iterable[Signal], stretches: Sequence[BlindStretch]
) -> tuple[list[list[Signal]], list[Signal]]:
    """Share late signals out: for each stretch those on candles that it kept from being read in time, and those that no stretch explains.

    Each signal is in exactly one part. A candle that closed where two stretches meet belongs to the earlier one; one that closed just before a
    stretch, and could be read only in it, belongs to that, as `Gap.contains` in `services/monitoring/feeds.py` decides.
    """
    parts: list[list[Signal]] = [[] for _ in stretches]
    rest: list[Signal] = []
    for signal in late:
        closed_at = signal.candle_closed_at
        place = next(
            (
                place
                for place, stretch in enumerate(stretches)
                if stretch.began_at < closed_at + CANDLE_READ_DELAY and closed_at <= stretch.ended_at
            ),
            None,
        )
        (rest if place is None else parts[place]).append(signal)
    return parts, rest


# ---------------------------------------------------------------- adding up


def coverage(
    day: date,
    sessions: Sequence[TradingSession],
    changes: Sequence[StatusChange],
    down: Spans,
    *,
    until: datetime,
) -> Coverage:
    """Add up a day's trading sessions up to `until`.

    Args:
        day: The exchange day, in IST.
        sessions: Its trading sessions, in order.
        changes: The account's status changes, oldest first, the last one before the day included.
        down: When the server did not run, in order; counts before any status, except that nothing was wanted.
        until: The present, or the day's end.
    """
    stretches: list[BlindStretch] = []
    watched: list[tuple[datetime, datetime]] = []
    in_session = timedelta()
    for session in sessions:
        opens_at, closes_at = session.opens_at, min(session.closes_at, until)
        in_session += max(timedelta(), closes_at - opens_at)
        for place, change in enumerate(changes):
            next_at = changes[place + 1].at if place + 1 < len(changes) else closes_at
            began, ended = max(change.at, opens_at), min(next_at, closes_at)
            if began >= ended or not (change.state in _WANTED or is_blind(change.state)):
                continue
            for start, end, is_down in _cut(began, ended, down):
                if is_down or is_blind(change.state):
                    reason = BlindReason.SERVER_DOWN if is_down else BlindReason(change.state.value)
                    stretches.append(BlindStretch(start, end, reason))
                elif change.state is WatchStatus.WATCHING:
                    if watched and watched[-1][1] == start:
                        start = watched.pop()[0]  # noqa: PLW2901 - grown
                    watched.append((start, end))
    return Coverage(day, tuple(watched), tuple(_join(stretches)), in_session)


def is_blind(state: State) -> bool:
    """Whether trading time that passes in this state is missed."""
    return isinstance(state, BlindReason) or state.is_blind


def _cut(began: datetime, ended: datetime, spans: Spans) -> Iterator[tuple[datetime, datetime, bool]]:
    """Cut a stretch where spans begin and end: pieces in order, each with whether it lies in a span."""
    at = began
    for start, end in spans:
        start, end = max(start, at), min(end, ended)  # noqa: PLW2901 - clipped
        if start >= end:
            continue
        if at < start:
            yield at, start, False
        yield start, end, True
        at = end
    if at < ended:
        yield at, ended, False


def _join(stretches: Iterable[BlindStretch]) -> Iterator[BlindStretch]:
    last: BlindStretch | None = None
    for stretch in stretches:
        if last is not None and last.ended_at == stretch.began_at and last.reason is stretch.reason:
            last = BlindStretch(last.began_at, stretch.ended_at, stretch.reason)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last
