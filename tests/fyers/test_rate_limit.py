import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from fakes.clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.fyers.rate_limit import (
    Account,
    Pace,
    Pacer,
    PacingLimits,
    Pause,
    WaitTooLong,
    seconds_to_midnight,
)

NO_DEADLINE = settings(deadline=None)  # a busy machine is no failure

NOON = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
EPSILON = 2e-6


def most_within(instants: list[float], seconds: float) -> int:
    """Return the largest number of instants in any half-open window of this length."""
    ordered = sorted(instants)
    return max(
        (sum(1 for other in ordered if 0 <= other - first < seconds - EPSILON) for first in ordered),
        default=0,
    )


limits = st.builds(PacingLimits, st.integers(1, 5), st.integers(1, 12), st.just(90_000), st.integers(1, 6))
pauses = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.3, 0.999, 1.0, 7.0, 61.0]), max_size=60)


@NO_DEADLINE
@given(limits, pauses)
def test_reservations_stay_within_the_limits(pacing, gaps):
    """No second and no minute has more than allowed, and the first caller is first."""
    pacer, now, reserved = Pacer(pacing), 0.0, []
    for gap in gaps:
        now += gap
        delay = pacer.reserve(now, NOON, longest_wait_s=1e9)
        reserved.append(now + delay)

    assert all(later >= earlier - EPSILON for earlier, later in pairwise(reserved))
    assert most_within(reserved, 1.0) <= pacing.per_second
    assert most_within(reserved, 60.0) <= pacing.per_minute


@NO_DEADLINE
@given(limits, st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.9, 1.0, 3.0]), max_size=40))
def test_delayed_sendings_stay_within_the_limits(pacing, delays):
    """The delay between the reservation and the sending may be of any length."""
    pacer, now, sent = Pacer(pacing), 0.0, []
    for delay in delays:
        pacer.reserve(now, NOON, longest_wait_s=1e9)
        now += delay
        while (more := pacer.confirm(now)) > 0:
            now += more
        sent.append(now)

    assert most_within(sent, 1.0) <= pacing.per_second
    assert most_within(sent, 60.0) <= pacing.per_minute


def test_a_call_within_the_limit_does_not_wait():
    """The next call waits until the window has moved."""
    pacer = Pacer(PacingLimits(per_second=2))

    assert [pacer.reserve(0.0, NOON) for _ in range(5)] == [0.0, 0.0, 1.0, 1.0, 2.0]


def test_a_wait_that_is_too_long_reserves_nothing():
    """A call that gives up must not use the limit."""
    pacer = Pacer(PacingLimits(per_second=9, per_minute=2))
    pacer.reserve(0.0, NOON)
    pacer.reserve(0.0, NOON)

    assert pacer.reserve(1.0, NOON) == WaitTooLong(59.0)
    assert pacer.reserve(1.0, NOON) == WaitTooLong(59.0)
    assert pacer.reserve(58.0, NOON) == 2.0


def test_a_day_ends_at_midnight_in_india():
    """After the last call of the day the answer names midnight IST."""
    pacer = Pacer(PacingLimits(per_day=1))
    late = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)  # 23:30 IST

    assert pacer.reserve(0.0, late) == 0.0
    assert pacer.reserve(10.0, late) == WaitTooLong(1800.0)
    assert pacer.reserve(1810.0, late + timedelta(minutes=30)) == 0.0
    # A clock corrected backwards over midnight gives nothing back.
    assert isinstance(pacer.reserve(1811.0, late), WaitTooLong)


def test_midnight_is_never_now():
    """At midnight itself the next one is a day away."""
    assert seconds_to_midnight(datetime(2026, 11, 23, 18, 30, tzinfo=UTC)) == 86_400.0
    assert seconds_to_midnight(datetime(2026, 11, 23, 18, 29, 59, tzinfo=UTC)) == 1.0


def test_limits_below_one_are_refused():
    """A limit of zero would stop all calls for ever."""
    with pytest.raises(ValueError, match="impossible pacing"):
        PacingLimits(per_second=0)


def test_each_429_of_a_day_lengthens_the_pause():
    """One minute, then two, four, eight, at most a quarter of an hour; a new day starts anew."""
    pause, now, moment, rests = Pause(), 0.0, NOON, []
    for _ in range(6):
        rests.append(pause.record_limit(now, moment, None))
        now += rests[-1]

    assert rests == [2, 60, 120, 240, 480, 900]
    assert pause.record_limit(now, moment + timedelta(days=1), None) == 60
    assert pause.record_limit(now + 60 + 61, moment + timedelta(days=1), None) == 2


def test_a_time_of_fyers_is_used():
    """It is used as it is, until Fyers would block the account for the day."""
    pause, now, rests = Pause(), 0.0, []
    for _ in range(4):
        rests.append(pause.record_limit(now, NOON, 3.0))
        now += rests[-1]

    assert rests == [3, 3, 3, 480]


def test_a_burst_of_429s_counts_once():
    """The calls were under way when the first answer came."""
    pause = Pause()

    assert [pause.record_limit(0.0, NOON, None), pause.record_limit(1.0, NOON, None)] == [2.0, 1.0]
    assert pause.record_limit(60.0, NOON, None) == 60.0


