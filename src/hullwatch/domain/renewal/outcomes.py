"""The outcomes of an attempt to renew a session."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import BrokerFailure, NotPermitted, RequestRefused


class RenewalOutcome(StrEnum):
    """The outcome of an attempt; the values are in the audit trail and in the API."""

    UNDER_WAY = "under_way"
    """It has begun."""
    RENEWED = "renewed"
    """A new session has begun."""
    EXPIRES_NO_LATER = "expires_no_later"
    """Fyers sent a session with the same expiry: its sessions expire at the next 06:00 IST after their issue."""
    REFUSED_BY_FYERS = "refused_by_fyers"
    """Fyers renews no sessions, or not this app's."""
    WRONG_PIN = "wrong_pin"
    BAD_REFRESH_TOKEN = "bad_refresh_token"  # noqa: S105 - a word for a state
    """The refresh token is old, unreadable, or belongs to another account."""
    UNKNOWN_REFUSAL = "unknown_refusal"
    """Fyers refused with an unknown code; the PIN may be wrong."""
    NOT_ACCEPTED = "not_accepted"
    """Fyers sent a session and then refused calls with it."""
    UNAVAILABLE = "unavailable"
    """Fyers could not be reached, or sent no usable answer."""


FAILED: Final = frozenset(RenewalOutcome) - {RenewalOutcome.UNDER_WAY, RenewalOutcome.RENEWED}
NEEDS_PIN: Final = frozenset({RenewalOutcome.WRONG_PIN, RenewalOutcome.UNKNOWN_REFUSAL})
"""After these no attempt is made until the user enters the PIN again: wrong PINs lock a Fyers account."""

REFUSALS: Final[Mapping[int, RenewalOutcome]] = {
    # "Refresh token API is currently disabled to comply with SEBI regulations.", HTTP 400 (community probes of 2026-07 to 2026-10).
    -16: RenewalOutcome.REFUSED_BY_FYERS,
    # The codes for a rejected login; none of them has been reported for this call.
    -8: RenewalOutcome.REFUSED_BY_FYERS,
    -15: RenewalOutcome.REFUSED_BY_FYERS,
    -17: RenewalOutcome.REFUSED_BY_FYERS,
    # The app: its hash, its id (community reports about the exchange of an auth code).
    -5: RenewalOutcome.REFUSED_BY_FYERS,
    -371: RenewalOutcome.REFUSED_BY_FYERS,
    -352: RenewalOutcome.REFUSED_BY_FYERS,
    -209: RenewalOutcome.REFUSED_BY_FYERS,
    -441: RenewalOutcome.REFUSED_BY_FYERS,
    # "Please provide valid refresh token" (community reports).
    -501: RenewalOutcome.BAD_REFRESH_TOKEN,
    # Assumed: no answer to a wrong PIN has been reported; Fyers' login page sends this for a wrong password.
    -1049: RenewalOutcome.WRONG_PIN,
}
"""Fyers' codes for a refused renewal."""


def outcome_of(failure: BrokerFailure) -> RenewalOutcome:
    """Return the outcome of an attempt whose call failed."""
    match failure:
        case RequestRefused(code=code):
            return REFUSALS.get(code, RenewalOutcome.UNKNOWN_REFUSAL)
        case NotPermitted():
            return RenewalOutcome.REFUSED_BY_FYERS
        case _:
            return RenewalOutcome.UNAVAILABLE
