"""The pace of calls over a restart, and while this machine's clock is set."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.market.call_pace import FIRST_MINUTE_CALLS, CallPace
from hullwatch.fyers.call_order import WaitTooLong
from hullwatch.fyers.call_queue import CallQueue
from hullwatch.fyers.rate_limit import PacingLimits

ASHA, LOGIN = ("HULLWATCH-100", "XA00001"), ("HULLWATCH-100", None)
TODAY = date(2026, 11, 23)


class Process:
    """A process with its queue; the clock goes on from one to the next."""

    def __init__(self, clock: FakeClock, **limits: int) -> None:
        self.clock = clock
        self.queue = CallQueue(PacingLimits(**limits), clock, longest_wait_s=0.0)

    def after_kill(self, **limits: int) -> "Process":
        """Return the next process after a kill, with what is stored."""
        return self._next(is_clean=False, **limits)

    def after_stop(self) -> "Process":
        """Return the next process after an orderly stop."""
        return self._next(is_clean=True)

    def _next(self, *, is_clean: bool, **limits: int) -> "Process":
        process = Process(self.clock, **limits)
        process.queue.restore(self.queue.paces(), is_clean=is_clean)
        return process

    async def send(self, calls: int, key: tuple[str, str | None] = ASHA) -> int:
        """Make calls, eight a second as the limit allows; return how many were sent."""
        sent = 0
        for number in range(calls):
            account = self.queue.account(key)
            if await self.queue.admit(account) is None:
                sent += 1
                self.queue.release(account)
            if number % 8 == 7:
                await self.clock.advance(1.01)
        return sent

    def stored(self) -> CallPace:
        """Return Asha's pace."""
        [pace] = [one for one in self.queue.paces() if one.fyers_id == "XA00001"]
        return pace


@pytest.fixture
def process(clock: FakeClock) -> Process:
    """Return a process that follows no other one."""
    return Process(clock)


async def test_after_a_kill_an_account_has_thirty_calls_for_a_minute(process: Process) -> None:
    """The killed process may have sent 170 of Fyers' 200; an account that calls later waits for the same minute."""
    await process.send(20)
    killed = process.after_kill()

    assert await killed.send(60) == FIRST_MINUTE_CALLS
    assert await killed.send(40, ("HULLWATCH-100", "XB00002")) == FIRST_MINUTE_CALLS
    await process.clock.advance(60)

    assert await killed.send(100) == 100
    assert await killed.send(100, ("HULLWATCH-100", "XC00003")) == 100


async def test_lower_limits_hold_after_a_kill(process: Process) -> None:
    """An operator's own limit of a minute can be lower than the calls of the first minute."""
    assert await process.after_kill(per_minute=20).send(40) == 20


async def test_a_first_start_and_an_orderly_stop_limit_nothing_more(process: Process) -> None:
    """After a stop the calls of the last minute still count."""
    assert await process.send(100) == 100

    stopped = process.after_stop()

    assert await stopped.send(100) == 70


async def test_the_days_calls_are_not_forgotten(clock: FakeClock) -> None:
    """Fyers counts them until midnight; the next day begins with none."""
    process = Process(clock, per_day=25)
    assert await process.send(20) == 20
    await clock.advance(120)

    killed = process.after_kill(per_day=25)

    assert await killed.send(20) == 5
    assert killed.stored().calls == 25
    await clock.advance(86_400)
    assert await killed.send(20) == 20


async def test_a_wait_that_fyers_asked_for_is_not_forgotten(process: Process) -> None:
    """Calls during the wait can get the account blocked for the day."""
    account = process.queue.account(ASHA)
    account.pause.record_limit(process.clock.monotonic(), process.clock.now(), 900.0)

    killed = process.after_kill()

    refusal = await killed.queue.admit(killed.queue.account(ASHA))
    assert refusal == WaitTooLong(pytest.approx(900))
    assert killed.stored().limits == 1
    await process.clock.advance(901)
    assert await killed.send(1) == 1


async def test_a_wait_from_a_wrong_clock_ends_at_midnight(process: Process) -> None:
    """The stored time can be years ahead."""
    await process.send(1)
    wrong = replace(process.stored(), paused_until=process.clock.now() + timedelta(days=3650))
    process.queue.restore([wrong], is_clean=True)

    refusal = await process.queue.admit(process.queue.account(ASHA))

    assert isinstance(refusal, WaitTooLong)
    assert refusal.retry_after_s <= 86_400


async def test_calls_of_logins_have_a_pace_too(process: Process) -> None:
    """They count for the app, before the account is known."""
    await process.send(3, LOGIN)

    assert [(one.fyers_id, one.calls, one.day) for one in process.queue.paces()] == [("", 3, TODAY)]
    assert process.after_kill().queue.paces()[0].calls == 3


@pytest.mark.parametrize("seconds", [-86_400 * 3650, -7200, 7200, 86_400 * 3650])
async def test_a_set_clock_changes_no_pace(process: Process, seconds: float) -> None:
    """The limits of second and minute count on a scale that no setting changes, and so do waits."""
    assert await process.send(160) == 160
    process.clock.step(seconds)
    process.clock.accept_step()

    assert await process.send(20) == 10
    account = process.queue.account(ASHA)
    account.pause.record_limit(process.clock.monotonic(), process.clock.now(), 100.0)
    process.clock.step(-seconds)
    process.clock.accept_step()

    assert account.pause.left_s(process.clock.monotonic()) == 100