def test_cloudflare_blocks_lengthen_the_pause():
    """An answer of Fyers itself resets it."""
    pause, random, now, rests = Pause(), Random(1), 0.0, []
    for _ in range(3):
        rests.append(pause.record_block(now, random, None))
        now += rests[-1]
    pause.record_answer()
    after = pause.record_block(now, random, None)

    assert 3.5 <= rests[0] <= 5
    assert 7 <= rests[1] <= 10
    assert 14 <= rests[2] <= 20
    assert 3.5 <= after <= 5
    assert Pause().record_block(0.0, random, 30.0) == 30.0


@NO_DEADLINE
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.0, 0.1, 0.7, 1.0, 2.5]), st.booleans()),
        max_size=40,
    )
)
def test_accounts_and_server_stay_within_their_limits(arrivals):
    """Several accounts, a low global limit and cancelled callers together."""
    pacing = PacingLimits(per_second=2, per_minute=9, per_second_total=3)
    sent: dict[int, list[float]] = {}

    async def scenario() -> None:
        clock = FakeClock()
        pace = Pace(pacing, clock, longest_wait_s=1e9)

        async def call(number: int) -> None:
            if await pace.wait(pace.account(number)) is None:
                sent.setdefault(number, []).append(clock.monotonic())

        calls = []
        for number, pause, gives_up in arrivals:
            await clock.advance(pause)
            calls.append(asyncio.create_task(call(number)))
            if gives_up:
                await clock.settle()
                calls[-1].cancel()
        await clock.advance(600)
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(scenario())

    assert all(most_within(instants, 1.0) <= 2 for instants in sent.values())
    assert all(most_within(instants, 60.0) <= 9 for instants in sent.values())


async def test_the_global_limit_holds_for_all_accounts():
    """Calls are sent in the order in which they came."""
    clock, order = FakeClock(), []
    pace = Pace(PacingLimits(per_second_total=3), clock)

    async def call(number: int) -> None:
        assert await pace.wait(pace.account(number)) is None
        order.append((number, clock.monotonic()))

    calls = [asyncio.create_task(call(number)) for number in range(7)]
    await clock.advance(5)
    await asyncio.gather(*calls)

    assert order == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2)]


async def test_delayed_calls_count_when_they_are_sent():
    """A call delayed into a later second uses the limit of that second."""
    clock, sent = FakeClock(), []
    pace = Pace(PacingLimits(per_second=2, per_second_total=5), clock)

    async def call(key: str) -> None:
        assert await pace.wait(pace.account(key)) is None
        sent.append((key, clock.monotonic()))

    others = [asyncio.create_task(call(f"other {number}")) for number in range(5)]
    await clock.settle()
    held_up = [asyncio.create_task(call("held up")) for _ in range(4)]
    await clock.advance(5)
    await asyncio.gather(*others, *held_up)

    assert [instant for key, instant in sent if key == "held up"] == [1, 1, 2, 2]


async def test_a_paused_account_uses_no_global_limit():
    """Its calls return before they wait for the global limit."""
    clock = FakeClock()
    pace = Pace(PacingLimits(per_second_total=1), clock)
    resting = pace.account("resting")
    resting.pause.record_limit(clock.monotonic(), clock.now(), 30.0)

    assert [await pace.wait(resting) for _ in range(5)] == [WaitTooLong(30.0)] * 5
    assert await pace.wait(pace.account("well")) is None


async def test_a_long_global_wait_is_returned_at_once():
    """The caller gets the seconds until the call would be allowed."""
    clock = FakeClock()
    pace = Pace(PacingLimits(per_second_total=1), clock, longest_wait_s=2.0)
    calls = [asyncio.create_task(pace.wait(pace.account(number))) for number in range(4)]
    await clock.advance(3)

    assert await asyncio.gather(*calls) == [None, None, None, WaitTooLong(3.0)]


async def test_a_429_stops_calls_that_wait():
    """They would be refused too, and lengthen the pause."""
    clock = FakeClock()
    pace = Pace(PacingLimits(per_second=1), clock)
    account = pace.account("a")
    assert await pace.wait(account) is None
    waiting = asyncio.create_task(pace.wait(account))
    await clock.advance(0.5)

    account.pause.record_limit(clock.monotonic(), clock.now(), 10.0)
    await clock.advance(0.5)

    assert await waiting == WaitTooLong(9.5)


async def test_idle_accounts_are_dropped_after_a_day():
    """After a minute only the count of the day is kept."""
    clock = FakeClock()
    pace = Pace(PacingLimits(per_day=2), clock)
    account = pace.account("a")
    await pace.wait(account)
    await clock.advance(120)
    pace.account("b")

    assert pace.account("a") is account
    assert account.pacer._reserved is None
    assert await pace.wait(account) is None
    assert isinstance(await pace.wait(account), WaitTooLong)

    await clock.advance(86_400)
    pace.account("b")

    assert pace.account("a") is not account
    assert len(pace) == 2


async def test_a_busy_account_is_never_dropped():
    """Its calls must not get a second set of limits."""
    clock = FakeClock()
    pace = Pace(PacingLimits(), clock)
    account = pace.account("a")
    account.busy = 1
    await clock.advance(90_000)

    pace.account("b")

    assert pace.account("a") is account


def test_a_new_account_uses_little_memory():
    """Windows are created with the first call."""
    assert Account(PacingLimits()).pacer._sent is None
