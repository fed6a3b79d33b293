"""Reads the claims of an access token and computes its expiry. Only Fyers knows whether the token is still valid.

Sources: claims decoded from public Fyers tokens (all of 41 expired at the next 06:00 IST after their issue); Fyers publishes no key,
so the signature cannot be verified here and the claims are a hint about time and owner, never a proof.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final, TypeGuard

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.secrets import AccessToken, RefreshToken

IST = timezone(timedelta(hours=5, minutes=30), "IST")
DAILY_EXPIRY_IST = time(6, 0)
"""Access tokens expire at the next 06:00 IST after issue, whatever the login time."""
MAX_TOKEN_LENGTH = 8192
"""Characters; real tokens have less than 2,000."""

_FYERS_ID: Final = re.compile(r"[A-Z0-9]{2,32}")


@dataclass(frozen=True, slots=True)
class FreshLogin:
    """The tokens that Fyers sends for an auth code; `repr` shows no secret."""

    access_token: AccessToken
    refresh_token: RefreshToken | None = None
    """Fyers still sends it, but has not accepted it since 2026-04-01."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of a token; times are aware, in UTC."""

    expires_at: datetime
    """An upper bound: Fyers can disconnect the session earlier."""
    issued_at: datetime | None
    fyers_id: str | None
    """`None` if the token names no possible account; the profile is then read from Fyers."""
    has_stated_expiry: bool
    """False when `expires_at` was derived from the daily rule because the token has no such claim."""


def next_daily_expiry(moment: datetime) -> datetime:
    """Return the first 06:00 IST strictly after `moment`, in UTC."""
    local = moment.astimezone(IST)
    end = datetime.combine(local.date(), DAILY_EXPIRY_IST, IST)
    if end <= local:
        end += timedelta(days=1)
    return end.astimezone(UTC)


def is_fyers_id(text: object) -> TypeGuard[str]:
    """Whether this can be the id of an account at Fyers, as it is shown and stored."""
    return isinstance(text, str) and _FYERS_ID.fullmatch(text) is not None


def read_claims(token: AccessToken, *, now: datetime) -> TokenClaims:
    """Read a token's claims without verifying them.

    Raises:
        InvalidInput: The text is not a JWT; the message never contains it.
    """
    payload = _payload(token.reveal())
    stated_expiry = _moment(payload.get("exp"))
    fyers_id = payload.get("fy_id")
    return TokenClaims(
        expires_at=stated_expiry or next_daily_expiry(now),
        issued_at=_moment(payload.get("iat")),
        fyers_id=fyers_id if is_fyers_id(fyers_id) else None,
        has_stated_expiry=stated_expiry is not None,
    )


def refresh_token_expiry(token: RefreshToken) -> datetime | None:
    """Return when a refresh token expires by its own claim; `None` when it has no such claim."""
    try:
        return _moment(_payload(token.reveal()).get("exp"))
    except InvalidInput:
        return None


def _payload(text: str) -> dict[str, object]:
    parts = text.split(".")
    if len(text) > MAX_TOKEN_LENGTH or len(parts) != 3:
        raise InvalidInput("Fyers sent an access token in a form that hullwatch does not know.")
    body = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        payload = json.loads(base64.b64decode(body, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        # `from None`, because the decoder's message contains the text, which is a secret.
        del error
        raise InvalidInput("Fyers sent an access token that cannot be read.") from None
    if not isinstance(payload, dict):
        raise InvalidInput("Fyers sent an access token that cannot be read.")
    return payload


def _moment(claim: object) -> datetime | None:
    """Return a NumericDate claim as a moment; a claim that is no plausible number counts as absent."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (OverflowError, OSError, ValueError):
        return None
