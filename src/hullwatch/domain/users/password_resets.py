"""Links with which a user chooses a new password without the present one."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PasswordReset:
    """A reset link, without its value, of which only a hash is stored."""

    user_id: str
    requested_by: str | None
    """The admin who created it; `None` if it was sent to the user's own address."""
    created_at: datetime
    expires_at: datetime
