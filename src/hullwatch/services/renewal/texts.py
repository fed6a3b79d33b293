"""The sentences about renewals."""

from typing import Final

from hullwatch.domain.renewal.outcomes import RenewalOutcome

NOT_OFFERED: Final = (
    "This server does not renew Fyers sessions. Since 1 April 2026 SEBI's rules require a login with two factors on "
    "every trading day, and Fyers no longer accepts refresh tokens."
)
NOT_CHOSEN: Final = "Your sessions are not renewed. Log in to Fyers yourself when a session expires."
NEEDS_LOGIN: Final = "Log in to Fyers once more. The login brings the refresh token that renewals need."
PLANNED: Final = "Your session is renewed once before it expires, if Fyers permits it."
EXPIRY_NOTE: Final = (
    "hullwatch will renew it with your PIN. If the renewal fails, you get a notice and have to log in."
)
OUTCOMES: Final = {
    RenewalOutcome.UNDER_WAY: "Your session is being renewed now.",
    RenewalOutcome.RENEWED: "Your session was renewed at the last attempt.",
    RenewalOutcome.EXPIRES_NO_LATER: "The renewed session would not expire later than the present one. The next attempt is made right after its expiry.",
    RenewalOutcome.REFUSED_BY_FYERS: "Fyers accepted no refresh tokens for this app at the last attempt.",
    RenewalOutcome.WRONG_PIN: "Fyers refused the PIN. Enter it again; until then no attempt is made.",
    RenewalOutcome.BAD_REFRESH_TOKEN: "Fyers refused the refresh token. Your next login brings a new one.",
    RenewalOutcome.UNKNOWN_REFUSAL: "Fyers refused for an unknown reason, perhaps the PIN. Enter it again; until then no attempt is made.",
    RenewalOutcome.NOT_ACCEPTED: "Fyers renewed your session at the last attempt, but refused the renewed one.",
    RenewalOutcome.UNAVAILABLE: "Fyers was unavailable at the last attempt.",
}
"""The result of the last attempt, for the page and the API."""
_FAILURES: Final = {
    RenewalOutcome.EXPIRES_NO_LATER: "Fyers renewed it only until the time at which it expired anyway.",
    RenewalOutcome.REFUSED_BY_FYERS: (
        "Fyers refused to renew it, because it accepts no refresh tokens for this app."
    ),
    RenewalOutcome.WRONG_PIN: (
        "Fyers refused to renew it, because the PIN is wrong. Enter the PIN again on the Fyers page to go on with renewals."
    ),
    RenewalOutcome.BAD_REFRESH_TOKEN: (
        "Fyers refused to renew it, because the refresh token of your last login is not valid. "
        "Your next login brings a new one."
    ),
    RenewalOutcome.UNKNOWN_REFUSAL: (
        "Fyers refused to renew it for an unknown reason. It may be the PIN: enter it again on the Fyers page "
        "to go on with renewals."
    ),
    RenewalOutcome.NOT_ACCEPTED: "Fyers renewed it, but did not accept calls with the renewed session.",
    RenewalOutcome.UNAVAILABLE: "hullwatch could not renew it, because Fyers sent no usable answer.",
}


def failure_sentence(outcome: RenewalOutcome) -> str:
    """Return the sentence for a notice about a disconnected session; empty unless a renewal failed."""
    return _FAILURES.get(outcome, "")
