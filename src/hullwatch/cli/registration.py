"""Sentences about registration for operators."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hullwatch.settings import Settings

NO_ADMIN = "There is no admin yet. Add one: hullwatch users add EMAIL --role admin"


def registration_sentence(settings: "Settings") -> str:
    """Return who can create accounts, and why."""
    if settings.registration_mode == "open":
        return "open: anyone at this machine can create an account, and the first one becomes admin."
    if settings.registration_mode == "closed":
        return "closed: only hullwatch users add creates accounts."
    if settings.registration:
        why = "as HULLWATCH_REGISTRATION says"
    elif settings.listens_locally:
        why = "because HULLWATCH_PUBLIC_URL is not an address of this machine"
    else:
        why = "because other machines can reach HULLWATCH_HOST"
    return f"by invitation, {why}: admins create the links on the Server page."
