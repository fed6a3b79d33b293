"""When a candle's close counts."""

from datetime import UTC, datetime, timedelta

import pytest

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.signals.settling import (
    Reading,
    confirms,
    decides_about_signal,
    later_readings,
    read_again_at,
)
from hullwatch.domain.signals.signals import Rule, WatchSeries

CLOSED = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
SETTLES = CLOSED + timedelta(seconds=3)
MARKET_CLOSE = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def rising(price: float) -> WatchSeries:
    """Return a series whose close is far above its average."""
    series = WatchSeries(4, Rule.CROSS)
    for number in range(12):
        close = price * (1 + number * number / 1000)
        series.feed(Candle(CLOSED + number * timedelta(minutes=5), close, close, close, close, 1))
    return series


@pytest.mark.parametrize("price", [5.0, 250.0, 24_000.0])
def test_closes_near_the_trigger_decide(price: float) -> None:
    """Within 0.1 % or two ticks, whichever is more, on the side without a signal too."""
    series = rising(price)
    trigger = series.trigger
    assert trigger is not None
    margin = max(trigger * 0.001, 0.1)

    assert decides_about_signal([series], trigger + 0.9 * margin)
    assert decides_about_signal([series], trigger - 0.9 * margin)
    assert decides_about_signal([series], trigger * 0.9)
    assert not decides_about_signal([series], trigger + 1.2 * margin)


def test_one_series_of_several_is_enough() -> None:
    """All watches on a feed share its calls."""
    far, near = rising(100.0), rising(200.0)
    assert near.trigger is not None
    assert decides_about_signal([far, near], near.trigger)
    assert not decides_about_signal([], 100.0)


@pytest.mark.parametrize(
    ("earlier", "sent_s", "expected"),
    [
        (None, 9.0, False),
        ((100.0, 1.2), 3.0, True),
        ((100.0, 1.2), 2.9, False),  # before the settle time
        ((100.0, 2.5), 3.4, False),  # less than a second apart
        ((100.1, 1.2), 9.0, False),
    ],
)
def test_two_equal_readings_confirm_a_close(
    earlier: tuple[float, float] | None, sent_s: float, *, expected: bool
) -> None:
    """The second is sent at the settle time at the earliest, and a second after the first was answered."""
    reading = None
    if earlier is not None:
        reading = Reading(earlier[0], CLOSED + timedelta(seconds=earlier[1]))
    sent_at = CLOSED + timedelta(seconds=sent_s)
    assert confirms(reading, 100.0, sent_at=sent_at, settles_at=SETTLES) is expected


def test_the_next_reading_is_as_early_as_it_can_confirm() -> None:
    """A first reading at the settle time is confirmed a second later."""
    assert read_again_at(CLOSED + timedelta(seconds=1.2), SETTLES) == SETTLES
    assert read_again_at(SETTLES, SETTLES) == SETTLES + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("closed_at", "resolution", "minutes"),
    [
        (CLOSED, "5", []),
        (MARKET_CLOSE, "5", [2, 15]),
        (CLOSED + timedelta(minutes=45), "60", [2, 15]),
        (MARKET_CLOSE, "1D", [2, 15]),
    ],
)
def test_long_and_last_candles_are_read_again(
    closed_at: datetime, resolution: str, minutes: list[int]
) -> None:
    """Their closes are corrected longest, the last one by the closing auction."""
    found = later_readings(closed_at, Resolution(resolution), MarketCalendar())
    assert [moment - closed_at for moment in found] == [timedelta(minutes=one) for one in minutes]
