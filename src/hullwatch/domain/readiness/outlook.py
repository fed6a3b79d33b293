"""What a user has to do before the next bell, as known after the close of a day: whether a login at Fyers is needed, and from when on one lasts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.tokens import next_daily_expiry

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How one account will stand when the next trading session opens, if nobody does anything."""

    opens_at: datetime
    """The next bell of what the account watches."""
    ends_at: datetime | None
    """The known end of the session that lives; `None` without one."""
    log_in_from: datetime
    """A login before this ends before the bell: all of them end at 06:00 IST."""
    expiry_note: str = ""
    """A sentence about what an optional feature does at the session's expiry."""

    @property
    def needs_login(self) -> bool:
        """Whether nothing is watched at the bell unless there is another login."""
        return self.ends_at is None or self.ends_at <= self.opens_at


def outlook(connection: Connection, *, opens_at: datetime, expiry_note: str = "") -> Outlook:
    """Return how an account will stand at the next bell.

    Args:
        connection: The account's session, or what became of it.
        opens_at: The next bell.
        expiry_note: A sentence about what an optional feature does at the session's expiry.
    """
    # A session whose end is not known counts as every login does.
    ends_at = connection.expires_at or next_daily_expiry(connection.connected_at or opens_at - _A_DAY)
    return Outlook(
        opens_at=opens_at,
        ends_at=ends_at if connection.has_session else None,
        log_in_from=next_daily_expiry(opens_at - _A_DAY),
        expiry_note=expiry_note if connection.has_session else "",
    )
