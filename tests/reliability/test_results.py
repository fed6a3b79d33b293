"""The counts, bounds and stored results of `prove`."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prove import stored_results
from prove.bounds import upper_bound
from prove.parts import PARTS
from prove.result import Conclusion, Count, Durations, Measure, PartResult, Size, add_up, as_json, from_json
from prove.stored_results import CHANGED, keep, read
from prove.table import format_part

RESULT = PartResult(
    part="detection",
    seed=1,
    size=Size.DEFAULT,
    figures=(
        Count("missed", 0, 100, 150),
        Durations("time", (1.0, 3.0), 5.0),
        Measure("memory", 10.0, "%", 12.0),
    ),
    method="by hand",
)


@pytest.mark.parametrize(
    ("failures", "trials", "bound"),
    [
        (0, 1, 0.95),
        (0, 100, 0.029513),
        (0, 1_000_000, 2.99573e-6),
        (1, 100, 0.04358),
        (50, 100, 0.5812),
        (0, 0, 1.0),
    ],
)
def test_upper_bounds(failures: int, trials: int, bound: float) -> None:
    """Without failures as in the tables of Clopper and Pearson, otherwise Wilson's formula worked out by hand."""
    assert upper_bound(failures, trials) == pytest.approx(bound, rel=2e-3)


@given(st.integers(1, 100_000), st.data())
def test_a_bound_lies_between_the_rate_and_one(trials: int, data: st.DataObject) -> None:
    """And it falls with more trials of the same rate."""
    failures = data.draw(st.integers(0, trials))
    bound = upper_bound(failures, trials)
    assert failures / trials <= bound <= 1
    assert upper_bound(2 * failures, 2 * trials) <= bound + 1e-12


def test_a_figure_is_reached_with_enough_trials_and_no_failure() -> None:
    """Too few trials are shown as not reached, one failure too."""
    assert Count("x", 0, 150, 150).conclusion is Conclusion.REACHED
    assert Count("x", 0, 149, 150).conclusion is Conclusion.TOO_FEW
    assert Count("x", 1, 10_000, 150).conclusion is Conclusion.NOT_REACHED
    assert Durations("x", (5.1,), 5.0).conclusion is Conclusion.NOT_REACHED
    assert Durations("x", (), 5.0).conclusion is Conclusion.TOO_FEW
    assert Measure("x", 12.1, "%", 12.0).conclusion is Conclusion.NOT_REACHED
    assert Measure("x", 89.0, "%", 90.0, is_highest=False).conclusion is Conclusion.NOT_REACHED


def test_a_result_survives_json() -> None:
    """With its durations as a tuple and its size as the enum."""
    assert from_json(json.loads(json.dumps(as_json(RESULT)))) == RESULT


def test_runs_of_several_seeds_are_added_up(tmp_path, monkeypatch) -> None:
    """A run with the same seed replaces the first one, and one of the full size the smaller one."""
    monkeypatch.setattr(stored_results, "FOLDER", tmp_path)
    keep(RESULT, "abc")
    keep(RESULT, "abc")
    keep(replace(RESULT, seed=2), "abc")
    missed, time, memory = add_up(read("abc", "detection"))
    assert missed == Count("missed", 0, 200, 150)
    assert time == Durations("time", (1.0, 3.0, 1.0, 3.0), 5.0)
    assert memory == Measure("memory", 10.0, "%", 12.0)
    keep(replace(RESULT, size=Size.FULL, figures=(Count("missed", 0, 1_000, 150),)), "abc")
    assert add_up(read("abc", "detection"))[0] == Count("missed", 0, 1_100, 150)


def test_runs_of_changed_files_are_not_added_up(tmp_path, monkeypatch) -> None:
    """Nobody knows whether two of them ran the same code."""
    monkeypatch.setattr(stored_results, "FOLDER", tmp_path)
    keep(RESULT, "abc" + CHANGED)
    keep(replace(RESULT, seed=2), "abc" + CHANGED)
    assert [one.seed for one in read("abc" + CHANGED, "detection")] == [2]


def test_the_table_shows_what_was_not_reached_or_not_run(tmp_path, monkeypatch) -> None:
    """A part without results is named too."""
    monkeypatch.setattr(stored_results, "FOLDER", tmp_path)
    part = next(part for part in PARTS if part.name == "detection")
    assert format_part(part, "abc").endswith("not run")
    keep(replace(RESULT, figures=(Count("missed", 2, 100, 150),), findings=("seed 7: lost",)), "abc")
    shown = format_part(part, "abc")
    assert "2 of 100 (of 150 wanted)" in shown
    assert "NOT REACHED" in shown
    assert "! seed 7: lost" in shown
