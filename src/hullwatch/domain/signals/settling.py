"""When a candle's close counts: the one rule for monitoring, for the page and for the API.

How soon Fyers' history has the final close of a candle is unknown; ticks of another Indian broker arrive up to
three seconds late. A close that decides about a signal is therefore read twice. The other closes are read once,
and the next call for the symbol shows whether they have changed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.signals.signals import WatchSeries

FIRST_READING: Final = timedelta(seconds=1)
"""Between a close and the first call for a line whose last price decides about a signal; its second call confirms it.

The other lines have their only reading at the settle time.
"""
SETTLE_TIME: Final = timedelta(seconds=3)
"""Default of CANDLE_SETTLE_SECONDS: between a close and the call that can confirm it."""
READINGS_APART: Final = timedelta(seconds=1)
"""Between two readings that confirm a close; Fyers may answer two calls at once from one stored answer."""
SIGNAL_MARGIN: Final = 0.001
SIGNAL_MARGIN_INR: Final = 0.1
"""Two ticks of the instruments so cheap that two ticks are more than `SIGNAL_MARGIN`: 0.05 each."""
LATER_READINGS: Final = (timedelta(minutes=2), timedelta(minutes=15))
"""After the close of a long candle and of a session's last one: the second is after the closing auction."""
LONG_CANDLE: Final = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Reading:
    """A close as one call gave it."""

    close: float
    answered_at: datetime


def decides_about_signal(series: Iterable[WatchSeries], *closes: float) -> bool:
    """Whether the next candle is a signal of one series with a close between these, or a little beside them."""
    lowest, highest = min(closes), max(closes)
    # Whole paise, outwards: averages count in them, and other prices cost them several times the CPU.
    lower = max(math.floor((lowest - _margin(lowest)) * 100), 1) / 100
    upper = math.ceil((highest + _margin(highest)) * 100) / 100
    # The closes that give a signal are all above one price, or all below it: no signal between two ends without one.
    return any(one.next_direction(price) is not None for one in series for price in (lower, upper))


def _margin(close: float) -> float:
    return max(close * SIGNAL_MARGIN, SIGNAL_MARGIN_INR)


def confirms(earlier: Reading | None, close: float, *, sent_at: datetime, settles_at: datetime) -> bool:
    """Whether a close that a call sent at `sent_at` has read counts, because an earlier reading agrees with it."""
    return (
        earlier is not None
        and earlier.close == close
        and sent_at - earlier.answered_at >= READINGS_APART
        and sent_at >= settles_at
    )


def read_again_at(answered_at: datetime, settles_at: datetime) -> datetime:
    """Return when the next reading of a close can confirm it."""
    return max(answered_at + READINGS_APART, settles_at)


def later_readings(
    closed_at: datetime, resolution: Resolution, calendar: MarketCalendar
) -> tuple[datetime, ...]:
    """Return when a candle that has been used is read again for a correction of its close."""
    is_last = calendar.session_at(closed_at) is None
    if resolution.length < LONG_CANDLE and not is_last:
        return ()
    return tuple(closed_at + wait for wait in LATER_READINGS)
