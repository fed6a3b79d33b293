"""The JWTs of the simulated broker, and the claims of any JWT without its key.

Claims follow real tokens seen by their claims alone (access, refresh and auth code; HS256). The key lives
for one run of the simulator, so tokens of an earlier run are refused like forged ones.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from typing import Any

import orjson

from hullwatch.simulator.market.calendar import next_at

EXPIRES_AT_S = 6 * 3600
"""Access tokens expire at the next 06:00 IST after the login (41 of 41 real tokens)."""
AUTH_CODE_LIFETIME_S = 30_000
REFRESH_LIFETIME_DAYS = 14
_SCOPES = ["d:1", "d:2", "x:0", "x:1", "x:2"]


class TokenPress:
    """Signs tokens with a key of its own."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def access_token(self, app_id: str, fyers_id: str, issued_at: int, expires_at: int) -> tuple[str, str]:
        """Return an access token and the `hsm_key` in it, the key of the data stream."""
        hsm_key = secrets.token_hex(28)
        claims = {
            "aud": _SCOPES, "iss": "api.fyers.in", "sub": "access_token", "iat": issued_at, "nbf": issued_at,
            "exp": expires_at, "at_hash": secrets.token_urlsafe(64), "display_name": fyers_id, "oms": "K1",
            "hsm_key": hsm_key, "isDdpiEnabled": "N", "isMtfEnabled": "N", "fy_id": fyers_id,
            "appType": app_type(app_id), "poa_flag": "N",
        }  # fmt: skip
        return self._sign(claims), hsm_key

    def refresh_token(self, app_id: str, fyers_id: str, issued_at: int) -> str:
        """Return a refresh token: Fyers still issues them, although it accepts none."""
        claims = {
            "aud": _SCOPES, "iss": "api.fyers.in", "sub": "refresh_token", "iat": issued_at, "nbf": issued_at,
            "exp": next_at(issued_at, EXPIRES_AT_S) + REFRESH_LIFETIME_DAYS * 86_400,
            "at_hash": secrets.token_urlsafe(64), "display_name": fyers_id, "oms": "K1", "fy_id": fyers_id,
            "appType": app_type(app_id), "poa_flag": "N",
        }  # fmt: skip
        return self._sign(claims)

    def auth_code(self, app_id: str, fyers_id: str, issued_at: int, nonce: str, scope: str) -> str:
        """Return an auth code for the login redirect."""
        claims = {
            "app_id": app_id.rpartition("-")[0], "uuid": uuid.uuid4().hex, "ipAddr": "127.0.0.1", "nonce": nonce,
            "scope": scope, "display_name": fyers_id, "oms": "K1", "hsm_key": secrets.token_hex(28),
            "aud": orjson.dumps(_SCOPES).decode(), "exp": issued_at + AUTH_CODE_LIFETIME_S, "iat": issued_at,
            "iss": "api.login.fyers.in", "nbf": issued_at, "sub": "auth_code",
        }  # fmt: skip
        return self._sign(claims)

    def signed_claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that was signed here; empty otherwise."""
        signed, _, signature = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(
            self._signature(signed).encode(), signature.encode()
        ):
            return {}
        return claims_in(token)

    def _signature(self, signed: str) -> str:
        return _encode(hmac.new(self._key, signed.encode(), hashlib.sha256).digest())

    def _sign(self, claims: dict[str, Any]) -> str:
        # The blank is harmless JSON. The Python SDK's data socket base64-decodes `<app id>:<header>` as one
        # text and fails when its length leaves one over four, as for the built-in app with the usual header.
        head = _encode(b'{"alg":"HS256", "typ":"JWT"}')
        body = _encode(orjson.dumps(claims))
        return f"{head}.{body}.{self._signature(f'{head}.{body}')}"


def app_type(app_id: str) -> int:
    """Return the number at the end of an app id, 100 if there is none."""
    suffix = app_id.rpartition("-")[2]
    return int(suffix) if suffix.isdecimal() else 100


def claims_in(token: str) -> dict[str, Any]:
    """Return the unverified claims of a JWT; empty for other text."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 8_192:
        return {}
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def fyers_id_in(claims: dict[str, Any]) -> str:
    """Return the Fyers id in claims, or an empty text: the account that a refused call counts for."""
    claimed = claims.get("fy_id")
    return claimed if isinstance(claimed, str) and len(claimed) <= 32 else ""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
