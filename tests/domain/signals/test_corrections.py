"""Stored signals after corrections, compared with the signals on the newest history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.corrections import Corrections, Recomputation, reconcile, withdrawable_from
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule, Signal

SBIN, FIVE = Symbol("NSE:SBIN-EQ"), Resolution("5")
START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
NOW = START + timedelta(days=1)


def opening(number: int) -> datetime:
    """Return when a candle opened."""
    return START + number * timedelta(minutes=5)


def signal(number: int, **changes) -> Signal:
    """Return the signal of a candle, found in time."""
    opened_at, closed_at = opening(number), opening(number + 1)
    whole = Signal(
        "w1", "asha", SBIN, FIVE, 55, Rule.CROSS, Direction.UP, opened_at, closed_at, 100.0, 99.0, closed_at,
        is_late=False,
    )  # fmt: skip
    return replace(whole, **changes)


def recomputed(*signals: Signal, after: int = 0, through: int = 20, first: int = 0) -> Recomputation:
    """Return a recomputation of candles `after` to `through` for a watch that gives signals from candle `first`."""
    return Recomputation(
        "w1", "asha", SBIN, FIVE, 55, Rule.CROSS, opening(first), opening(after), opening(through), signals,
        HistoryChange.RESCALED,
    )  # fmt: skip


def correct(stored: list[Signal], *signals: Signal, window: int = 0, **arguments: int) -> Corrections:
    """Reconcile; signals of candles before `window` are too old to be withdrawn."""
    return reconcile(stored, recomputed(*signals, **arguments), withdraw_from=opening(window), now=NOW)


def applied(stored: list[Signal], found: Corrections) -> list[Signal]:
    """Return the stored signals after the corrections."""
    rows = {one.candle_opened_at: one for one in (*stored, *found.updated, *found.added)}
    return [rows[key] for key in sorted(rows)]


def test_a_signal_that_no_longer_holds_is_withdrawn() -> None:
    """It is kept with the time and the reason."""
    found = correct([signal(1), signal(2)], signal(2))

    assert found == Corrections(
        withdrawn=(signal(1, revision=2, withdrawn_at=NOW, withdrawn_reason=HistoryChange.RESCALED),)
    )


def test_a_missing_signal_is_added_late() -> None:
    """It was found at the time of the correction."""
    assert correct([], signal(3)).added == (signal(3, is_late=True, detected_at=NOW),)


def test_no_signal_is_added_before_the_watch_gives_signals() -> None:
    """A watch that was started at a later close gave no signal then, and gets none."""
    assert correct([], signal(3), signal(4), first=4).added == (signal(4, is_late=True, detected_at=NOW),)


def test_a_stored_signal_is_withdrawn_even_before_the_last_start() -> None:
    """It was notified, although monitoring was stopped and started after it."""
    assert len(correct([signal(3)], first=4).withdrawn) == 1


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("changed", {"direction": Direction.DOWN, "close": 50.0}),
        ("repriced", {"close": 50.0}),
        ("repriced", {"hma": 49.5}),
    ],
)
def test_a_changed_signal_gets_a_new_revision(kind: str, other: dict[str, object]) -> None:
    """It stays on time, because it was found on time. Another direction is more than another price."""
    found = correct([signal(3)], signal(3, detected_at=NOW, **other))

    assert found == Corrections(**{kind: (signal(3, revision=2, **other),)})


def test_a_withdrawn_signal_that_holds_again_is_reinstated() -> None:
    """With the direction and prices of the newest history."""
    gone = signal(3, revision=2, withdrawn_at=START, withdrawn_reason=HistoryChange.OTHER)

    assert correct([gone], signal(3, close=50.0)).reinstated == (signal(3, close=50.0, revision=3),)
    assert correct([gone]) == Corrections()


def test_an_old_signal_is_marked_and_not_withdrawn() -> None:
    """The mark goes when the signal is right again; no old signal is added or changed."""
    marked = signal(1, history_changed_at=NOW)

    assert correct([signal(1)], signal(2), window=5) == Corrections(marked=(marked,))
    assert correct([signal(1)], signal(1, close=50.0), window=5).marked == (marked,)
    assert correct([marked], window=5) == Corrections()
    assert correct([marked], signal(1), window=5).marked == (signal(1),)
    gone = signal(1, revision=2, withdrawn_at=START)
    assert correct([gone], signal(1), window=5) == Corrections()


@pytest.mark.parametrize(
    "other",
    [
        {"period": 21}, {"rule": Rule.TURN}, {"resolution": Resolution("15")}, {"symbol": Symbol("NSE:INFY-EQ")}, {"watch_id": "w2"},
        {"candle_closed_at": opening(0)}, {"candle_closed_at": opening(30)},
    ],
)  # fmt: skip
def test_signals_of_another_definition_or_range_stay(other: dict[str, object]) -> None:
    """A watch that was changed has signals of its earlier definition, which nobody recomputes."""
    assert correct([signal(1, **other)]) == Corrections()
    assert correct([], signal(1, **other)) == Corrections()


@pytest.mark.parametrize(
    ("now", "first_day"),
    [
        (
            datetime(2026, 11, 23, 3, 44, tzinfo=UTC),
            19,
        ),  # Monday before the market opens: Thursday and Friday
        (datetime(2026, 11, 23, 3, 45, tzinfo=UTC), 20),
        (datetime(2026, 11, 24, 3, 0, tzinfo=UTC), 20),
        (datetime(2026, 11, 24, 12, 0, tzinfo=UTC), 23),
    ],
)
def test_two_trading_days_are_withdrawn(now: datetime, first_day: int) -> None:
    """The day of the latest market open and the trading day before it, over a weekend too."""
    assert withdrawable_from(MarketCalendar(), now) == datetime(2026, 11, first_day - 1, 18, 30, tzinfo=UTC)


candles = st.integers(min_value=1, max_value=8)
signals = st.builds(
    lambda number, direction, close: signal(number, direction=direction, close=close),
    candles, st.sampled_from(Direction), st.sampled_from((100.0, 50.0)),
)  # fmt: skip
histories = st.lists(signals, max_size=6, unique_by=lambda one: one.candle_opened_at).map(tuple)


def valid(rows: list[Signal]) -> set[tuple[object, ...]]:
    """Return the signals that hold."""
    return {(one.candle_opened_at, one.direction, one.close) for one in rows if one.withdrawn_at is None}


@settings(max_examples=60, deadline=None)
@given(st.lists(histories, min_size=1, max_size=5), st.integers(min_value=0, max_value=6))
def test_only_the_newest_history_decides_which_signals_hold(
    sequence: list[tuple[Signal, ...]], first: int
) -> None:
    """After any corrections; nothing is lost, revisions only grow, and a repetition changes nothing."""
    rows: list[Signal] = []
    for number, history in enumerate(sequence):
        new = recomputed(*history, first=first)
        now = NOW + timedelta(minutes=number)
        before, rows = rows, applied(rows, reconcile(rows, new, withdraw_from=opening(0), now=now))
        revisions = {one.candle_opened_at: one.revision for one in rows}
        assert all(revisions[one.candle_opened_at] >= one.revision for one in before)
        assert reconcile(rows, new, withdraw_from=opening(0), now=NOW) == Corrections()

    stored = {one.candle_opened_at for one in rows}
    expected = {one for one in sequence[-1] if one.candle_closed_at > opening(first)}
    assert valid(rows) == valid(list(expected))
    assert stored == {
        one.candle_opened_at
        for history in sequence
        for one in history
        if one.candle_closed_at > opening(first)
    }
    assert all(one.is_late for one in rows)


@settings(max_examples=30, deadline=None)
@given(st.lists(histories, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_earlier_corrections_does_not_matter(sequence, random) -> None:
    """With old candles among them: the same signals hold, and the same ones are marked."""
    shuffled = sequence[:-1]
    random.shuffle(shuffled)
    ends = []
    for histories_ in (sequence, [*shuffled, sequence[-1]]):
        rows = [signal(number) for number in range(1, 7)]
        for history in histories_:
            rows = applied(rows, reconcile(rows, recomputed(*history), withdraw_from=opening(4), now=NOW))
        ends.append((valid(rows), {one.candle_opened_at for one in rows if one.history_changed_at}))
    assert ends[0] == ends[1]
