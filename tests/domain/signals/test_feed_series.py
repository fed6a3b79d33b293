"""One feed against a history that is late, corrected and incomplete."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.feed_series import Answer, FeedSeries, FoundSignal, Update
from hullwatch.domain.signals.signals import HistoryChange, Rule, WatchSeries

SBIN, FIVE = Symbol("NSE:SBIN-EQ"), Resolution("5")
OPENING = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
STEP, SECOND = timedelta(minutes=5), timedelta(seconds=1)
SETTLE = timedelta(seconds=3)
CALENDAR = MarketCalendar()
WATCHES = {"cross": Rule.CROSS, "turn": Rule.TURN}
PERIOD = 4


def market(count: int, seed: int = 1) -> list[Candle]:
    """Return candles whose averages cross and turn often."""
    random, price = Random(seed), 100.0
    found = []
    for number in range(count):
        price = round(price + random.choice((-0.6, -0.3, 0.3, 0.6)), 2)
        found.append(Candle(OPENING + number * STEP, price, price, price, price, 1))
    return found


class Feed:
    """A feed with two watches, and the signals that its updates leave in force."""

    def __init__(self, evaluated_through: datetime = OPENING) -> None:
        self.series = FeedSeries(SBIN, FIVE, CALENDAR, SETTLE)
        for watch_id, rule in WATCHES.items():
            self.series.put(watch_id, PERIOD, rule)
        self.evaluated_through = evaluated_through
        self.in_force: dict[tuple[str, datetime], FoundSignal] = {}

    def read(self, history: Sequence[Candle], at: datetime, *, is_whole: bool = False) -> Update:
        """Make a call, and apply what it changed as the journal does."""
        start = OPENING if is_whole else self.series.used.overlap_start or OPENING
        shown = [one for one in history if one.opened_at >= start and one.opened_at + STEP <= at - SECOND]
        update = self.series.record(Answer(shown, start, at, at, is_whole=is_whole), self.evaluated_through)
        for one in update.recalculations:
            for key in [
                key for key in self.in_force if key[0] == one.watch_id and key[1] <= one.covers_through
            ]:
                del self.in_force[key]
            self.in_force |= {(found.watch_id, found.closed_at): found for found in one.signals}
        self.in_force |= {(found.watch_id, found.closed_at): found for found in update.signals}
        if update.accepted:
            self.evaluated_through = max(self.evaluated_through, update.accepted[-1][1])
        return update

    def read_fully(self, history: Sequence[Candle], at: datetime) -> None:
        """Read as monitoring does: again when the close has settled, and the whole history when it changed."""
        update = self.read(history, at, is_whole=not self.series.is_complete)
        for _ in range(10):
            if update.needs_whole:
                update = self.read(history, at, is_whole=True)
            elif update.read_again_at is not None:
                at = update.read_again_at
                update = self.read(history, at)
            else:
                return
        raise AssertionError("the reading does not end")


def signals_of(candles: Sequence[Candle]) -> set[tuple[str, datetime, str]]:
    """Return what a fresh start finds on final candles: watch, close and direction."""
    found = set()
    for watch_id, rule in WATCHES.items():
        series = WatchSeries(PERIOD, rule, SBIN)
        for candle in candles:
            result = series.feed(candle)
            if result.direction is not None:
                found.add((watch_id, candle.opened_at + STEP, result.direction.value))
    return found


def holding(feed: Feed) -> set[tuple[str, datetime, str]]:
    """Return the signals that hold: watch, close and direction."""
    return {(found.watch_id, found.closed_at, found.direction.value) for found in feed.in_force.values()}


def first_deciding(candles: Sequence[Candle], after: int = 10) -> int:
    """Return the number of a candle that is a signal."""
    closes = {closed_at for _, closed_at, _ in signals_of(candles)}
    return next(n for n in range(after, len(candles)) if candles[n].opened_at + STEP in closes)


def read_until(feed: Feed, candles: Sequence[Candle], count: int) -> None:
    """Let the first `count` candles close one after another."""
    for number in range(1, count + 1):
        feed.read_fully(candles[:number], OPENING + number * STEP + SETTLE)


def test_a_deciding_close_counts_when_two_readings_agree() -> None:
    """The second call is sent at the settle time at the earliest, and a second after the first."""
    candles = market(40)
    number = first_deciding(candles)
    feed = Feed()
    read_until(feed, candles, number)
    closed_at = candles[number].opened_at + STEP

    early = feed.read(candles[: number + 1], closed_at + SECOND)
    assert (early.accepted, early.read_again_at) == ((), closed_at + SETTLE)
    too_early = feed.read(candles[: number + 1], closed_at + 2.5 * SECOND)
    assert too_early.accepted == ()
    settled = feed.read(candles[: number + 1], closed_at + SETTLE)

    assert [closed for _, closed in settled.accepted] == [closed_at]
    assert settled.signals


def test_a_close_that_changes_is_read_until_two_readings_agree() -> None:
    """No signal is given for the first version."""
    candles = market(40)
    number = first_deciding(candles)
    feed = Feed()
    read_until(feed, candles, number)
    closed_at = candles[number].opened_at + STEP
    wrong = [*candles[:number], replace(candles[number], close=candles[number - 1].close)]
    feed.read(candles[: number + 1], closed_at + SECOND)

    changed = feed.read(wrong, closed_at + SETTLE)
    feed.read_fully(wrong, closed_at + SETTLE + SECOND)

    assert changed.signals == ()
    assert holding(feed) == signals_of(wrong)


def test_other_closes_are_used_after_one_reading() -> None:
    """Most candles decide nothing and cost one call."""
    candles = [Candle(OPENING + n * STEP, 1.0, 1.0, 1.0, 100.0 + n * n, 1) for n in range(30)]
    feed = Feed()
    read_until(feed, candles, 20)

    update = feed.read(candles[:21], OPENING + 21 * STEP + SECOND)

    assert len(update.accepted) == 1
    assert feed.series.is_early


def test_the_first_settled_reading_is_no_new_history() -> None:
    """A close that was read early once is replaced without a call for the whole history."""
    candles = [Candle(OPENING + n * STEP, 1.0, 1.0, 1.0, 100.0 + n * n, 1) for n in range(30)]
    feed = Feed()
    read_until(feed, candles, 20)
    feed.read(candles[:21], OPENING + 21 * STEP + SECOND)
    final = [*candles[:20], replace(candles[20], close=499.5)]

    update = feed.read(final, OPENING + 21 * STEP + SETTLE + SECOND)

    assert (update.change, update.needs_whole) == (HistoryChange.CANDLE_CORRECTED, False)
    assert holding(feed) == signals_of(final)
    assert feed.series.series["cross"].hma == _average(final)


def _average(candles: Sequence[Candle]) -> float | None:
    series = WatchSeries(PERIOD, Rule.CROSS, SBIN)
    for candle in candles:
        series.feed(candle)
    return series.hma


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda one: [*one[:26], replace(one[26], close=one[26].close + 1), *one[27:]], "candle_corrected"),
        (lambda one: [*one[:26], *one[27:]], "candle_removed"),
        (lambda one: [replace(candle, close=candle.close / 2) for candle in one], "rescaled"),
    ],
)
def test_a_difference_in_the_overlap_needs_the_whole_history(change, kind: str) -> None:
    """No further candle is used before it has come."""
    candles = market(40)
    feed = Feed()
    read_until(feed, candles, 28)
    changed = change(candles[:30])

    update = feed.read(changed, OPENING + 30 * STEP + SETTLE)
    feed.read_fully(changed, OPENING + 30 * STEP + SETTLE + SECOND)

    assert (update.needs_whole, update.accepted, update.change) == (True, (), HistoryChange(kind))
    assert holding(feed) == signals_of(changed)


def test_an_empty_answer_is_no_change_of_history() -> None:
    """Fyers may have no history for a moment, and no signal is withdrawn for that."""
    candles = market(30)
    feed = Feed()
    read_until(feed, candles, 28)
    before = holding(feed)

    for is_whole in (False, True):
        update = feed.read([], OPENING + 29 * STEP + SETTLE, is_whole=is_whole)
        assert (update.change, update.needs_whole) == (None, False)

    assert holding(feed) == before


def test_the_first_candle_of_the_history_comes_later() -> None:
    """A candle that is older than the used ones, but not older than the history that was asked for, is a change."""
    candles = market(30)
    feed = Feed(evaluated_through=candles[19].opened_at + STEP)
    feed.read_fully(candles[1:20], OPENING + 20 * STEP + SETTLE)

    update = feed.read(candles[:20], OPENING + 20 * STEP + SETTLE + SECOND, is_whole=True)

    assert update.change is HistoryChange.CANDLE_ADDED
    assert holding(feed) == signals_of(candles[:20])
    assert feed.series.series["cross"].hma == _average(candles[:20])


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_any_changes_end_in_the_state_of_a_fresh_start(random: Random, rescalings: int) -> None:
    """Corrections, delays and gaps come in any order; in the end the whole history is compared, as each morning."""
    candles = market(45, seed=random.randrange(1000))
    shown = list(candles[:20])
    feed = Feed(evaluated_through=shown[-1].opened_at + STEP)
    for number in range(20, 45):
        if random.random() < 0.85:
            shown = sorted([*shown, candles[number]], key=lambda one: one.opened_at)
        for _ in range(random.randrange(3)):
            index = random.randrange(len(shown))
            action = random.choice(("correct", "remove", "add", "scale" if rescalings else "correct"))
            if action == "correct":
                shown[index] = replace(
                    shown[index], close=round(shown[index].close + random.choice((-1, 1)), 2)
                )
            elif action == "remove" and len(shown) > 15:
                del shown[index]
            elif action == "scale":
                shown = [replace(one, close=round(one.close / 1.5, 2)) for one in shown]
            else:
                opened = {one.opened_at for one in shown}
                missing = [one for one in candles[: number + 1] if one.opened_at not in opened]
                shown = sorted([*shown, *missing], key=lambda one: one.opened_at)
        if random.random() < 0.8:
            feed.read_fully(shown, OPENING + (number + 1) * STEP + random.choice((1, 3, 100)) * SECOND)

    end = OPENING + 46 * STEP
    feed.read_fully(shown, end)
    feed.read(shown, end + SECOND, is_whole=True)

    assert holding(feed) == signals_of(shown)
    assert [close for _, close in feed.series.used] == [one.close for one in shown]
    assert feed.series.series["cross"].hma == _average(shown)
