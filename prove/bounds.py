"""Upper 95 % bounds of a rate, from failures counted in independent trials."""

import math

CONFIDENCE = 0.95
_ONE_SIDED_Z = 1.6448536269514722
"""The 95 % point of the normal distribution."""


def upper_bound(failures: int, trials: int) -> float:
    """Return the rate that the true one does not exceed, with 95 % confidence; 1 without trials.

    Without failures it is the exact bound of Clopper and Pearson, about 3 / n ("rule of three"); otherwise the
    one-sided score interval of Wilson.
    """
    if not 0 <= failures <= trials:
        raise ValueError(f"{failures} failures of {trials} trials")
    if trials == 0:
        return 1.0
    if failures == 0:
        return 1.0 - math.pow(1.0 - CONFIDENCE, 1.0 / trials)
    rate, square = failures / trials, _ONE_SIDED_Z**2
    centre = rate + square / (2 * trials)
    half = _ONE_SIDED_Z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    return max(rate, min(1.0, (centre + half) / (1 + square / trials)))
