import asyncio
from datetime import timedelta

import pytest
from fakes.clock import FakeClock

from hullwatch.runtime.waiting import wait_for_event


@pytest.fixture
def clock():
    """Return a clock that only the test advances."""
    return FakeClock()


async def test_an_event_ends_the_wait(clock):
    """The caller learns that it was an event and not the time; the sleeping tasks are gone."""
    event = asyncio.Event()
    waiting = asyncio.create_task(
        wait_for_event(event, clock=clock, until=clock.now() + timedelta(hours=1), within_s=60)
    )
    await clock.settle()

    event.set()

    assert await waiting is True
    await clock.settle()
    assert clock.sleepers == 0


async def test_each_of_several_events_ends_the_wait(clock):
    """A sender waits for new work and for the request to stop at once."""
    work, stop = asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(wait_for_event(work, stop, clock=clock))
    await clock.settle()

    stop.set()

    assert await waiting is True


async def test_an_event_that_is_set_already_ends_the_wait(clock):
    """No clock has to move when the work was there before the call."""
    event = asyncio.Event()
    event.set()

    assert await wait_for_event(event, clock=clock, within_s=60) is True


@pytest.mark.parametrize(
    ("hours", "within_s", "ends_after_s"), [(1, None, 3600), (None, 60, 60), (1, 60, 60)]
)
async def test_the_earlier_limit_ends_the_wait(clock, hours, within_s, ends_after_s):
    """A moment and a number of seconds can be given together; without an event the answer is False."""
    until = None if hours is None else clock.now() + timedelta(hours=hours)
    waiting = asyncio.create_task(
        wait_for_event(asyncio.Event(), clock=clock, until=until, within_s=within_s)
    )

    await clock.advance(ends_after_s - 1)
    assert not waiting.done()
    await clock.advance(1)

    assert await waiting is False


async def test_a_past_moment_ends_the_wait_at_once(clock):
    """Something that is due already must not wait for the next change."""
    past = clock.now() - timedelta(seconds=1)

    assert await wait_for_event(asyncio.Event(), clock=clock, until=past) is False


async def test_a_cancelled_wait_leaves_no_task_behind(clock):
    """A job that is stopped while it waits must not keep sleepers alive."""
    waiting = asyncio.create_task(wait_for_event(asyncio.Event(), clock=clock, within_s=60))
    await clock.settle()

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await clock.settle()
    assert clock.sleepers == 0
