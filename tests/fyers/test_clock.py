from email.utils import formatdate
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyers.scripted import ScriptedReply
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.fyers.clock import DRIFT_S, KEPT_FOR_S, FyersClock

EPOCH = 1_764_000_000.0
"""What this server's clock shows at 0 monotonic seconds."""


def answer(
    clock: FyersClock, at_s: float, *, ahead_s: float, took_s: float = 0.1, shown_s: float = 0.05
) -> None:
    """Record an answer received at `at_s`; Fyers wrote its ``Date`` `shown_s` after the sending."""
    fyers_now = EPOCH + at_s - took_s + shown_s + ahead_s
    date = formatdate(int(fyers_now), usegmt=True)
    clock.record(date, sent_s=at_s - took_s, received_s=at_s, now=EPOCH + at_s)


def offset(clock: FyersClock, at_s: float) -> ClockOffset | None:
    """Return the offset at `at_s`."""
    return clock.offset(now_s=at_s, now=EPOCH + at_s)


@settings(deadline=None, max_examples=60)
@given(st.floats(-300, 300), st.integers(0, 10_000), st.floats(0, 3))
def test_the_true_offset_is_always_within_the_bounds(ahead_s, seed, slowest_s):
    """Whatever the latencies and the fractions of the second are."""
    clock, random, at_s = FyersClock(), Random(seed), 10.0
    for _ in range(30):
        at_s += random.uniform(0, 4)
        took_s = random.uniform(0.001, 0.001 + slowest_s)
        answer(clock, at_s, ahead_s=ahead_s, took_s=took_s, shown_s=random.uniform(0, took_s))

    found = offset(clock, at_s)

    assert found is not None
    assert found.lowest_s - 1e-3 <= ahead_s <= found.highest_s + 1e-3


def test_many_fast_answers_give_a_narrow_interval():
    """One answer leaves a whole second; answers at other fractions of the second narrow it."""
    clock = FyersClock()
    for number in range(40):
        answer(clock, 10 + number * 1.07, ahead_s=0.4, took_s=0.02, shown_s=0.01)

    found = offset(clock, 60)

    assert found is not None
    assert found.uncertainty_s < DRIFT_S + 0.05
    assert found.estimate_s == pytest.approx(0.4, abs=0.1)


def test_an_offset_needs_three_answers():
    """A first answer may be the nonsense of a proxy."""
    clock, found = FyersClock(), []
    for at_s in (1.0, 2.2, 3.4):
        answer(clock, at_s, ahead_s=0)
        found.append(offset(clock, at_s))

    assert found[:2] == [None, None]
    assert found[2] is not None


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Nov 2026 99:99:99 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "\x00"]
)
def test_a_missing_or_impossible_date_changes_nothing(date):
    """Middleboxes drop the header or write nonsense into it."""
    clock = FyersClock()
    for at_s in range(1, 6):
        answer(clock, at_s, ahead_s=0.2)
    before = offset(clock, 6)

    clock.record(date, sent_s=5.9, received_s=6.0, now=EPOCH + 6)

    assert offset(clock, 6) == before


def test_single_wrong_dates_change_nothing():
    """One answer in ten comes from a proxy whose clock is 40 s fast."""
    clock = FyersClock()
    for number in range(100):
        answer(clock, 1 + number * 0.73, ahead_s=40 if number % 10 == 9 else 0.2)

    found = offset(clock, 75)

    assert found is not None
    assert found.lowest_s <= 0.2 <= found.highest_s


def test_a_step_of_fyers_clock_is_followed_within_seconds():
    """After it all answers contradict the earlier ones."""
    clock = FyersClock()
    for number in range(20):
        answer(clock, 1 + number, ahead_s=0.2)
    for number in range(5):
        answer(clock, 21.3 + number * 0.9, ahead_s=-7)

    found = offset(clock, 26)

    assert found is not None
    assert found.lowest_s <= -7 <= found.highest_s


def test_a_step_of_this_servers_clock_is_corrected_at_once():
    """The bounds are kept against monotonic time."""
    clock = FyersClock()
    for number in range(5):
        answer(clock, 1 + number, ahead_s=0)

    found = clock.offset(now_s=6, now=EPOCH + 6 + 30)

    assert found is not None
    assert found.lowest_s <= -30 <= found.highest_s


def test_old_answers_are_forgotten():
    """Clocks drift and are corrected."""
    clock = FyersClock()
    for number in range(5):
        answer(clock, 1 + number, ahead_s=0)

    assert offset(clock, KEPT_FOR_S) is not None
    assert offset(clock, KEPT_FOR_S + 60) is None


async def test_the_client_reads_the_clock_from_its_answers(server, client, credential, clock):
    """Three answers that are 20 s ahead, and one from a cache, which shows when it was stored."""
    ahead = formatdate(clock.now().timestamp() + 20, usegmt=True)
    body = {"code": 200, "message": "", "s": "ok", "fund_limit": [{"id": 1}]}
    server.always("/api/v3/funds", ScriptedReply(body=body, headers={"Date": ahead}))
    server.next("/api/v3/funds", ScriptedReply(body=body, headers={"Date": ahead, "Age": "3"}))
    for _ in range(3):
        await client.check_trading(credential)

    assert client.clock_offset() is None
    await client.check_trading(credential)

    assert client.clock_offset() is not None
    assert client.clock_offset().lowest_s <= 20 <= client.clock_offset().highest_s


@pytest.mark.parametrize("ahead_s", [-86_400 * 365, -3600, 3600, 86_400 * 365])
def test_answers_that_agree_for_ten_seconds_show_a_clock_that_is_far_off(ahead_s):
    """Then this server's clock is wrong, and sessions must not expire by it."""
    clock = FyersClock()
    for number in range(4):
        answer(clock, 10 + number * 3, ahead_s=ahead_s)
    assert offset(clock, 20) is None

    answer(clock, 22.5, ahead_s=ahead_s)

    found = offset(clock, 23)
    assert found is not None
    assert found.lowest_s <= ahead_s <= found.highest_s
    assert found.is_far


def test_a_cached_date_of_another_day_is_never_used():
    """A proxy repeats the same answer; its time does not go on."""
    clock = FyersClock()
    date = formatdate(EPOCH - 7200, usegmt=True)
    for number in range(100):
        clock.record(date, sent_s=number - 0.1, received_s=float(number), now=EPOCH + number)

    assert offset(clock, 100) is None


def test_answers_after_a_large_step_of_this_server_go_on_counting():
    """They agree with the earlier ones on monotonic time, so the offset stays known after five minutes."""
    clock = FyersClock()
    for number in range(10):
        answer(clock, 1 + number, ahead_s=0)
    stepped = EPOCH + 7200
    for number in range(400):
        at_s = 12.0 + number
        date = formatdate(int(EPOCH + at_s), usegmt=True)
        clock.record(date, sent_s=at_s - 0.1, received_s=at_s, now=stepped + at_s)

    found = clock.offset(now_s=412, now=stepped + 412)
    assert found is not None
    assert found.lowest_s <= -7200 <= found.highest_s
