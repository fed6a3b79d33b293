"""What the operator has given in settings and services take as values of their own: the data folder, one app for all, the mail server.

The settings themselves are read in ``settings.py``.
"""

from pathlib import Path

from hullwatch.channels.smtp import SmtpServer
from hullwatch.domain.failures import Refusal
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import FyersApp, read_fyers_app
from hullwatch.settings import Settings, SettingsRefused


def make_data_dir(path: Path) -> None:
    """Make the data folder, readable by its owner alone.

    Raises:
        SettingsRefused: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsRefused(f"HULLWATCH_DATA_DIR cannot be used: {error.strerror} ({path}).") from None


def server_app(settings: Settings) -> FyersApp | None:
    """Return the Fyers app that all users share, if one is set.

    Raises:
        SettingsRefused: It cannot be used.
    """
    if not settings.fyers_app_id:
        return None
    try:
        return read_fyers_app(
            settings.fyers_app_id, settings.fyers_secret_key.get_secret_value(), settings.fyers_redirect_uri
        )
    except Refusal as refusal:
        raise SettingsRefused(
            f"FYERS_APP_ID, FYERS_SECRET_KEY or FYERS_REDIRECT_URI cannot be used: {refusal}"
        ) from None


def smtp_server(settings: Settings) -> SmtpServer | None:
    """Return the operator's mail server, if one is set."""
    if not settings.smtp_host:
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.smtp_from,
        user=settings.smtp_user,
        password=SecretText(settings.smtp_password.get_secret_value()),
    )
