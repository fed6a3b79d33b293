"""Recognises a jump between two closes that looks like a split, a bonus or another corporate action."""

import math
from datetime import datetime
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.instruments import Segment, Symbol

LARGEST_MOVE: Final = 0.2
"""Of an equity overnight. NSE and BSE stop most shares at 20 % a day; the others hardly ever move further."""
RATIOS: Final = (1 / 10, 1 / 5, 1 / 4, 1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3, 3 / 4, 4 / 5, 5 / 6)
"""New price over old price of usual splits and bonuses, from 10 for 1 to one free share for five.

Smaller bonuses are left out: a fall of 10 % also happens without one, and would stop the average for nothing.
"""
RATIO_TOLERANCE: Final = 0.025
"""The usual move of a share from one close to the next one."""

SMALLEST_STEP: Final = max(RATIOS) * (1 + RATIO_TOLERANCE)


def is_like_corporate_action(
    symbol: Symbol, opened_before: datetime, close_before: float, opened_at: datetime, close: float
) -> bool:
    """Whether the step from one candle's close to the next one's cannot be taken for trading.

    Corporate actions take effect between two trading days. Indices have none, and options move as far without one.
    """
    step = close / close_before
    if not 0 < step < math.inf or SMALLEST_STEP < step < 1 / SMALLEST_STEP:
        return False  # nearly every candle, so this comes first
    if ist_date(opened_before) == ist_date(opened_at) or symbol.is_index or symbol.is_option:
        return False
    if symbol.segment is Segment.CASH and abs(step - 1) > LARGEST_MOVE:
        return True
    ratio = min(step, 1 / step)
    return any(abs(ratio / usual - 1) <= RATIO_TOLERANCE for usual in RATIOS)
