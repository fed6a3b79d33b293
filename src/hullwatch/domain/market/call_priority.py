"""The order in which calls are sent when more calls wait than this server may send."""

from enum import IntEnum
from typing import Final, NamedTuple


class CallClass(IntEnum):
    """What a call is for; a lower class is sent first while candles wait after a close."""

    SECOND_READING = 0
    """A close that would give a signal is read again."""
    CROSSED = 1
    """A closed candle of a line whose last quote has crossed its trigger."""
    DUE = 2
    """Any other closed candle."""
    REBUILD = 3
    """History for which no closed candle waits: a rebuild, the daily comparison, a warm-up off hours."""
    ORDINARY = 4
    """A call of a page, a login or a verification. A limited share of these is sent before all others."""
    QUOTES = 5
    """Quotes of the monitoring cycle. They pause while closed candles wait, see `fyers/rate_limit.py`."""


class CallPriority(NamedTuple):
    """An ordered value: first the class, then the distance."""

    call_class: CallClass
    distance: float = 0.0
    """How far the last price is from the trigger, as a share of the price; infinite if it is unknown."""


ORDINARY_CALL: Final = CallPriority(CallClass.ORDINARY)
MONITORING_QUOTES: Final = CallPriority(CallClass.QUOTES)
