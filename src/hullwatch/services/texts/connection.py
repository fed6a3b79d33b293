"""Sentences about a connection for the person whose it is; what is true is decided in the domain. Times are IST and say so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState, VerificationState
from hullwatch.domain.sessions.tokens import IST

LOG_IN_AGAIN: Final = "Log in to Fyers again to go on."
LOG_IN_NOW: Final = "You can log in again now."

ENDED: Final[Mapping[DisconnectReason, str]] = {
    DisconnectReason.EXPIRED: "Your Fyers session ended at {at}, as it does every day.",
    DisconnectReason.REJECTED: "Fyers ended your session early, at {at}; that happens when it is signed out elsewhere.",
    DisconnectReason.SIGNED_OUT: "You disconnected Fyers at {at}.",
    DisconnectReason.BY_ADMIN: "An admin disconnected your Fyers session at {at}.",
}

EXPIRED_EARLY: Final = "Fyers says that your session expired at {at}, earlier than its regular end."

STANDING: Final[Mapping[VerificationState, str]] = {
    VerificationState.ASSUMED: "Fyers has not been asked about it yet.",
    VerificationState.VERIFIED: "Fyers confirms it.",
    VerificationState.UNVERIFIED: "Fyers cannot be asked at the moment, so it is unconfirmed but still used.",
    VerificationState.UNDER_VERIFICATION: "Fyers has just refused it once, so it is being checked a second time.",
    VerificationState.HELD: "Fyers is refusing many sessions at once; yours is kept until Fyers recovers.",
}


def in_ist(moment: datetime) -> str:
    """Return a moment as it is said in India: ``06:00 IST on 24 November``."""
    local = moment.astimezone(IST)
    return f"{local:%H:%M} IST on {local.day} {local:%B}"


def connection_message(connection: Connection) -> str:
    """Return what the person has to know of the connection, and to do about it; depends on nothing but the connection."""
    match connection.state:
        case LoginState.NEVER_CONNECTED:
            return "You have not connected a Fyers account yet. Log in to Fyers to begin."
        case LoginState.DISCONNECTED:
            return f"{_end(connection)} {LOG_IN_AGAIN}"
        case LoginState.EXPIRING:
            begin, then = f"Your Fyers session ends soon{_until(connection)}.", f" {LOG_IN_NOW}"
        case LoginState.CONNECTED:
            begin, then = f"You are connected to Fyers{_until(connection)}.", ""
    return f"{begin} {STANDING[connection.verification_state]}{then}"


def _until(connection: Connection) -> str:
    if connection.expires_at is None:
        return ""
    word = ", at" if connection.state is LoginState.EXPIRING else " until"
    return f"{word} {in_ist(connection.expires_at)}"


def _end(connection: Connection) -> str:
    if connection.reason is None:
        return "Your Fyers session has ended."
    ended_at, known = _ended_at(connection), connection.expires_at
    sentence = ENDED[connection.reason]
    if (
        connection.reason is DisconnectReason.EXPIRED
        and ended_at is not None
        and known is not None
        and ended_at < known
    ):
        sentence = EXPIRED_EARLY
    return sentence.format(at=in_ist(ended_at) if ended_at else "an unknown time")


def _ended_at(connection: Connection) -> datetime | None:
    """Return when the session really ended: an expiry noticed late, such as after a restart, counts from the known end."""
    noticed, known = connection.last_disconnect_at, connection.expires_at
    if (
        connection.reason is DisconnectReason.EXPIRED
        and known is not None
        and (noticed is None or known < noticed)
    ):
        return known
    return noticed
