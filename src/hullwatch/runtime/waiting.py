"""Waits for an event or for a time, whichever comes first."""

import asyncio
from datetime import datetime

from hullwatch.runtime.clock import Clock


async def wait_for_event(
    *events: asyncio.Event, clock: Clock, until: datetime | None = None, within_s: float | None = None
) -> bool:
    """Wait until one of the events is set, the moment has come or the seconds have passed.

    Args:
        events: they stay as they are; the caller clears them.
        clock: measures `until` and `within_s`.
        until: an aware moment; None sets no such limit.
        within_s: seconds of the clock, independent of corrections; None sets no such limit.

    Returns:
        Whether one of the events is set. False means that the time ran out.
    """
    waits: list[asyncio.Task[object]] = [
        asyncio.create_task(event.wait(), name="wait_for_event") for event in events
    ]
    if until is not None:
        waits.append(asyncio.create_task(clock.sleep_until(until), name="wait_for_event until"))
    if within_s is not None:
        waits.append(asyncio.create_task(clock.sleep(within_s), name="wait_for_event within"))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return any(event.is_set() for event in events)
