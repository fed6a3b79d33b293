"""The public import path of the Hull Moving Average for other programs; it is defined in `domain/signals/hma.py`."""

from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up

__all__ = ["HullMovingAverage", "hull_moving_average", "warm_up"]
