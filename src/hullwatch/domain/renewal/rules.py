"""Renewing a session without its user, where Fyers permits it: who wants it, and when it may be tried.

A try is rare on purpose. It is made once before a session's known end, and once more when a session is over all the same; each try is noted
before it is made, so that not even a crash makes it a second one. Asking and storing belong to ``services/renewal.py``.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.renewal.outcomes import FAILED, NEEDS_PIN, RenewalOutcome
from hullwatch.domain.secrets import Pin, RefreshToken
from hullwatch.domain.sessions.connection import Connection, LoginTrigger

LEAD: Final = timedelta(minutes=10)
"""No try before the end is begun later than this, unless it has to queue: time for the queue and for a slow answer."""
SPREAD: Final = timedelta(minutes=15)
"""All sessions end at 06:00 IST; their tries begin over so long a time before `LEAD`."""
AFTER_EXPIRY: Final = timedelta(seconds=5)
"""A try at the known end waits so long after it: by Fyers' clock, which may be behind ours, the new session must belong to the new day."""

_PIN: Final = re.compile(r"[0-9]{4,6}", re.ASCII)


class Occasion(StrEnum):
    """Why a renewal is tried."""

    BEFORE_EXPIRY = "before_expiry"
    """The session lives and its known end is near."""
    AT_EXPIRY = "at_expiry"
    """The known end has come, and nothing was tried before it or what was got would have ended with it."""
    AT_REFUSAL = "at_refusal"
    """Fyers ended the session early."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """One user's consent to renewals, and how they went; holds no secret."""

    user_id: str
    opted_in_at: datetime
    has_refresh_token: bool = False
    app_id: str | None = None
    """The app that the refresh token belongs to."""
    login_generation: int | None = None
    """The login, always one by hand, that brought the refresh token."""
    refresh_token_expires_at: datetime | None = None
    tried_generation: int | None = None
    """The session for which the last try was made."""
    last_tried_at: datetime | None = None
    last_outcome: RenewalOutcome | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to renew a session."""

    connection: Connection
    occasion: Occasion

    @property
    def user_id(self) -> str:
        """Return the owner of the session."""
        return self.connection.user_id


@dataclass(frozen=True, slots=True)
class RenewalKeys:
    """What a renewal is asked with; `repr` shows no secret."""

    pin: Pin
    refresh_token: RefreshToken


def read_pin(text: str) -> Pin:
    """Return a PIN as it was typed.

    Raises:
        InvalidInput: It cannot be one; the sentence does not quote it.
    """
    if not _PIN.fullmatch(text):
        raise InvalidInput("A Fyers PIN has 4 to 6 digits.", field="pin")
    return Pin(text)


def due_at(connection: Connection, part: float) -> datetime | None:
    """Return when to begin the try before a session's end, `None` without a session.

    Args:
        connection: The session.
        part: 0 to 1, drawn once for a session: its place within `SPREAD`.
    """
    ends_at, began_at = connection.expires_at, connection.connected_at
    if ends_at is None or began_at is None or not connection.has_session:
        return None
    # A short session is renewed in its second half only: renewing each new one at once would never end.
    return max(ends_at - LEAD - SPREAD * part, began_at + (ends_at - began_at) / 2)


def occasion_of(trigger: LoginTrigger) -> Occasion | None:
    """Return what the end of a session is an occasion for; `None` for ends that a person wanted."""
    match trigger:
        case LoginTrigger.REACHED_EXPIRY:
            return Occasion.AT_EXPIRY
        case LoginTrigger.REFUSAL_CONFIRMED:
            return Occasion.AT_REFUSAL
        case _:
            return None


def may_try(renewal: Renewal, connection: Connection, occasion: Occasion, *, now: datetime) -> bool:
    """Whether renewing this session may be tried.

    A session that Fyers ended early is renewed only if a login by hand began it: where a renewed one is refused, the next would be too.
    """
    if not renewal.has_refresh_token or renewal.app_id != connection.app_id:
        return False
    if renewal.refresh_token_expires_at is not None and now >= renewal.refresh_token_expires_at:
        return False
    if renewal.last_outcome in NEEDS_PIN:
        return False
    is_tried = renewal.tried_generation == connection.generation
    match occasion:
        case Occasion.BEFORE_EXPIRY:
            return not is_tried
        case Occasion.AT_EXPIRY:
            return not is_tried or renewal.last_outcome is RenewalOutcome.EXPIRES_NO_LATER
        case Occasion.AT_REFUSAL:
            return not is_tried and renewal.login_generation == connection.generation


def failure_in(renewal: Renewal, generation: int) -> RenewalOutcome | None:
    """Return how the try in this generation failed, `None` if there was none."""
    has_failed = renewal.tried_generation == generation and renewal.last_outcome in FAILED
    return renewal.last_outcome if has_failed else None
