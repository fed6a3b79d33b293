"""Steps of this machine's clock; `hullwatch.services.clock_monitor`."""

from datetime import timedelta

import pytest
from fakes.broker import FakeBroker
from fakes.clock import FakeClock

from hullwatch.domain.market.clock_offset import ClockOffset, ClockStep
from hullwatch.runtime.clock import ScaledClock
from hullwatch.services.clock_monitor import ClockMonitor


class Case:
    """A monitor, what Fyers' answers show, and what listeners received."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.broker = FakeBroker(self.clock)
        self.monitor = ClockMonitor(self.clock, self.broker.clock_offset)
        self.steps: list[ClockStep | None] = []
        self.monitor.subscribe(self.steps.append)
        self.began_at = self.clock.now()

    def step(self, seconds: float) -> None:
        """Set the machine's clock and let the monitor check."""
        self.clock.step(seconds)
        self.monitor.check()


@pytest.fixture
def case() -> Case:
    """Return a clock that is right."""
    return Case()


@pytest.mark.parametrize("seconds", [-86_400 * 365, -300, 300, 3600, 86_400 * 365])
def test_a_step_that_fyers_contradicts_is_not_followed(case: Case, seconds: float) -> None:
    """The time is kept until the machine's clock is right again."""
    case.broker.keep_own_time()

    case.step(seconds)
    case.monitor.check()

    assert case.clock.now() == case.began_at
    assert case.steps == [ClockStep(case.began_at, seconds, is_followed=False)]
    assert not case.monitor.is_reliable
    assert "hullwatch keeps the earlier time" in case.monitor.problem()

    case.step(-seconds)

    assert case.monitor.is_reliable
    assert case.monitor.problem() == ""
    assert case.steps[1:] == [None]


def test_a_step_that_fyers_confirms_is_followed(case: Case) -> None:
    """The clock was wrong and has been set right; then sessions may expire by it."""
    case.broker.offset = ClockOffset(3599.5, 3600.5)
    case.monitor.check()
    assert not case.monitor.is_reliable
    assert "The clock is 60 minutes behind Fyers." in case.monitor.problem()

    case.broker.keep_own_time()
    right = case.broker.own_time
    case.broker.own_time = lambda: right() + timedelta(hours=1)
    case.step(3600)

    assert case.clock.now() == case.began_at + timedelta(hours=1)
    assert case.steps[-1] == ClockStep(case.clock.now(), 3600, is_followed=True)
    assert case.monitor.is_reliable


def test_a_step_without_evidence_is_followed_and_not_trusted(case: Case) -> None:
    """The operator's clock counts, but no session expires by it until Fyers has confirmed it."""
    case.step(3600)

    assert case.clock.now() == case.began_at + timedelta(hours=1)
    assert not case.monitor.is_reliable
    assert "was set forward by 60 minutes" in case.monitor.problem()

    case.monitor.check()
    assert not case.monitor.is_reliable
    case.broker.keep_own_time()
    case.monitor.check()

    assert case.monitor.is_reliable
    assert case.steps == [ClockStep(case.began_at + timedelta(hours=1), 3600, is_followed=True), None]


def test_a_wrong_step_stays_wrong_without_new_answers(case: Case) -> None:
    """At night nobody calls Fyers, and its time becomes unknown."""
    case.broker.keep_own_time()
    case.step(3600)

    case.broker.shows_time = False
    case.monitor.check()

    assert case.clock.now() == case.began_at
    assert not case.monitor.is_reliable


def test_a_second_step_is_judged_anew(case: Case) -> None:
    """The clock is set wrong, and then wrong in another way."""
    case.broker.keep_own_time()
    case.step(3600)
    case.step(600)

    assert [step.seconds for step in case.steps if step] == [3600, 4200]
    assert case.clock.now() == case.began_at


@pytest.mark.parametrize(("ahead_s", "is_reliable"), [(59, True), (-59, True), (61, False), (-61, False)])
def test_a_clock_a_minute_off_is_not_reliable(case: Case, ahead_s: float, *, is_reliable: bool) -> None:
    """The bounds of Fyers' time have to show it surely."""
    case.broker.offset = ClockOffset(ahead_s - 0.5, ahead_s + 0.5)
    case.monitor.check()

    assert case.monitor.is_reliable is is_reliable

    case.broker.offset = None
    case.monitor.check()
    assert case.monitor.is_reliable is is_reliable, "unknown: as it was last known"


def test_steps_of_the_machine_do_not_concern_a_followed_clock() -> None:
    """Markets and sessions keep the simulator's time."""
    machine = FakeClock()

    class Followed(ScaledClock):
        @property
        def real(self) -> FakeClock:
            return machine

    followed = Followed(speed=1.0, starts_at=machine.now(), real_monotonic=machine.monotonic)
    monitor, steps = ClockMonitor(followed, lambda: None), []
    monitor.subscribe(steps.append)
    machine.step(3600)
    monitor.check()

    assert (steps, machine.pending_step_s, monitor.is_reliable) == ([], 0, True)
