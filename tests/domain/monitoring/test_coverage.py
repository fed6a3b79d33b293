"""Tests watched and blind minutes of a day."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.calendar import IST, trading_session
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.coverage import (
    SINCE,
    BlindReason,
    BlindStretch,
    Coverage,
    StatusChange,
    coverage,
    downtimes,
    known_disconnect_time,
    late_signals_by_stretch,
    status_changes,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.domain.signals.settling import FIRST_READING
from hullwatch.domain.signals.signals import Direction, Rule, Signal

DAY = date(2026, 11, 23)
SESSIONS = (trading_session(DAY),)
SERVER_DOWN = BlindReason.SERVER_DOWN
OPENS, CLOSES = SESSIONS[0].opens_at, SESSIONS[0].closes_at
MINUTES = 375.0
Down = list[tuple[datetime, datetime]]


def at(hour: int, minute: int = 0) -> datetime:
    """Return a moment of the day in Indian time."""
    return datetime.combine(DAY, time(hour, minute), IST)


def covered(
    *changes: tuple[datetime, WatchStatus], down: Down | None = None, until: datetime = CLOSES
) -> Coverage:
    """Return the coverage of the day."""
    line = [StatusChange(moment, status) for moment, status in sorted(changes, key=lambda one: one[0])]
    return coverage(DAY, SESSIONS, line, down or [], until=until)


def test_a_completely_watched_day() -> None:
    """All trading minutes count, and no others."""
    day = covered((at(8), WatchStatus.WATCHING), until=at(20))

    assert (day.watched_minutes, day.blind_minutes, day.stretches) == (MINUTES, 0, ())


def test_a_gap_is_blind_with_its_reason() -> None:
    """An hour without a session is one stretch."""
    day = covered(
        (at(9), WatchStatus.WATCHING),
        (at(10), WatchStatus.NO_SESSION),
        (at(11), WatchStatus.WATCHING),
    )

    assert (day.watched_minutes, day.blind_minutes) == (MINUTES - 60, 60)
    assert day.stretches == (BlindStretch(at(10), at(11), BlindReason.NO_SESSION),)


def test_adjacent_stretches_with_one_reason_are_joined() -> None:
    """A repeated status is one interruption, and another reason is a new one."""
    day = covered(
        (at(10), WatchStatus.NO_SESSION),
        (at(11), WatchStatus.NO_SESSION),
        (at(12), WatchStatus.FYERS_UNAVAILABLE),
        (at(13), WatchStatus.WATCHING),
    )

    assert [stretch.reason for stretch in day.stretches] == ["no_session", "fyers_unavailable"]
    assert day.stretches[0] == BlindStretch(at(10), at(12), BlindReason.NO_SESSION)


def test_unwanted_time_is_neither_watched_nor_blind() -> None:
    """A stopped account misses nothing."""
    day = covered((at(8), WatchStatus.NOT_WANTED), down=[(at(10), at(11))])

    assert (day.watched_minutes, day.blind_minutes) == (0, 0)


def test_time_before_the_first_status_is_neither() -> None:
    """Unknown time is not counted."""
    day = covered((at(12), WatchStatus.WATCHING))

    assert (day.watched_minutes, day.blind_minutes) == (210, 0)


def test_downtime_of_the_server_is_blind() -> None:
    """The last status before a crash does not count as watched."""
    day = covered((at(9), WatchStatus.WATCHING), down=[(at(10), at(10, 30))])

    assert (day.watched_minutes, day.blind_minutes) == (MINUTES - 30, 30)
    assert day.stretches == (BlindStretch(at(10), at(10, 30), SERVER_DOWN),)


def test_a_server_down_since_the_night_is_blind_at_the_open() -> None:
    """The status after the last close does not hide it."""
    day = covered((at(0), WatchStatus.MARKET_CLOSED), (at(10), WatchStatus.WATCHING), down=[(at(3), at(10))])

    assert day.stretches == (BlindStretch(OPENS, at(10), SERVER_DOWN),)
    assert day.watched_minutes == 330


def test_the_day_ends_at_the_present() -> None:
    """The future is not counted."""
    day = covered((at(9), WatchStatus.WATCHING), until=at(9, 45))

    assert day.watched_minutes == 30


@pytest.mark.parametrize("status", list(WatchStatus))
def test_each_status_is_watched_or_blind_or_neither(status: WatchStatus) -> None:
    """Each status is exactly one of the three for a whole day."""
    day = covered((at(8), status))

    assert day.watched_minutes == (MINUTES if status is WatchStatus.WATCHING else 0)
    assert day.blind_minutes == (MINUTES if status.is_blind else 0)


def test_missed_cycles_are_blind_between_good_ones() -> None:
    """Watched time before and after does not hide them."""
    line = [
        StatusChange(at(9), WatchStatus.WATCHING),
        StatusChange(at(10), BlindReason.SERVER_BUSY),
        StatusChange(at(10, 2), WatchStatus.WATCHING),
    ]

    day = coverage(DAY, SESSIONS, line, [], until=CLOSES)

    assert day.stretches == (BlindStretch(at(10), at(10, 2), BlindReason.SERVER_BUSY),)
    assert day.percent == round(100 * (MINUTES - 2) / MINUTES, 2)


def test_downtime_overrides_other_reasons() -> None:
    """The state of Fyers in that time is unknown."""
    day = covered((at(9), WatchStatus.FYERS_UNAVAILABLE), down=[(at(10), at(11))], until=at(12))

    assert [stretch.reason.value for stretch in day.stretches] == [
        "fyers_unavailable",
        "server_down",
        "fyers_unavailable",
    ]
    assert list(day.blind_by_reason) == [BlindReason.FYERS_UNAVAILABLE, BlindReason.SERVER_DOWN]


def test_a_day_with_any_gap_is_below_100_percent() -> None:
    """Rounding never hides a gap."""
    gap = timedelta(milliseconds=20)
    day = covered(
        (at(9), WatchStatus.WATCHING),
        (at(10), WatchStatus.RATE_LIMITED),
        (at(10) + gap, WatchStatus.WATCHING),
    )

    assert (day.percent, day.blind_minutes, len(day.stretches)) == (99.99, 0.0, 1)
    assert covered((at(9), WatchStatus.WATCHING)).percent == 100
    assert covered((at(9), WatchStatus.NOT_WANTED)).percent is None


@pytest.mark.parametrize("status", [status for status in WatchStatus if status.is_blind])
def test_each_blind_status_is_a_reason(status: WatchStatus) -> None:
    """A status without a reason would make a day unreadable."""
    assert BlindReason(status.value)


def entry_of(
    moment: datetime, kind: str, *, since: datetime | None = None, to: str | None = None
) -> AuditEntry:
    """Return an audit entry."""
    evidence = {} if since is None else {SINCE: since.isoformat()}
    return AuditEntry(moment, None, kind, "hullwatch", to_state=to, evidence=evidence)


def test_a_change_never_counts_from_before_the_previous_one() -> None:
    """A failed cycle ends the time since the last good one only."""
    lines = [
        entry_of(at(9, 20), "monitoring.status", to="watching"),
        entry_of(at(10), "monitoring.status", to="fyers_unavailable", since=at(9, 59)),
        entry_of(at(10, 5), "monitoring.status", to="slow_cycle", since=at(9)),
    ]

    assert status_changes(lines) == [
        StatusChange(at(9, 20), WatchStatus.WATCHING),
        StatusChange(at(9, 59), WatchStatus.FYERS_UNAVAILABLE),
        StatusChange(at(9, 59), BlindReason.SLOW_CYCLE),
    ]


def test_a_start_entry_dates_the_downtime() -> None:
    """A resume entry does the same, and a start entry also after an orderly stop."""
    lines = [
        entry_of(at(9), "server.started"),
        entry_of(at(11), "server.started", since=at(10)),
        entry_of(at(12), "server.stopped"),
        entry_of(at(13), "server.started", since=at(12)),
        entry_of(at(15), "server.resumed", since=at(14)),
    ]

    assert downtimes(lines) == [(at(10), at(11)), (at(12), at(13)), (at(14), at(15))]


@pytest.mark.parametrize(
    ("reason", "expires_at", "expected"),
    [
        (DisconnectReason.EXPIRED, at(10), at(10)),
        (DisconnectReason.EXPIRED, at(16), None),
        (DisconnectReason.REJECTED, at(16), None),
        (DisconnectReason.SIGNED_OUT, at(16), at(11)),
        (DisconnectReason.BY_ADMIN, at(16), at(11)),
    ],
)
def test_a_disconnect_time_is_known_or_not(
    reason: DisconnectReason, expires_at: datetime, expected: datetime | None
) -> None:
    """A refusal does not contain the time of the disconnect."""
    connection = Connection(
        "usr", LoginState.DISCONNECTED, reason=reason, expires_at=expires_at, last_disconnect_at=at(11)
    )

    assert known_disconnect_time(connection) == expected


moments = st.integers(0, 24 * 60 - 1).map(lambda minute: at(0) + timedelta(minutes=minute))


@given(
    st.lists(st.tuples(moments, st.sampled_from(WatchStatus)), max_size=12),
    st.lists(moments, max_size=8, unique=True).map(sorted),
    moments,
)
@settings(deadline=None)
def test_no_minute_counts_twice(
    changes: list[tuple[datetime, WatchStatus]], cuts: list[datetime], until: datetime
) -> None:
    """Watched and blind time are at most the trading time so far, and stretches do not overlap."""
    down = list(zip(cuts[::2], cuts[1::2], strict=False))

    day = covered(*changes, down=down, until=until)

    passed = max(timedelta(), min(until, CLOSES) - OPENS) / timedelta(minutes=1)
    assert 0 <= day.watched_minutes + day.blind_minutes <= passed + 0.01
    for earlier, later in zip(day.stretches, day.stretches[1:], strict=False):
        assert earlier.ended_at <= later.began_at
    assert all(OPENS <= part.began_at < part.ended_at <= CLOSES for part in day.stretches)


# ---- late signals


def late_signal(closed_at: datetime, number: int = 0) -> Signal:
    """Return a late signal on a candle that closed then."""
    return Signal(
        watch_id=f"w{number}",
        user_id="usr",
        symbol=Symbol("NSE:SBIN-EQ"),
        resolution=Resolution("1"),
        period=55,
        rule=Rule.CROSS,
        direction=Direction.UP,
        candle_opened_at=closed_at - timedelta(minutes=1),
        candle_closed_at=closed_at,
        close=100.0,
        hma=99.0,
        detected_at=CLOSES,
        is_late=True,
    )


def blind(began_at: datetime, ended_at: datetime) -> BlindStretch:
    """Return a blind stretch."""
    return BlindStretch(began_at, ended_at, SERVER_DOWN)


@pytest.mark.parametrize(
    ("closed_at", "stretch_number"),
    [
        (at(10) - FIRST_READING, None),
        (at(10) - FIRST_READING / 2, 0),
        (at(10), 0),
        (at(10, 5), 0),
        (at(10, 6), 1),
        (at(10, 10), 1),
        (at(10, 10) + FIRST_READING, None),
    ],
    ids=["readable before", "readable only in it", "beginning", "where two meet", "second", "end", "after"],
)
def test_a_late_signal_belongs_to_the_stretch_that_delayed_it(
    closed_at: datetime, stretch_number: int | None
) -> None:
    """The candle closed in the stretch, or too shortly before it to be read by an earlier cycle."""
    signal = late_signal(closed_at)

    parts, rest = late_signals_by_stretch([signal], [blind(at(10), at(10, 5)), blind(at(10, 5), at(10, 10))])

    assert parts == [[signal] if stretch_number == number else [] for number in range(2)]
    assert rest == ([signal] if stretch_number is None else [])


tenths = st.integers(0, 400).map(lambda number: at(10) + timedelta(seconds=number / 10))


@given(
    edges=st.lists(tenths, unique=True, max_size=10).map(sorted),
    touching=st.booleans(),
    closes=st.lists(tenths, max_size=20).map(sorted),
)
def test_each_late_signal_is_in_exactly_one_group(
    edges: list[datetime], closes: list[datetime], *, touching: bool
) -> None:
    """A signal is without a stretch only if no stretch could have delayed it."""
    stretches = [blind(*pair) for pair in list(pairwise(edges))[:: 1 if touching else 2]]
    late = [late_signal(closed_at, number) for number, closed_at in enumerate(closes)]

    parts, rest = late_signals_by_stretch(late, stretches)

    def could_delay(stretch: BlindStretch, signal: Signal) -> bool:
        return stretch.began_at - FIRST_READING < signal.candle_closed_at <= stretch.ended_at

    assert len(parts) == len(stretches)
    assert sorted([one for part in parts for one in part] + rest, key=late.index) == late
    for stretch, part in zip(stretches, parts, strict=True):
        assert all(could_delay(stretch, signal) for signal in part)
        assert part == sorted(part, key=late.index)
    assert not any(could_delay(stretch, signal) for stretch in stretches for signal in rest)
