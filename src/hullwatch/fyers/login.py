"""The address of Fyers' login page, and the hash that proves an app at the exchange of an auth code."""

import hashlib
from urllib.parse import urlencode

from hullwatch.domain.users.accounts import FyersApp


def login_url(base_url: str, app: FyersApp, state: str) -> str:
    """Return the login page, which redirects to the app's own address with ``auth_code`` and ``state``.

    The redirect address is encoded, as in Fyers' Python SDK. The Node SDK does not encode it, which breaks
    addresses with a query.
    """
    query = {
        "client_id": app.app_id,
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "state": state,
    }
    return f"{base_url.rstrip('/')}/generate-authcode?{urlencode(query)}"


def app_id_hash(app: FyersApp) -> str:
    """Return the SHA-256 of ``<app id>:<secret>``, with the app id's suffix, which Fyers wants."""
    return hashlib.sha256(f"{app.app_id}:{app.secret.reveal()}".encode()).hexdigest()
