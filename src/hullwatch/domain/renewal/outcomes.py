"""What can become of a try to renew a session. When one is tried, and what follows from it, is in ``renewal.py``."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import BrokerFailure, NotPermitted, RequestRefused


class RenewalOutcome(StrEnum):
    """How a try ended; the words stand in the audit trail and in the API."""

    UNDER_WAY = "under_way"
    """It has begun; nobody knows yet."""
    RENEWED = "renewed"
    """A new session has begun."""
    EXPIRES_NO_LATER = "expires_no_later"
    """Fyers gave a session that ends when the present one does: its sessions end at the next 06:00 IST after their issue, whenever that is."""
    REFUSED_BY_FYERS = "refused_by_fyers"
    """Fyers renews no sessions, or not this app's."""
    WRONG_PIN = "wrong_pin"
    BAD_REFRESH_TOKEN = "bad_refresh_token"  # noqa: S105 - a word for a state
    """The refresh token is old, unreadable, or another account's."""
    UNKNOWN_REFUSAL = "unknown_refusal"
    """Fyers said no in a way that hullwatch does not know; it may have been about the PIN."""
    NOT_ACCEPTED = "not_accepted"
    """Fyers gave a session and then refused calls with it."""
    UNAVAILABLE = "unavailable"
    """Nobody could be asked, or no answer came back."""


FAILED: Final = frozenset(RenewalOutcome) - {RenewalOutcome.UNDER_WAY, RenewalOutcome.RENEWED}
NEEDS_PIN: Final = frozenset({RenewalOutcome.WRONG_PIN, RenewalOutcome.UNKNOWN_REFUSAL})
"""After these nothing is tried until the user has entered the PIN again: wrong PINs lock a Fyers account."""

REFUSALS: Final[Mapping[int, RenewalOutcome]] = {
    # "Refresh token API is currently disabled to comply with SEBI regulations.", HTTP 400 (community probes of 2026-07 to 2026-10).
    -16: RenewalOutcome.REFUSED_BY_FYERS,
    # The same family of words; none of them is on record here.
    -8: RenewalOutcome.REFUSED_BY_FYERS,
    -15: RenewalOutcome.REFUSED_BY_FYERS,
    -17: RenewalOutcome.REFUSED_BY_FYERS,
    # The app: its hash, its id (community reports, about the exchange of an auth code).
    -5: RenewalOutcome.REFUSED_BY_FYERS,
    -371: RenewalOutcome.REFUSED_BY_FYERS,
    -352: RenewalOutcome.REFUSED_BY_FYERS,
    -209: RenewalOutcome.REFUSED_BY_FYERS,
    -441: RenewalOutcome.REFUSED_BY_FYERS,
    # "Please provide valid refresh token" (community reports).
    -501: RenewalOutcome.BAD_REFRESH_TOKEN,
    # Assumed: what this call says of a wrong PIN is on no record; Fyers' login page says this of a wrong password.
    -1049: RenewalOutcome.WRONG_PIN,
}
"""Fyers' codes at a renewal."""


def outcome_of(failure: BrokerFailure) -> RenewalOutcome:
    """Return what a failed call means for the try that it was made for."""
    match failure:
        case RequestRefused(code=code):
            return REFUSALS.get(code, RenewalOutcome.UNKNOWN_REFUSAL)
        case NotPermitted():
            return RenewalOutcome.REFUSED_BY_FYERS
        case _:
            return RenewalOutcome.UNAVAILABLE
