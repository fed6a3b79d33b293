"""Watched and blind minutes of a day; `hullwatch.domain.coverage`."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.coverage import (
    BEAT_EVERY,
    SERVER_DOWN,
    BlindStretch,
    Coverage,
    StatusChange,
    coverage,
    silences,
)
from hullwatch.domain.market_calendar import IST, trading_session
from hullwatch.domain.watches import WatchStatus

DAY = date(2026, 11, 23)
SESSIONS = (trading_session(DAY),)
OPENS, CLOSES = SESSIONS[0].opens_at, SESSIONS[0].closes_at
MINUTES = 375.0
Down = list[tuple[datetime, datetime]]


def at(hour: int, minute: int = 0) -> datetime:
    """Return a moment of the day by the Indian clock."""
    return datetime.combine(DAY, time(hour, minute), IST)


def covered(
    *changes: tuple[datetime, WatchStatus], down: Down | None = None, until: datetime = CLOSES
) -> Coverage:
    """Return a day's coverage."""
    line = [StatusChange(moment, status) for moment, status in changes]
    return coverage(DAY, SESSIONS, line, down or [], until=until)


def test_a_day_that_was_watched_throughout() -> None:
    """All minutes of trading count, and nothing outside them."""
    day = covered((at(8), WatchStatus.WATCHING), until=at(20))

    assert (day.watched_minutes, day.blind_minutes, day.stretches) == (MINUTES, 0, ())


def test_a_gap_is_blind_with_its_reason() -> None:
    """A session that was down for an hour shows as one stretch."""
    day = covered(
        (at(9), WatchStatus.WATCHING),
        (at(10), WatchStatus.NO_SESSION),
        (at(11), WatchStatus.WATCHING),
    )

    assert (day.watched_minutes, day.blind_minutes) == (MINUTES - 60, 60)
    assert day.stretches == (BlindStretch(at(10), at(11), "no_session"),)


def test_stretches_that_touch_are_one_if_their_reason_is_one() -> None:
    """A repeated status is not told as two interruptions; another reason is."""
    day = covered(
        (at(10), WatchStatus.NO_SESSION),
        (at(11), WatchStatus.NO_SESSION),
        (at(12), WatchStatus.FYERS_TROUBLE),
        (at(13), WatchStatus.WATCHING),
    )

    assert [stretch.reason for stretch in day.stretches] == ["no_session", "fyers_trouble"]
    assert day.stretches[0] == BlindStretch(at(10), at(12), "no_session")


def test_what_was_not_wanted_is_neither() -> None:
    """Nobody is blind to what they did not want to see."""
    day = covered((at(8), WatchStatus.NOT_WANTED), down=[(at(10), at(11))])

    assert (day.watched_minutes, day.blind_minutes) == (0, 0)


def test_time_before_the_first_word_is_neither() -> None:
    """What is not known is not claimed."""
    day = covered((at(12), WatchStatus.WATCHING))

    assert (day.watched_minutes, day.blind_minutes) == (210, 0)


def test_a_server_that_did_not_run_was_blind() -> None:
    """The last status before a crash does not go on counting as watched."""
    day = covered((at(9), WatchStatus.WATCHING), down=[(at(10), at(10, 30))])

    assert (day.watched_minutes, day.blind_minutes) == (MINUTES - 30, 30)
    assert day.stretches == (BlindStretch(at(10), at(10, 30), SERVER_DOWN),)


def test_a_server_that_went_down_at_night_is_blind_in_the_morning() -> None:
    """The status from after the last close does not hide that nobody watched the opening."""
    day = covered((at(0), WatchStatus.MARKET_CLOSED), (at(10), WatchStatus.WATCHING), down=[(at(3), at(10))])

    assert day.stretches == (BlindStretch(OPENS, at(10), SERVER_DOWN),)
    assert day.watched_minutes == 330


def test_the_day_goes_to_the_present() -> None:
    """What has not happened yet is not counted."""
    day = covered((at(9), WatchStatus.WATCHING), until=at(9, 45))

    assert day.watched_minutes == 30


@pytest.mark.parametrize("status", list(WatchStatus))
def test_each_status_is_watched_or_blind_or_neither(status: WatchStatus) -> None:
    """A whole day in one status counts as one of the three."""
    day = covered((at(8), status))

    assert day.watched_minutes == (MINUTES if status is WatchStatus.WATCHING else 0)
    assert day.blind_minutes == (MINUTES if status.is_blind else 0)


def test_silence_is_found_at_both_ends() -> None:
    """From the day's beginning to the first beat, between beats, and from the last one on."""
    beats = [at(9, minute) for minute in range(10)]

    assert silences(beats, since=at(8, 59), until=at(9, 10)) == []
    assert silences(beats, since=at(8), until=at(9, 10)) == [(at(8), at(9))]
    assert silences(beats, since=at(9), until=at(10)) == [(at(9, 9), at(10))]
    assert silences([], since=at(8), until=at(10)) == [(at(8), at(10))]
    assert silences([at(9), at(9) + 2 * BEAT_EVERY], since=at(9), until=at(9, 3)) == []


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
    """Watched and blind time never exceed the trading time that has passed, and stretches do not overlap."""
    down = list(zip(cuts[::2], cuts[1::2], strict=False))

    day = covered(*changes, down=down, until=until)

    passed = max(timedelta(), min(until, CLOSES) - OPENS) / timedelta(minutes=1)
    assert 0 <= day.watched_minutes + day.blind_minutes <= passed + 0.01
    for earlier, later in zip(day.stretches, day.stretches[1:], strict=False):
        assert earlier.ended_at <= later.began_at
    assert all(OPENS <= part.began_at < part.ended_at <= CLOSES for part in day.stretches)
