"""Which trading minutes were monitored and which were blind, computed from the audit trail to the cycle.

- Time between the ends of two consecutive good cycles is *watched*.
- A *blind stretch* begins at the end of the last good cycle, at the market open, or at a known disconnect
  time, whichever is latest. It ends at the end of the next good cycle. Its reason is that of the cycles in
  it; where the reason changes, one stretch ends and the next begins.
- A cycle is *missed* when it was due and had not begun a whole interval later. The time between the two good
  cycles around it is blind.
- After a crash, blindness begins at the last heartbeat (`HEARTBEAT_EVERY`). Everything up to it is stored.
  The error is less than one usual cycle, or three if a cycle was hanging at the crash.
- Time in which monitoring was not wanted, the watchlist was empty or nothing is known is neither.

Nothing is stored for a cycle with the same status as the one before it. The newest moments, before the next
cycle has ended, count as the last status.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.market.clock_offset import ClockStep
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import Connection, DisconnectReason
from hullwatch.domain.signals.settling import FIRST_READING
from hullwatch.domain.signals.signals import Signal

HEARTBEAT_EVERY: Final = timedelta(seconds=5)
"""How often a running server stores its heartbeat: one moment, overwritten."""
MAX_HEARTBEAT_GAP: Final = timedelta(seconds=60)
"""After a longer gap the process counts as suspended; a shorter one shows in each account's cycles."""

STATUS_KIND: Final = "monitoring.status"
STARTED_KIND: Final = "server.started"
RESUMED_KIND: Final = "server.resumed"
STOPPED_KIND: Final = "server.stopped"
CLOCK_KIND: Final = "server.clock_set"
SECONDS: Final = "seconds"
"""Evidence key: by how much the clock was set."""
IS_FOLLOWED: Final = "isFollowed"
"""Evidence key: whether the new time counts."""
SINCE: Final = "since"
"""Evidence key: when the state began, if that is before the entry was written."""
GAP_BEGAN_AT: Final = "blindSince"
"""Evidence key: when the blind stretch began that the state continues."""


class BlindReason(StrEnum):
    """Why an account was not watched although monitoring was wanted: the obstacles that make trading time blind."""

    STARTING = Obstacle.STARTING.value
    NO_SESSION = Obstacle.NO_SESSION.value
    NOT_PERMITTED = Obstacle.NOT_PERMITTED.value
    CHECKING_LOGIN = Obstacle.CHECKING_LOGIN.value
    SESSION_HELD = Obstacle.SESSION_HELD.value
    FYERS_UNAVAILABLE = Obstacle.FYERS_UNAVAILABLE.value
    RATE_LIMITED = Obstacle.RATE_LIMITED.value
    SERVER_DOWN = Obstacle.SERVER_DOWN.value
    SERVER_BUSY = Obstacle.SERVER_BUSY.value
    SLOW_CYCLE = Obstacle.SLOW_CYCLE.value
    CLOCK_SET = Obstacle.CLOCK_SET.value

    @property
    def obstacle(self) -> Obstacle:
        """What kept the account from being watched."""
        return Obstacle(self.value)


MISSED_CYCLE_REASONS: Final = frozenset(
    {BlindReason.SERVER_BUSY, BlindReason.SLOW_CYCLE, BlindReason.CLOCK_SET}
)
_WANTED: Final = frozenset({WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED})
State = WatchStatus | BlindReason
"""What an audit entry records: a status, or why cycles between good ones were missed."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The account's state from this moment on."""

    at: datetime
    state: State


@dataclass(frozen=True, slots=True)
class BlindStretch:
    """Trading time in which the account was not monitored although its user wanted it."""

    began_at: datetime
    ended_at: datetime
    reason: BlindReason

    @property
    def length(self) -> timedelta:
        """Duration of the stretch."""
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
        """Total watched time."""
        return sum((end - start for start, end in self.watched_spans), timedelta())

    @property
    def blind(self) -> timedelta:
        """Total blind time."""
        return sum((stretch.length for stretch in self.stretches), timedelta())

    @property
    def watched_minutes(self) -> float:
        """Total watched time in minutes."""
        return minutes(self.watched)

    @property
    def blind_minutes(self) -> float:
        """Total blind time in minutes."""
        return minutes(self.blind)

    @property
    def percent(self) -> float | None:
        """Watched share of the wanted time; `None` if none was wanted, and 100 only if nothing was blind."""
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


# ---------------------------------------------------------------- reading audit entries


def evidence_time(entry: AuditEntry, name: str) -> datetime | None:
    """Return a moment from an entry's evidence."""
    value = entry.evidence.get(name)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def status_changes(entries: Iterable[AuditEntry]) -> list[StatusChange]:
    """Read one account's status entries, oldest first. A change never counts from before the previous one."""
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
    """Return the state of this stored name; raises `ValueError` for an unknown one."""
    return BlindReason(name) if name in MISSED_CYCLE_REASONS else WatchStatus(name)


def downtimes(entries: Iterable[AuditEntry]) -> list[tuple[datetime, datetime]]:
    """Return when the server did not run, from its start and resume entries, oldest first."""
    down = ((evidence_time(entry, SINCE), entry.at) for entry in entries)
    return [(since, at) for since, at in down if since is not None and since < at]


def clock_steps(entries: Iterable[AuditEntry], *, since: datetime, before: datetime) -> list[ClockStep]:
    """Return the steps of the server's clock in [since, before), from its entries."""
    found = []
    for entry in entries:
        seconds = entry.evidence.get(SECONDS)
        if entry.kind == CLOCK_KIND and since <= entry.at < before and isinstance(seconds, int | float):
            found.append(ClockStep(entry.at, seconds, is_followed=bool(entry.evidence.get(IS_FOLLOWED))))
    return found


def known_disconnect_time(connection: Connection) -> datetime | None:
    """Return when a session ended if that is known exactly: at its expiry, or by a person.

    A refusal only shows that it has ended.
    """
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
    """Group late signals by the stretch that caused the delay; return the groups, and the signals without a cause.

    A candle that closed where two stretches meet belongs to the earlier one. One that closed just before a
    stretch and could be read only in it belongs to that stretch, as in `Gap.contains`.
    """
    parts: list[list[Signal]] = [[] for _ in stretches]
    rest: list[Signal] = []
    for signal in late:
        closed_at = signal.candle_closed_at
        index = next(
            (
                index
                for index, stretch in enumerate(stretches)
                if stretch.began_at < closed_at + FIRST_READING and closed_at <= stretch.ended_at
            ),
            None,
        )
        (rest if index is None else parts[index]).append(signal)
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
    """Compute a day's coverage up to `until`.

    Args:
        day: The exchange day, in IST.
        sessions: Its trading sessions, in order.
        changes: The account's status changes, oldest first, the last one before the day included.
        down: When the server did not run, in order. It overrides every status except *not wanted*.
        until: The present, or the day's end.
    """
    stretches: list[BlindStretch] = []
    watched: list[tuple[datetime, datetime]] = []
    in_session = timedelta()
    for session in sessions:
        opens_at, closes_at = session.opens_at, min(session.closes_at, until)
        in_session += max(timedelta(), closes_at - opens_at)
        for index, change in enumerate(changes):
            next_at = changes[index + 1].at if index + 1 < len(changes) else closes_at
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
    """Whether trading time in this state is blind."""
    return isinstance(state, BlindReason) or state.is_blind


def _cut(began: datetime, ended: datetime, spans: Spans) -> Iterator[tuple[datetime, datetime, bool]]:
    """Cut a stretch at the edges of the spans; yield the pieces in order, each with whether a span contains it."""
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
