"""The notices about a user's own account, which another person may have caused."""

from collections.abc import Callable
from datetime import datetime

from hullwatch.domain.notifications.channels import Mail
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role
from hullwatch.services.texts.times import in_ist

_NOT_YOU = "If it was not you, sign out everywhere on the page Account and change your password."
_ROLES = {Role.ADMIN: "You are an admin now", Role.TRADER: "You are a trader now"}


def compose_token_added(
    user_id: str, name: str, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice of a new API token."""
    text = f"The API token “{name}” was created at {in_ist(now)}. A program with it has the same rights as you. {_NOT_YOU}"
    return _notice(user_id, "A new API token", text, now, new_id)


def compose_password_changed(
    user_id: str, *, now: datetime, new_id: Callable[[str], str], ends_all: bool
) -> Notification:
    """Return the notice of a password that the user changed; `ends_all`: tokens and login links ended too."""
    ended = "All other logins, API tokens and login links" if ends_all else "All other browser logins"
    text = f"Your password was changed at {in_ist(now)}. {ended} have ended. If it was not you, ask an admin for a reset link."
    return _notice(user_id, "Your password was changed", text, now, new_id)


def compose_password_replaced(user_id: str, *, now: datetime, new_id: Callable[[str], str]) -> Notification:
    """Return the notice of a password that was set without the old one."""
    text = (
        f"A new password was set at {in_ist(now)}, with a reset link or by the operator. "
        "All logins, API tokens and login links have ended. If you did not ask for it, ask an admin."
    )
    return _notice(user_id, "Your password was replaced", text, now, new_id)


def compose_signed_out_everywhere(
    user_id: str, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that all other logins were ended."""
    text = f"All other logins, API tokens and login links were ended at {in_ist(now)}. If it was not you, change your password."
    return _notice(user_id, "You were signed out everywhere", text, now, new_id)


def compose_role_changed(
    user_id: str, role: Role, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice of another role."""
    text = f"Your role was changed at {in_ist(now)}. Ask the operator if you did not expect it."
    return _notice(user_id, _ROLES[role], text, now, new_id)


def compose_reset_mail(link: SecretText, *, mail_id: str, now: datetime) -> Mail:
    """Return the mail with a reset link, which the user asked for without being signed in."""
    text = (
        "Somebody, probably you, asked for a new password for your hullwatch account.\n\n"
        f"Choose it here within an hour: {link.reveal()}\n\n"
        "If it was not you, ignore this mail: your password stays as it is."
    )
    return Mail(mail_id, "A new password for hullwatch", SecretText(text), now)


def _notice(user_id: str, title: str, text: str, now: datetime, new_id: Callable[[str], str]) -> Notification:
    return Notification(new_id("ntc"), user_id, NotificationKind.ACCOUNT_CHANGED, title, text, now)
