"""The redirect from Fyers' login page: its fields, the check of the browser, and the sentences for failures."""

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from hullwatch.domain.failures import (
    BrokerFailure,
    BrokerRefusal,
    LinkRefused,
    LoginRefused,
    NotPermitted,
    RateLimited,
    Refusal,
    RequestRefused,
)
from hullwatch.domain.secrets import AuthCode
from hullwatch.domain.users.accounts import PendingLogin
from hullwatch.services.users.authentication import hash_value

LONGEST_AUTH_CODE: Final = 4096
"""Characters; Fyers' auth codes are JWTs of about 700."""
APP_CODES: Final = frozenset({-5, -371})
"""Codes of Fyers for a wrong app id or secret (Fyers API v3 docs and community reports)."""
AGAIN: Final = "Start again from the dashboard or your login link."


@dataclass(frozen=True, slots=True)
class Redirect:
    """The fields of Fyers' redirect, unchecked."""

    state: str | None
    auth_code: str | None
    is_error: bool = False


def check_browser(pending: PendingLogin, *, user_id: str | None, browser_nonce: str | None) -> None:
    """Refuse a browser that did not start this login.

    A login that was started signed in can be completed by its user in any browser. A login by link can be completed only in the browser in which
    the button was pressed, and not by another user who is signed in there.

    Raises:
        LinkRefused: It is another user or another browser.
    """
    is_same_user = user_id == pending.user_id
    is_same_browser = browser_nonce is not None and hmac.compare_digest(
        hash_value(browser_nonce), pending.browser_hash
    )
    if pending.is_by_link:
        is_allowed = is_same_browser and (user_id is None or is_same_user)
    else:
        is_allowed = is_same_user or (user_id is None and is_same_browser)
    if not is_allowed:
        reason = "other_browser" if user_id is None or is_same_user else "other_user"
        raise LinkRefused(
            f"This login was started by another user or in another browser. {AGAIN}", reason=reason
        )


def read_pasted(text: str) -> Redirect:
    """Read an auth code, or the query of a whole redirect address, from what a person pasted."""
    text = text.strip()
    if "auth_code=" not in text and "://" not in text:
        return Redirect(None, text or None)
    try:
        query = urlsplit(text).query or text.rpartition("?")[2]
        fields = parse_qs(query, max_num_fields=20)
    except ValueError:
        # The message of the parser quotes the pasted text.
        return Redirect(None, None)
    return Redirect(
        _only(fields, "state"), _only(fields, "auth_code"), is_error=_only(fields, "s") == "error"
    )


def _only(fields: dict[str, list[str]], name: str) -> str | None:
    values = fields.get(name, [])
    return values[0] if len(values) == 1 else None


def read_auth_code(text: str) -> AuthCode:
    """Return the auth code in a text; raises `LinkRefused` when it cannot be one."""
    if len(text) > LONGEST_AUTH_CODE or not text.isascii() or not text.isprintable() or " " in text:
        raise LinkRefused(f"This is not an auth code of Fyers. {AGAIN}")
    return AuthCode(text)


def exchange_refusal(failure: BrokerFailure) -> Refusal:
    """Return the refusal for a failed exchange of an auth code."""
    if isinstance(failure, RequestRefused) and failure.code in APP_CODES:
        return LinkRefused("Fyers refuses the app id and secret. Store your Fyers app again.")
    if isinstance(failure, RequestRefused | LoginRefused):
        return LinkRefused(
            f"Fyers refused the auth code. It can be used only once and for a short time. {AGAIN}"
        )
    return unavailable(failure)


def unavailable(failure: BrokerFailure) -> BrokerRefusal:
    """Return the refusal for a call that Fyers did not answer in a usable way."""
    match failure:
        case RateLimited(retry_after_s=seconds):
            sentence = f"Fyers limits the number of calls. Start again in {max(1, round(seconds))} seconds."
        case NotPermitted():
            sentence = "This app is not permitted to log you in. Check its permissions at Fyers."
        case _:
            sentence = "Fyers is unavailable. Start again in a minute."
    return BrokerRefusal(sentence, failure)
