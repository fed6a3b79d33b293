"""Which trading minutes were watched and which were blind, from the lines of the audit trail."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from hullwatch.domain.market_calendar import TradingSession
from hullwatch.domain.watches import WatchStatus

SERVER_DOWN = "server_down"
"""Reason of a stretch in which hullwatch itself did not run."""
BEAT_EVERY = timedelta(seconds=60)
"""How often a running server leaves a heartbeat in the audit trail."""
_LONGEST_SILENCE = 2.5 * BEAT_EVERY
_WANTED = frozenset({WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED})
"""Statuses in which an account is blind only if the server is down: one that went down at night is down in the morning too."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """From this moment on monitoring did this for the account."""

    at: datetime
    status: WatchStatus


@dataclass(frozen=True, slots=True)
class BlindStretch:
    """A stretch of trading time in which the account was not watched although it wanted to be."""

    began_at: datetime
    ended_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """One account's exchange day so far."""

    day: date
    watched_minutes: float
    blind_minutes: float
    stretches: tuple[BlindStretch, ...]


def silences(
    beats: Sequence[datetime], *, since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Return when the server did not run: from `since` to `until`, where heartbeats, oldest first, lie too far apart."""
    moments = [since, *beats, until]
    return [(beat, end) for beat, end in pairwise(moments) if end - beat > _LONGEST_SILENCE]


def coverage(
    day: date,
    sessions: Sequence[TradingSession],
    changes: Iterable[StatusChange],
    down: Sequence[tuple[datetime, datetime]],
    *,
    until: datetime,
) -> Coverage:
    """Add up a day's trading sessions up to `until`.

    Args:
        day: The exchange day, in IST.
        sessions: Its trading sessions, in order.
        changes: The account's status changes, oldest first, the last one before the day included.
        down: When the server did not run.
        until: The present, or the day's end.

    Returns:
        Minutes to the second; time before the first known change, or in which monitoring was not wanted, counts as neither.
    """
    line = sorted(changes, key=lambda change: change.at)
    moments = [*(change.at for change in line), until]
    stretches: list[BlindStretch] = []
    watched = timedelta()
    for session in sessions:
        for change, end in zip(line, moments[1:], strict=True):
            began, ended = max(change.at, session.opens_at), min(end, session.closes_at, until)
            if began >= ended:
                continue
            if change.status.is_blind:
                stretches.append(BlindStretch(began, ended, change.status.value))
            elif change.status in _WANTED:
                stretches += _pieces(began, ended, down)
                if change.status is WatchStatus.WATCHING:
                    watched += ended - began - _overlap(began, ended, down)
    joined = _join(sorted(stretches, key=lambda stretch: stretch.began_at))
    blind = sum((stretch.ended_at - stretch.began_at for stretch in joined), timedelta())
    return Coverage(day, _minutes(watched), _minutes(blind), tuple(joined))


def _pieces(
    began: datetime, ended: datetime, down: Sequence[tuple[datetime, datetime]]
) -> list[BlindStretch]:
    return [
        BlindStretch(max(began, start), min(ended, end), SERVER_DOWN)
        for start, end in down
        if max(began, start) < min(ended, end)
    ]


def _overlap(began: datetime, ended: datetime, down: Sequence[tuple[datetime, datetime]]) -> timedelta:
    return sum((piece.ended_at - piece.began_at for piece in _pieces(began, ended, down)), timedelta())


def _join(stretches: list[BlindStretch]) -> list[BlindStretch]:
    joined: list[BlindStretch] = []
    for stretch in stretches:
        if joined and joined[-1].ended_at == stretch.began_at and joined[-1].reason == stretch.reason:
            stretch = BlindStretch(joined.pop().began_at, stretch.ended_at, stretch.reason)  # noqa: PLW2901 - grown
        joined.append(stretch)
    return joined


def _minutes(duration: timedelta) -> float:
    return round(duration.total_seconds() / 60, 2)
