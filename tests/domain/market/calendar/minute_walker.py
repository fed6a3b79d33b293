"""Prints the calendar's answer for minutes given on standard input, from a process with its own time zone.

`test_every_minute` runs it. Each minute is given as a moment of that zone, as the clock of a server there would give it.
"""

import json
import os
import sys
import time
from array import array
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hullwatch.domain.market.calendar import MarketPhase, nse_calendar
from hullwatch.domain.market.instruments import Segment

MINUTE = timedelta(minutes=1)
_STATES = {
    (MarketPhase.CLOSED, False): 0,
    (MarketPhase.CONTINUOUS, True): 1,
    (MarketPhase.CLOSING_AUCTION, True): 2,
    (MarketPhase.CLOSING_AUCTION, False): 3,
}


def walk(first: date, minutes: Iterable[int], zone: ZoneInfo) -> dict[str, str]:
    """Return for each segment one byte for each minute, counted from the Indian day `first`, in hexadecimal."""
    cash = nse_calendar()
    derivatives = cash.of(Segment.EQUITY_DERIVATIVES)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=5, minutes=30)
    of_cash, of_derivatives = bytearray(), bytearray()
    for minute in minutes:
        local = (begin + minute * MINUTE).astimezone(zone)
        of_cash.append(_STATES[cash.phase_at(local), cash.session_at(local) is not None])
        of_derivatives.append(_STATES[derivatives.phase_at(local), derivatives.session_at(local) is not None])
    return {Segment.CASH.value: of_cash.hex(), Segment.EQUITY_DERIVATIVES.value: of_derivatives.hex()}


if __name__ == "__main__":
    time.tzset()
    zone_name = os.environ["TZ"]
    minutes = array("I", sys.stdin.buffer.read())
    zone = ZoneInfo(zone_name)
    # The local time of the process is the local time of the zone.
    now = datetime.now(UTC)
    assert now.astimezone().utcoffset() == now.astimezone(zone).utcoffset()
    sys.stdout.write(json.dumps({"zone": zone_name, **walk(date.fromisoformat(sys.argv[1]), minutes, zone)}))
