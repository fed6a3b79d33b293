"""The address of Fyers' login page, and the proof of an app at the exchange of an auth code. The round trip's `state` belongs to services."""

import hashlib
from urllib.parse import urlencode

from hullwatch.domain.users.accounts import FyersApp


def login_url(base_url: str, app: FyersApp, state: str) -> str:
    """Return the page a person logs in at; it redirects to the app's own address with ``auth_code`` and ``state``.

    The redirect address is sent encoded, as Fyers' Python SDK does; its Node SDK does not, and so breaks addresses with a query.
    """
    query = {
        "client_id": app.app_id,
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "state": state,
    }
    return f"{base_url.rstrip('/')}/generate-authcode?{urlencode(query)}"


def app_id_hash(app: FyersApp) -> str:
    """Return what Fyers wants instead of the secret: SHA-256 of ``<app id>:<secret>``, the app id with its suffix."""
    return hashlib.sha256(f"{app.app_id}:{app.secret.reveal()}".encode()).hexdigest()
