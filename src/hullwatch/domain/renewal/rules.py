"""The rules for renewing a session without its user: who wants it, and when an attempt may be made.

An attempt is made once before a session's expiry, and once more after the session was disconnected. It is stored before
it is made, so that not even a crash leads to a second one.
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
"""Attempts before the expiry start at least this early: time for the queue and for a slow answer."""
SPREAD: Final = timedelta(minutes=15)
"""All sessions expire at 06:00 IST; their attempts are spread over this time before `LEAD`."""
AFTER_EXPIRY: Final = timedelta(seconds=5)
"""An attempt at the expiry waits this long: Fyers' clock may be behind ours, and the new session must belong to the new day."""

_PIN: Final = re.compile(r"[0-9]{4,6}", re.ASCII)


class Occasion(StrEnum):
    """Why an attempt is made."""

    BEFORE_EXPIRY = "before_expiry"
    """The session is in use and its expiry is near."""
    AT_EXPIRY = "at_expiry"
    """The session has expired, and no attempt was made before or its session would have expired too."""
    AT_REFUSAL = "at_refusal"
    """Fyers ended the session before its expiry."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """One user's consent to renewals and the last outcome; holds no secret."""

    user_id: str
    opted_in_at: datetime
    has_refresh_token: bool = False
    app_id: str | None = None
    """The app that the refresh token belongs to."""
    login_generation: int | None = None
    """The login by the user that brought the refresh token."""
    refresh_token_expires_at: datetime | None = None
    tried_generation: int | None = None
    """The session of the last attempt."""
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
    """The secrets of a renewal request; `repr` shows no secret."""

    pin: Pin
    refresh_token: RefreshToken


def read_pin(text: str) -> Pin:
    """Return a PIN from a user's input.

    Raises:
        InvalidInput: The text is not a PIN; the message does not contain it.
    """
    if not _PIN.fullmatch(text):
        raise InvalidInput("A Fyers PIN has 4 to 6 digits.", field="pin")
    return Pin(text)


def due_at(connection: Connection, position: float) -> datetime | None:
    """Return when to start the attempt before a session's expiry, `None` without a session.

    Args:
        connection: The session.
        position: 0 to 1, drawn once for a session: its position within `SPREAD`.
    """
    expires_at, began_at = connection.expires_at, connection.connected_at
    if expires_at is None or began_at is None or not connection.has_session:
        return None
    # A short session is renewed in its second half: renewing each new session at once would never stop.
    return max(expires_at - LEAD - SPREAD * position, began_at + (expires_at - began_at) / 2)


def occasion_of(trigger: LoginTrigger) -> Occasion | None:
    """Return the occasion of a disconnect; `None` when a person disconnected the session."""
    match trigger:
        case LoginTrigger.REACHED_EXPIRY:
            return Occasion.AT_EXPIRY
        case LoginTrigger.REFUSAL_CONFIRMED:
            return Occasion.AT_REFUSAL
        case _:
            return None


def may_try(renewal: Renewal, connection: Connection, occasion: Occasion, *, now: datetime) -> bool:
    """Return whether an attempt to renew this session may be made.

    A session that Fyers ended early is renewed only if its user logged in for it: after a renewed session is refused, the
    next one would be refused too.
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
    """Return how the attempt in this generation failed, `None` without a failed attempt."""
    has_failed = renewal.tried_generation == generation and renewal.last_outcome in FAILED
    return renewal.last_outcome if has_failed else None
