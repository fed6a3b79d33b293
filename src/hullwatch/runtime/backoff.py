"""Delays between repeated attempts."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow by a factor up to a limit, with jitter so that many callers do not return together.

    Attributes:
        first_s: the first delay without jitter.
        factor: growth of each further delay.
        max_s: the longest delay.
        jitter: the random part of a delay, from 0 (none) to 1 (all of it).
    """

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.first_s <= self.max_s and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"impossible backoff: {self}")

    def delay(self, attempt: int, random: Random) -> float:
        """Return the seconds to wait after failure number `attempt`, the first being 1."""
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not {attempt}")
        longest = self.first_s
        for _ in range(attempt - 1):  # a power would overflow after a long outage
            if longest >= self.max_s or self.factor == 1 or longest == 0:
                break
            longest *= self.factor
        longest = min(longest, self.max_s)
        return longest * (1 - self.jitter * random.random())
