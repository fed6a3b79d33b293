"""What one account's newest blind stretch is, while it lasts: so that what is found in it is marked late. How stretches add up is in the domain."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Gap:
    """Where the account is blind from, as far as the cycle under way can know."""

    since: datetime | None = None
    """From where on nothing was watched; `None` while all is well."""
    covered_until: datetime | None = None
    """Up to where the cycles before the one under way have watched."""
    overlasts_at: datetime | None = None
    """When the cycle under way has taken so long that the next one has fallen out."""

    def holds(self, closed_at: datetime, now: datetime) -> bool:
        """Whether a candle that closed then fell into the gap: however soon it is found after the repair, nobody was told in time."""
        since = self.since
        if since is None and self.overlasts_at is not None and now >= self.overlasts_at:
            since = self.covered_until
        return since is not None and closed_at >= since
