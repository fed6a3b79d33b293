from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.fyers.rate_limit import (
    Pacer,
    PacingLimits,
    Pause,
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
delays = st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.9, 1.0, 3.0]), max_size=40)


@NO_DEADLINE
@given(limits, pauses)
def test_calls_at_the_earliest_time_stay_within_the_limits(pacing, gaps):
    """No second and no minute has more than allowed, and no call is earlier than the one before."""
    pacer, now, sent = Pacer(pacing), 0.0, []
    for gap in gaps:
        now = max(now + gap, pacer.earliest(now + gap))
        pacer.admit(NOON)
        pacer.record_sent(now)
        pacer.record_answered(now)
        sent.append(now)

    assert all(later >= earlier - EPSILON for earlier, later in pairwise(sent))
    assert most_within(sent, 1.0) <= pacing.per_second
    assert most_within(sent, 60.0) <= pacing.per_minute


@NO_DEADLINE
@given(limits, delays, st.integers(1, 6))
def test_delayed_sendings_stay_within_the_limits(pacing, gaps, most_unsent):
    """The delay between the admission and the sending may be of any length."""
    pacer, now, unsent, sent = Pacer(pacing), 0.0, 0, []
    for gap in gaps:
        if pacer.earliest(now) <= now and unsent < most_unsent:
            pacer.admit(NOON)
            unsent += 1
        now += gap
        while unsent and gap:
            pacer.record_sent(now)
            pacer.record_answered(now)
            sent.append(now)
            unsent -= 1

    assert most_within(sent, 1.0) <= pacing.per_second
    assert most_within(sent, 60.0) <= pacing.per_minute


@NO_DEADLINE
@given(limits, pauses.filter(bool), st.integers(0, 30))
def test_a_wait_is_known_before_it(pacing, gaps, ahead):
    """`earliest` after calls ahead is when they all have been sent, as far as the limits decide."""
    pacer, now = Pacer(pacing), 0.0
    for gap in gaps:
        now = max(now + gap, pacer.earliest(now + gap))
        pacer.admit(NOON)
        pacer.record_sent(now)
        pacer.record_answered(now)
    expected = pacer.earliest(now, ahead)
    instant = now
    for _ in range(ahead):
        instant = max(instant, pacer.earliest(instant))
        pacer.admit(NOON)
        pacer.record_sent(instant)
        pacer.record_answered(instant)

    actual = max(instant, pacer.earliest(instant))

    assert expected <= actual + EPSILON
    if ahead < min(pacing.per_second, pacing.per_minute):
        assert expected == pytest.approx(actual)


def test_a_call_within_the_limit_does_not_wait():
    """The next call waits until the window has moved."""
    pacer = Pacer(PacingLimits(per_second=2))
    for _ in range(2):
        pacer.admit(NOON)
        pacer.record_sent(0.0)
        pacer.record_answered(0.0)

    assert [pacer.earliest(0.0, ahead) for ahead in range(5)] == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert pacer.earliest(0.5) == 1.0


def test_a_day_ends_at_midnight_in_india():
    """After the last call of the day the answer names midnight IST."""
    pacer = Pacer(PacingLimits(per_day=1))
    late = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)  # 23:30 IST

    assert pacer.day_left_s(late) == 0.0
    pacer.admit(late)
    assert pacer.day_left_s(late) == 1800.0
    assert pacer.day_left_s(late + timedelta(minutes=30)) == 0.0
    pacer.admit(late + timedelta(minutes=30))
    # A clock corrected backwards over midnight gives nothing back.
    assert pacer.day_left_s(late)


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
