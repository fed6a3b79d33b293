"""How much of Fyers' rate limits an account has used, so that a restart does not forget it."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

FIRST_MINUTE_CALLS: Final = 30
"""Calls of an account in the first minute after a start that followed no orderly stop: the process before may have sent
170 of the 200 that Fyers allows in a minute."""


@dataclass(frozen=True, slots=True)
class CallPace:
    """One account's calls at one moment."""

    app_id: str
    fyers_id: str
    """Empty for the calls of logins, which an app makes before the account is known."""
    day: date
    """Fyers' day, in IST."""
    calls: int
    """Calls on that day."""
    limits: int
    """How often Fyers has answered with HTTP 429 on that day."""
    paused_until: datetime | None
    """Until when Fyers or Cloudflare asked to wait."""
    recent_calls: int
    """Calls in the minute before `stored_at`."""
    stored_at: datetime
