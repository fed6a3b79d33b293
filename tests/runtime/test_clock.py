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

from hullwatch.runtime.clock import Clock, ScaledClock, SystemClock, clock_timeout, seconds_since_boot

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class RealTime:
    """Real seconds that only the test advances, for `ScaledClock`."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        """Return the real seconds."""
        return self.seconds


@dataclass
class Case:
    """A clock, and a way to let a moment of its time (`nap_s`) pass."""

    clock: Clock
    nap_s: float
    pass_time: Callable[[asyncio.Task], Awaitable[None]]


def fake_case() -> Case:
    """Return a clock that is advanced by hand."""
    clock = FakeClock(NOON)
    return Case(clock, 90.0, lambda task: clock.advance(90))


def scaled_case() -> Case:
    """Return a clock a million times faster than real time."""
    return Case(ScaledClock(speed=1e6, starts_at=NOON), 90.0, lambda task: task)


def system_case() -> Case:
    """Return the machine's clock with short sleeps."""
    return Case(SystemClock(), 0.0001, lambda task: task)


@pytest.fixture(params=[fake_case, scaled_case, system_case], ids=["fake", "scaled", "system"])
def case(request):
    """Return one kind of clock."""
    return request.param()


async def test_the_present_is_aware_and_in_utc(case):
    """Local times would make stored moments ambiguous."""
    assert case.clock.now().utcoffset() == timedelta(0)


async def test_a_sleep_lasts_at_least_its_length(case):
    """A job that wakes early would find nothing due."""
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
async def test_a_sleep_of_zero_lets_others_run(case, seconds):
    """A loop that sleeps for zero or less must not block the event loop."""
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)

    await case.clock.sleep(seconds)
    await case.clock.sleep_until(case.clock.now() - timedelta(seconds=1))

    assert ran.is_set()


async def test_a_cancelled_sleep_ends(case):
    """The cancellation reaches the sleeper."""
    sleep = asyncio.create_task(case.clock.sleep(1e9))
    await asyncio.sleep(0)

    sleep.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sleep


async def test_monotonic_does_not_run_backwards(case):
    """Intervals are measured with it, so it must never decrease."""
    readings = []
    for _ in range(20):
        readings.append(case.clock.monotonic())
        await asyncio.sleep(0)

    assert readings == sorted(readings)


async def test_a_timeout_ends_a_slow_block(case):
    """A block that takes longer ends with TimeoutError."""

    async def overlast():
        async with clock_timeout(case.clock, case.nap_s):
            await asyncio.Event().wait()

    task = asyncio.create_task(overlast())
    await asyncio.sleep(0)
    await case.pass_time(asyncio.gather(task, return_exceptions=True))

    with pytest.raises(TimeoutError):
        await task


async def test_a_timeout_does_not_disturb_a_quick_block(case):
    """Its watchdog task is gone afterwards."""
    async with clock_timeout(case.clock, 1e9):
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "clock_timeout"]


async def test_a_cancellation_from_outside_is_not_a_timeout(case):
    """The caller must see CancelledError, or a stopping job would go on."""

    async def wait():
        async with clock_timeout(case.clock, 1e9):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_raises_the_error_of_its_block(case):
    """An error of the block itself is not replaced."""
    with pytest.raises(KeyError):
        async with clock_timeout(case.clock, 1e9):
            raise KeyError


async def test_sleepers_wake_in_order_at_their_own_moment():
    """Chains of sleeps within one `advance` are included."""
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
    """Tests wait for a number of sleepers, so only running sleeps count."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.settle()

    task.cancel()
    await clock.settle()

    assert clock.sleepers == 0


async def test_the_fake_clock_advances_to_a_moment():
    """It can be moved to a moment as well as by seconds, and never backwards."""
    clock = FakeClock(NOON)

    await clock.advance_to(NOON + timedelta(hours=1))

    assert clock.now() == NOON + timedelta(hours=1)
    with pytest.raises(ValueError, match="backwards"):
        await clock.advance(-1)


def test_scaled_time_runs_faster_than_real_time():
    """One real second is `speed` seconds on both scales of the clock."""
    real = RealTime()
    clock = ScaledClock(speed=60.0, starts_at=NOON, real_monotonic=real)
    before = clock.monotonic()

    real.seconds += 2

    assert clock.now() == NOON + timedelta(minutes=2)
    assert clock.monotonic() - before == pytest.approx(120)


async def test_a_jump_forward_wakes_due_sleepers():
    """Sleepers with a later deadline stay asleep."""
    clock = ScaledClock(speed=1.0, starts_at=NOON, real_monotonic=RealTime())
    short, long = asyncio.create_task(clock.sleep(600)), asyncio.create_task(clock.sleep(6000))
    moment = asyncio.create_task(clock.sleep_until(NOON + timedelta(minutes=5)))
    await asyncio.sleep(0)

    clock.synchronise(NOON + timedelta(minutes=10), speed=1.0)
    await asyncio.gather(short, moment)

    assert not long.done()
    long.cancel()


async def test_a_sleeper_of_a_stopped_clock_wakes_after_a_jump():
    """At speed 0 only `synchronise` moves the time."""
    clock = ScaledClock(speed=0.0, starts_at=NOON)
    sleeper = asyncio.create_task(clock.sleep(60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sleeper.done()

    clock.synchronise(NOON, speed=1e6)
    await sleeper

    assert clock.speed == 1e6


def test_a_jump_backwards_leaves_the_monotonic_scale():
    """The present follows the other clock, and monotonic time never decreases."""
    clock = ScaledClock(speed=1.0, starts_at=NOON, real_monotonic=RealTime())
    before = clock.monotonic()

    clock.synchronise(NOON - timedelta(days=1), speed=1.0)

    assert clock.now() == NOON - timedelta(days=1)
    assert clock.monotonic() == before


def test_small_corrections_do_not_make_time_run_ahead():
    """Readings vary with the network delay; the monotonic scale stays close to the other clock."""
    clock = ScaledClock(speed=60.0, starts_at=NOON, real_monotonic=RealTime())

    for _ in range(100):
        clock.synchronise(NOON + timedelta(seconds=3), speed=60.0)
        clock.synchronise(NOON - timedelta(seconds=3), speed=60.0)

    assert clock.monotonic() <= 10


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1000), st.floats(0, 60)), max_size=20))
def test_synchronising_never_decreases_the_monotonic_scale(steps):
    """This holds for every sequence of readings."""
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
    """A clock runs forward at a finite speed, or is stopped."""
    with pytest.raises(ValueError, match="clock cannot run"):
        ScaledClock(speed=speed, starts_at=NOON, real_monotonic=time.monotonic)


class Machine:
    """A machine's clocks, which only the test moves."""

    def __init__(self):
        self.wall_s, self.boot_s = NOON.timestamp(), 500.0
        self.clock = SystemClock(lambda: self.wall_s, lambda: self.boot_s)

    def run(self, seconds):
        """Let time pass, awake or suspended."""
        self.wall_s += seconds
        self.boot_s += seconds


