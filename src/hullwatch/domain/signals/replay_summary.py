"""Figures that help to judge a rule by its replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.signals.replay import ReplayReport
from hullwatch.domain.signals.signals import Direction, Rule

WHIPSAW_CANDLES: Final = 3
MOVE_CANDLES: Final = (6, 12)


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """The figures of one rule over one replay."""

    rule: Rule
    signals: int
    days: int
    """Days in IST with an average, so days on which the rule could give a signal."""
    whipsaws: int
    """Signals that the opposite signal follows within `WHIPSAW_CANDLES` candles."""
    median_moves: tuple[float | None, ...]
    """Per cent from the close of the signal to the close of each of `MOVE_CANDLES` later; above 0 in the signal's
    direction; `None` without a signal that has so many later candles."""

    @property
    def signals_per_day(self) -> float:
        """Signals divided by days; 0 without a day."""
        return self.signals / self.days if self.days else 0.0


def summarise(report: ReplayReport, rules: Sequence[Rule]) -> tuple[RuleSummary, ...]:
    """Return one summary for each rule. Candles are counted as they follow each other, across days."""
    index_of = {row.candle.opened_at: index for index, row in enumerate(report.rows)}
    days = len({ist_date(row.candle.opened_at) for row in report.rows if row.hma is not None})
    summaries = []
    for rule in rules:
        found = [
            (index_of[signal.candle_opened_at], signal.direction)
            for signal in report.signals
            if signal.rule is rule
        ]
        whipsaws = sum(
            later - earlier <= WHIPSAW_CANDLES and direction is not opposite
            for (earlier, direction), (later, opposite) in pairwise(found)
        )
        moves = tuple(_median_move(report, found, candles) for candles in MOVE_CANDLES)
        summaries.append(RuleSummary(rule, len(found), days, whipsaws, moves))
    return tuple(summaries)


def _median_move(report: ReplayReport, found: Sequence[tuple[int, Direction]], candles: int) -> float | None:
    moves = []
    for index, direction in found:
        if index + candles < len(report.rows):
            close = report.rows[index].candle.close
            move = (report.rows[index + candles].candle.close / close - 1) * 100
            moves.append(move if direction is Direction.UP else -move)
    return median(moves) if moves else None
