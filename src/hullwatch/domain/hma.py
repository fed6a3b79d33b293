"""The public name of the Hull Moving Average: `hullwatch.domain.signals.hma` under the address that other programs import."""

from hullwatch.domain.signals.hma import HullMovingAverage, hull_moving_average, warm_up

__all__ = ["HullMovingAverage", "hull_moving_average", "warm_up"]