@pytest.mark.parametrize("step_s", [-1e9, -3600, -2, 2, 300, 1e9])
def test_a_step_of_the_machine_counts_when_it_is_accepted(step_s):
    """Nothing meets a jump before it is decided which time is right."""
    machine = Machine()
    machine.wall_s += step_s
    machine.run(1)
    assert machine.clock.now() == NOON + timedelta(seconds=1)
    assert machine.clock.pending_step_s == pytest.approx(step_s)

    machine.clock.accept_step()

    assert machine.clock.now() == NOON + timedelta(seconds=1 + step_s)
    assert machine.clock.pending_step_s == 0


def test_small_corrections_of_the_machine_are_followed():
    """Time synchronisation sets a clock by less than two seconds; many such corrections are no step."""
    machine = Machine()
    for _ in range(10):
        machine.wall_s += 1.5
        assert machine.clock.now().timestamp() == machine.wall_s

    assert machine.clock.pending_step_s == 0


def test_suspended_time_is_no_step():
    """Both scales count it, so jobs that became due meanwhile are due."""
    machine = Machine()
    before = machine.clock.monotonic()
    machine.run(8 * 3600)

    assert machine.clock.pending_step_s == 0
    assert machine.clock.now() == NOON + timedelta(hours=8)
    assert machine.clock.monotonic() - before == 8 * 3600


def test_a_process_that_is_stopped_between_two_readings_sees_no_step():
    """The time is read again then."""
    readings = iter([500.0, 9500.0, 9500.0, 9500.0])
    machine = Machine()
    machine.run(9000)
    machine.clock._monotonic = lambda: next(readings, 9500.0)

    assert machine.clock.pending_step_s == 0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no CLOCK_BOOTTIME")
def test_the_machines_monotonic_scale_counts_suspended_time():
    """`time.monotonic` does not."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= seconds_since_boot() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_sleep_ends_when_the_machine_was_suspended():
    """The timers of the event loop do not count suspended time, so a long sleep reads the clock in between."""
    machine = Machine()
    sleeps = [
        asyncio.create_task(machine.clock.sleep(60)),
        asyncio.create_task(machine.clock.sleep_until(NOON + timedelta(seconds=60))),
    ]
    await asyncio.sleep(0)
    machine.run(3600)

    await asyncio.gather(*sleeps)

    assert machine.clock.now() == NOON + timedelta(hours=1)


async def test_a_step_wakes_nobody_early_or_late():
    """A sleep lasts as long as it was meant to, and a moment comes when it is accepted."""
    clock = FakeClock(NOON)
    sleep = asyncio.create_task(clock.sleep(60))
    moment = asyncio.create_task(clock.sleep_until(NOON + timedelta(minutes=30)))
    await clock.settle()

    clock.step(3600)
    await clock.advance(1)
    assert not sleep.done()
    assert not moment.done()
    clock.accept_step()
    await clock.settle()

    assert moment.done()
    assert not sleep.done()
    await clock.advance(60)
    assert sleep.done()


def test_jumps_of_a_followed_clock_are_no_steps():
    """They move `now` and `monotonic` together."""
    clock = ScaledClock(speed=1.0, starts_at=NOON, real_monotonic=RealTime())

    clock.synchronise(NOON + timedelta(days=1), speed=1.0)

    assert clock.pending_step_s == 0
    assert clock.now() == NOON + timedelta(days=1)
