"""Answers of the simulated broker: the envelope, and every refusal with its status, code and text.

Sources: "logs" are error bodies in log files of the official SDKs, "docs" the Fyers API v3 documentation,
"reports" public bug reports. Where no source gives the HTTP status it is marked assumed. Key order differs
between Fyers' services and is kept, so that no client relies on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

_JSON = "application/json"
_HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def success(**payload: Any) -> Answer:
    """Return the success envelope around a payload."""
    return Answer(orjson.dumps({"s": "ok", "code": 200, "message": "", **payload}))


def refusal(status: int, code: int, message: str) -> Answer:
    """Return the failure envelope."""
    return Answer(orjson.dumps({"s": "error", "code": code, "message": message}), status)


class Refusal(Enum):
    """Every refusal of the broker: HTTP status, code, message."""

    # One refused token, by endpoint (logs)
    PROFILE_EXPIRED = (401, -8, "Your token has expired. Please generate a token")
    PROFILE_REFUSED = (401, -17, "Could not authenticate the user")
    LOGOUT_REFUSED = (401, -16, "Token is Invalid or Expired")
    TRADING_REFUSED = (401, -16, "Could not authenticate the user")
    DATA_REFUSED = (401, -15, "Please provide valid token")
    # Headers of /profile (logs; 401 assumed, known is only "400 or more")
    PROFILE_APP_ID = (401, -352, "Please provide a valid app id.")
    PROFILE_NO_APP_ID = (401, -209, "Please provide the validation parameter")
    # Rate limits, from logs
    DATA_LIMIT = (429, 429, "request limit reached")
    TRADING_LIMIT = (429, -429, "Request limit reached, refresh after few mins")
    PROFILE_LIMIT = (429, -353, "API Limit exceeded overall per sec (per min)")
    # Wrong parameters, from logs
    HISTORY_SYMBOL = (422, -300, "Invalid symbol provided")
    HISTORY_INPUT = (422, -50, "Invalid input")
    DATA_INPUT = (400, -50, "Please provide valid inputs")
    # Login (reports; -371 was seen under HTTP 200, the other statuses are assumed)
    NO_HASH = (200, -371, "Please provide sha256 hash of appId and app secret")
    WRONG_HASH = (400, -5, "invalid app id hash")
    GRANT_TYPE = (400, -441, "invalid grant type")
    NO_AUTH_CODE = (400, -374, "Please provide authorization code.")
    WRONG_AUTH_CODE = (400, -437, "invalid auth code")
    REFRESH_DISABLED = (400, -16, "Refresh token API is currently disabled to comply with SEBI regulations.")
    WRONG_REFRESH_TOKEN = (400, -501, "Please provide valid refresh token")
    # Assumed: no source shows what a wrong PIN gets; -1049 is Fyers' login page sends it for a wrong password
    WRONG_PIN = (400, -1049, "The PIN is wrong")
    LOGIN_APP = (400, -352, "Please provide a valid app id.")
    # No source shows how these look
    LOGIN_REDIRECT = (400, -50, "Invalid redirect_uri: it must be the one registered with the app")
    LOGIN_INPUT = (400, -50, "Invalid input")
    TOO_LARGE = (413, 413, "Request entity too large")
    UNKNOWN_PATH = (404, 404, "Not Found")
    WRONG_METHOD = (405, 405, "Method Not Allowed")
    NOT_SIMULATED = (404, 404, "Not Found: this simulator does not play this part of the API")

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        data = {"s": "error", "code": code, "message": message}
        if code in {-15, 429}:
            data = {"message": message, "code": code, "s": "error"}
        elif status == 401 and code == -16 and message.startswith("Could"):
            data = {"code": code, "message": message, "s": "error"}
        self.answer = Answer(orjson.dumps(data), status)


def orders_not_allowed(app_id: str) -> Answer:
    """Refuse an order as apps without order permission are refused (logs, 165 times)."""
    return refusal(
        400, -50, f"Order placement restricted. Algo orders are not allowed from this app {app_id}."
    )


def html_page(status: int, title: str) -> Answer:
    """Return a page of Cloudflare; it says nothing about a token."""
    page = (
        f"<!DOCTYPE html>\n<html>\n<head><title>{status} {title}</title></head>\n"
        f"<body><center><h1>{status} {title}</h1></center><hr><center>cloudflare</center></body>\n</html>\n"
    )
    return Answer(page.encode(), status, _HTML)


def rate_limit_page(status: int = 429) -> Answer:
    """Return Cloudflare's page for a limited or banned address (type 1015)."""
    page = (
        "<!DOCTYPE html>\n<html>\n<head><title>Access denied | api-t1.fyers.in used Cloudflare to restrict access"
        "</title></head>\n<body><h1>Error 1015</h1><h2>You are being rate limited</h2></body>\n</html>\n"
    )
    return Answer(page.encode(), status, _HTML)


CLOUDFLARE_TITLES = {
    403: "Forbidden", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Temporarily Unavailable",
    504: "Gateway Time-out", 520: "Web server is returning an unknown error", 522: "Connection timed out",
}  # fmt: skip
