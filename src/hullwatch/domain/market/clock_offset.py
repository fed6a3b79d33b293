"""How far Fyers' clock and the clock of this server are apart."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final


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

    def earliest(self, now: datetime) -> datetime:
        """Return the earliest time that Fyers' clock can show at `now` of this server."""
        return now + timedelta(seconds=self.lowest_s)

    def surely_reached_at(self, moment: datetime) -> datetime:
        """Return the time of this server at which Fyers' clock has surely reached `moment`."""
        return moment - timedelta(seconds=self.lowest_s)


NO_OFFSET: Final = ClockOffset(0.0, 0.0)
"""Used before Fyers has answered: this server's clock counts as right, which `hullwatch doctor` checks."""
