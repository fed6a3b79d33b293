"""Whether a user has to log in before the next market open, and from when on a login lasts beyond it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.tokens import next_daily_expiry

_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The session of one account at the next market open, if nobody logs in before."""

    opens_at: datetime
    """When the next trading session of the account's watches opens."""
    expires_at: datetime | None
    """The expiry of the session; `None` without one."""
    log_in_from: datetime
    """A session from a login before this expires before the market opens."""
    expiry_note: str = ""
    """A sentence about what an optional feature does at the session's expiry."""

    @property
    def needs_login(self) -> bool:
        """Whether nothing is watched at the market open unless there is another login."""
        return self.expires_at is None or self.expires_at <= self.opens_at


def outlook(connection: Connection, *, opens_at: datetime, expiry_note: str = "") -> Outlook:
    """Return the outlook of an account.

    Args:
        connection: The account's connection.
        opens_at: When the next trading session of its watches opens.
        expiry_note: A sentence about what an optional feature does at the session's expiry.
    """
    # A session without a stored expiry expires as all sessions do.
    expires_at = connection.expires_at or next_daily_expiry(connection.connected_at or opens_at - _ONE_DAY)
    return Outlook(
        opens_at=opens_at,
        expires_at=expires_at if connection.has_session else None,
        log_in_from=next_daily_expiry(opens_at - _ONE_DAY),
        expiry_note=expiry_note if connection.has_session else "",
    )
