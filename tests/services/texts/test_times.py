"""Tests how texts show times."""

from datetime import UTC, date, datetime

from hullwatch.services.texts.times import at_ist, in_ist

MOMENT = datetime(2026, 11, 23, 8, 35, tzinfo=UTC)
LATE_EVENING = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)


def test_a_time_is_given_in_ist_with_its_day() -> None:
    """The day is the one in IST: 18:30 UTC is midnight of the next day."""
    assert in_ist(MOMENT) == "23 Nov 2026, 14:05 IST"
    assert in_ist(LATE_EVENING) == "23 Nov 2026, 00:00 IST"
    assert at_ist(MOMENT) == "on 23 Nov 2026, 14:05 IST"


def test_the_day_is_left_out_where_the_reader_knows_it() -> None:
    """Another day is still named."""
    today, tomorrow = date(2026, 11, 23), date(2026, 11, 24)

    assert (in_ist(MOMENT, today=today), at_ist(MOMENT, today=today)) == ("14:05 IST", "at 14:05 IST")
    assert at_ist(MOMENT, today=tomorrow) == "on 23 Nov 2026, 14:05 IST"
