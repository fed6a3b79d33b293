"""Checks of the candles that an open tab receives."""

import asyncio
from datetime import datetime
from typing import Any

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_at, closes_between
from hullwatch.domain.market.instruments import Resolution
from journeys.browser import Tab
from journeys.environment import Environment, until

FIVE = Resolution.parse("5")
LONGEST_READING_S = 60
"""Simulated seconds from a close to the last of its readings, with the pauses after a failed call."""


async def assert_each_candle_came_once(
    environment: Environment, tab: Tab, since: datetime, symbols: int = 1
) -> None:
    """Each candle that has closed since a time came once.

    The clocks move until all came: the newest may have closed less than the settle time ago. A candle that closes meanwhile
    is not counted.
    """
    now, calendar = environment.clock.now(), nse_calendar()
    expected = symbols * closes_between(since, now, FIVE, calendar)
    assert expected > 0

    def received() -> list[tuple[Any, Any]]:
        return [
            (one["symbol"], one["candle"]["openedAt"])
            for one in tab.data("candle")
            if closes_at(datetime.fromisoformat(one["candle"]["openedAt"]), FIVE, calendar) <= now
        ]

    async def have_come() -> bool:
        return len(received()) >= expected

    waiting = asyncio.ensure_future(until(have_come, f"{expected} candles until {now}"))
    try:
        for _ in range(LONGEST_READING_S):
            await asyncio.wait({waiting}, timeout=0.05)
            if waiting.done():
                break
            await environment.advance(1)
        await waiting
    finally:
        waiting.cancel()
    assert len(received()) == len(set(received())) == expected
