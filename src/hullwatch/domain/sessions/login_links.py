"""Login links: a link lets one browser start one user's login at Fyers, and nothing else."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hullwatch.domain.notifications.notifications import Notification

BY_HULLWATCH: Final = "hullwatch"
"""Requested for a notice."""
BY_OLD_LINK: Final = "old_link"
"""Requested by the person who opened an expired link."""
_ASKED: Final = "ask"
_HIDDEN: Final = "\N{BULLET}" * 3


@dataclass(frozen=True, slots=True)
class LoginLink:
    """A link without its value, of which only a hash is stored."""

    user_id: str
    generation: int
    """The account's generation at the creation of the link; it also fixes the Fyers account, which only a login changes."""
    requested_by: str
    """`BY_HULLWATCH`, `BY_OLD_LINK` or a user id."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    """When its button was first pressed."""
    browser_hash: str | None = None
    """Of the browser in which it was pressed."""


class LinkState(StrEnum):
    """The state of a link in one browser at one moment."""

    GOOD = "good"
    """Its button may be pressed in this browser."""
    USED = "used"
    """Another browser has pressed it."""
    EXPIRED = "expired"
    """Its lifetime has passed."""
    VOID = "void"
    """There has been a login since it was created."""


def state_of(link: LoginLink, *, generation: int, browser_hash: str | None, now: datetime) -> LinkState:
    """Return the state of a link in a browser, given its account's present generation."""
    if generation != link.generation:
        return LinkState.VOID
    if now >= link.expires_at:
        return LinkState.EXPIRED
    if link.browser_hash not in (None, browser_hash):
        return LinkState.USED
    return LinkState.GOOD


def masked_email(email: str) -> str:
    """Return as much of an address as its owner needs to recognize it."""
    name, _, host = email.rpartition("@")
    return f"{name[:1]}{_HIDDEN}@{host}"


def masked_fyers_id(fyers_id: str) -> str:
    """Return as much of a Fyers id as its owner needs to recognize it."""
    if len(fyers_id) < 5:
        return _HIDDEN
    return f"{fyers_id[:2]}{_HIDDEN}{fyers_id[-2:]}"


def request_incident(unique: str, requested_by: str) -> str:
    """Return the incident of a notice that a person requested; `requester_of` reads it."""
    return f"{_ASKED}.{unique}.{requested_by}"


def requester_of(notification: Notification) -> str:
    """Return who requested a notice that leads to a login, for the link in its message."""
    kind, _, rest = (notification.incident_id or "").partition(".")
    requested_by = rest.partition(".")[2]
    return requested_by if kind == _ASKED and requested_by else BY_HULLWATCH
