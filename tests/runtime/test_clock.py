import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.clock import Clock, ScaledClock, SystemClock, clock_timeout

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class RealTime:
    """Real seconds under a test's control, for `ScaledClock`."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        """Return the real seconds."""
        return self.seconds


@dataclass
class Case:
    """A clock, and how to let a moment of its time (`nap_s`) pass."""

    clock: Clock
    nap_s: float
    pass_time: Callable[[asyncio.Task], Awaitable[None]]


def fake_case() -> Case:
    """A clock moved by hand."""
    clock = FakeClock(NOON)
    return Case(clock, 90.0, lambda task: clock.advance(90))


def scaled_case() -> Case:
    """Another party's clock, a million times faster than life."""
    return Case(ScaledClock(speed=1e6, starts_at=NOON), 90.0, lambda task: task)


def system_case() -> Case:
    """The machine's clock, in naps too short to notice."""
    return Case(SystemClock(), 0.0001, lambda task: task)


@pytest.fixture(params=[fake_case, scaled_case, system_case], ids=["fake", "scaled", "system"])
def case(request):
    """One kind of clock."""
    return request.param()


async def test_the_present_is_aware_and_in_utc(case):
    """Every clock speaks UTC and says so."""
    assert case.clock.now().utcoffset() == timedelta(0)


async def test_a_sleep_lasts_at_least_its_length(case):
    """After a sleep the monotonic scale has moved by no less than was asked."""
    before = case.clock.monotonic()

    sleep = asyncio.create_task(case.clock.sleep(case.nap_s))
    await case.pass_time(sleep)
    await sleep

    assert case.clock.monotonic() - before >= case.nap_s * (1 - 1e-9)


async def test_sleeping_until_a_moment_reaches_it(case):
    """After `sleep_until` the present is at or past the moment."""
    moment = case.clock.now() + timedelta(seconds=case.nap_s)

    sleep = asyncio.create_task(case.clock.sleep_until(moment))
    await case.pass_time(sleep)
    await sleep

    assert case.clock.now() >= moment


@pytest.mark.parametrize("seconds", [0, -5])
async def test_a_sleep_of_nothing_lets_others_run(case, seconds):
    """A sleep of zero or less returns without time passing, yet gives way once."""
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)

    await case.clock.sleep(seconds)
    await case.clock.sleep_until(case.clock.now() - timedelta(seconds=1))

    assert ran.is_set()


async def test_a_cancelled_sleep_ends(case):
    """Cancelling a sleeper ends its sleep with the cancellation."""
    sleep = asyncio.create_task(case.clock.sleep(1e9))
    await asyncio.sleep(0)

    sleep.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sleep


async def test_monotonic_does_not_run_backwards(case):
    """Later readings of the monotonic scale are never smaller."""
    readings = []
    for _ in range(20):
        readings.append(case.clock.monotonic())
        await asyncio.sleep(0)

    assert readings == sorted(readings)


async def test_a_timeout_ends_what_takes_too_long(case):
    """A block that overlasts its time ends with TimeoutError."""

    async def overlast():
        async with clock_timeout(case.clock, case.nap_s):
            await asyncio.Event().wait()

    task = asyncio.create_task(overlast())
    await asyncio.sleep(0)
    await case.pass_time(asyncio.gather(task, return_exceptions=True))

    with pytest.raises(TimeoutError):
        await task


async def test_a_timeout_leaves_quick_work_alone(case):
    """A block that ends in time is not disturbed, and its watchdog is gone afterwards."""
    async with clock_timeout(case.clock, 1e9):
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "clock_timeout"]


async def test_a_cancellation_from_outside_is_not_a_timeout(case):
    """Cancelling the task that waits inside a timeout cancels it, rather than timing it out."""

    async def wait():
        async with clock_timeout(case.clock, 1e9):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_passes_on_the_blocks_own_error(case):
    """An error of the block itself comes out as it is."""
    with pytest.raises(KeyError):
        async with clock_timeout(case.clock, 1e9):
            raise KeyError


