"""How far Fyers' clock and the clock of this server are apart."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

FAR_FROM_S: Final = 60.0
"""A clock that is further off must not decide alone that a session has expired."""
LARGEST_FOLLOWED_S: Final = 600.0
"""Candles are read by Fyers' clock up to this offset."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """This machine's clock was set by so many seconds, forward or, if negative, back."""

    at: datetime
    """By the time that counts afterwards."""
    seconds: float
    is_followed: bool
    """Whether the new time counts; otherwise hullwatch keeps the old one, which agrees with Fyers."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Fyers' time minus the time of this server is between `lowest_s` and `highest_s` seconds."""

    lowest_s: float
    highest_s: float

    @property
    def estimate_s(self) -> float:
        """The middle of the bounds."""
        return (self.lowest_s + self.highest_s) / 2

    @property
    def uncertainty_s(self) -> float:
        """How far the true offset can be from the estimate."""
        return (self.highest_s - self.lowest_s) / 2

    @property
    def is_far(self) -> bool:
        """Whether the clocks are surely more than `FAR_FROM_S` apart."""
        return self.lowest_s > FAR_FROM_S or self.highest_s < -FAR_FROM_S

    def earliest(self, now: datetime) -> datetime:
        """Return the earliest time that Fyers' clock can show at `now` of this server."""
        return now + timedelta(seconds=self.lowest_s)

    def surely_reached_at(self, moment: datetime) -> datetime:
        """Return the time of this server at which Fyers' clock has surely reached `moment`."""
        return moment - timedelta(seconds=self.lowest_s)


NO_OFFSET: Final = ClockOffset(0.0, 0.0)
"""Used before Fyers has answered: this server's clock counts as right, which `hullwatch doctor` checks."""