async def test_advancing_wakes_sleepers_in_order_at_their_own_moment():
    """Each sleeper wakes at its deadline, in the order of deadlines, chains of sleeps included."""
    clock = FakeClock(NOON)
    woken = []

    async def sleeper(name, *lengths):
        for length in lengths:
            await clock.sleep(length)
            woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("late", 9)), asyncio.create_task(sleeper("chain", 3, 3, 3))]
    await clock.settle()
    assert clock.sleepers == 2
    await clock.advance(10)

    assert woken == [("chain", 3.0), ("chain", 6.0), ("late", 9.0), ("chain", 9.0)]
    assert clock.sleepers == 0
    assert clock.now() == NOON + timedelta(seconds=10)
    await asyncio.gather(*tasks)


async def test_a_cancelled_sleeper_is_not_counted():
    """Only sleeps under way are counted."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.settle()

    task.cancel()
    await clock.settle()

    assert clock.sleepers == 0


async def test_the_fake_clock_advances_to_a_moment():
    """Time can be moved to a moment as well as by seconds, and never backwards."""
    clock = FakeClock(NOON)

    await clock.advance_to(NOON + timedelta(hours=1))

    assert clock.now() == NOON + timedelta(hours=1)
    with pytest.raises(ValueError, match="backwards"):
        await clock.advance(-1)


def test_scaled_time_runs_faster_than_life():
    """One real second is `speed` seconds of the scaled clock, on both of its scales."""
    real = RealTime()
    clock = ScaledClock(speed=60.0, starts_at=NOON, real_monotonic=real)
    before = clock.monotonic()

    real.seconds += 2

    assert clock.now() == NOON + timedelta(minutes=2)
    assert clock.monotonic() - before == pytest.approx(120)


async def test_an_advanced_clock_wakes_its_sleepers():
    """A jump forward wakes those whose time has come and leaves the others asleep."""
    clock = ScaledClock(speed=1.0, starts_at=NOON, real_monotonic=RealTime())
    short, long = asyncio.create_task(clock.sleep(600)), asyncio.create_task(clock.sleep(6000))
    moment = asyncio.create_task(clock.sleep_until(NOON + timedelta(minutes=5)))
    await asyncio.sleep(0)

    clock.synchronise(NOON + timedelta(minutes=10), speed=1.0)
    await asyncio.gather(short, moment)

    assert not long.done()
    long.cancel()


async def test_a_stopped_clock_wakes_when_it_runs_again():
    """At speed 0 a sleeper waits for the clock to be moved."""
    clock = ScaledClock(speed=0.0, starts_at=NOON)
    sleeper = asyncio.create_task(clock.sleep(60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sleeper.done()

    clock.synchronise(NOON, speed=1e6)
    await sleeper

    assert clock.speed == 1e6


def test_a_jump_backwards_does_not_turn_the_monotonic_scale():
    """When the other party's time is set back, the present follows and the monotonic scale stays."""
    clock = ScaledClock(speed=1.0, starts_at=NOON, real_monotonic=RealTime())
    before = clock.monotonic()

    clock.synchronise(NOON - timedelta(days=1), speed=1.0)

    assert clock.now() == NOON - timedelta(days=1)
    assert clock.monotonic() == before


def test_corrections_to_and_fro_do_not_make_time_run_ahead():
    """Readings that jitter with the line's delay leave the monotonic scale close to the other party's time."""
    clock = ScaledClock(speed=60.0, starts_at=NOON, real_monotonic=RealTime())

    for _ in range(100):
        clock.synchronise(NOON + timedelta(seconds=3), speed=60.0)
        clock.synchronise(NOON - timedelta(seconds=3), speed=60.0)

    assert clock.monotonic() <= 10


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1000), st.floats(0, 60)), max_size=20))
def test_synchronising_never_turns_the_monotonic_scale(steps):
    """Whatever the other party's clock is set to, the monotonic scale only moves forward."""
    real = RealTime()
    clock = ScaledClock(speed=60.0, starts_at=NOON, real_monotonic=real)
    readings = [clock.monotonic()]

    for jump_s, speed, real_s in steps:
        real.seconds += real_s
        readings.append(clock.monotonic())
        clock.synchronise(clock.now() + timedelta(seconds=jump_s), speed)
        readings.append(clock.monotonic())

    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(readings))


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_an_impossible_speed_is_refused(speed):
    """A clock runs forward at a finite pace, or stands still."""
    with pytest.raises(ValueError, match="clock cannot run"):
        ScaledClock(speed=speed, starts_at=NOON, real_monotonic=time.monotonic)
