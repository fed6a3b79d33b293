"""Sentences for operators about the server itself; pure, as those in ``sentences.py``."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from hullwatch.domain.notifications.incidents import Incident
from hullwatch.domain.notifications.notifications import BrokerOutageNotice, Notification, NotificationKind
from hullwatch.services.texts.notices import in_ist

_SILENCES: Final[Mapping[BrokerOutageNotice, tuple[str, str]]] = {
    BrokerOutageNotice.NO_RESPONSE: ("Fyers does not answer", "Fyers does not answer, or not usefully"),
    BrokerOutageNotice.RATE_LIMITED: ("Fyers makes most accounts wait", "Fyers asks most accounts to wait"),
    BrokerOutageNotice.ADDRESS_BLOCKED: (
        "Fyers turns this server away",
        "Fyers' edge turns away what comes from this server's address, whomever it is for",
    ),
}
_TO_DO: Final[Mapping[BrokerOutageNotice, str]] = {
    BrokerOutageNotice.NO_RESPONSE: "If others reach Fyers, look at this server's network.",
    BrokerOutageNotice.RATE_LIMITED: "If this comes again, look whether something else uses the same Fyers apps.",
    BrokerOutageNotice.ADDRESS_BLOCKED: "If it does not end within the hour, ask Fyers about this server's address.",
}


def compose_broker_silent(
    user_id: str,
    *,
    silence: BrokerOutageNotice,
    blind: int,
    served: int,
    incident: Incident,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell an operator that Fyers serves hardly anybody: `blind` of the `served` accounts that are to be watched and have a session."""
    title, what = _SILENCES[silence]
    accounts = f" {blind} of {served} accounts with a session are blind." if blind else ""
    text = (
        f"Since {in_ist(incident.began_at)} {what}.{accounts} Nobody is logged out; hullwatch asks slowly, and fetches what was missed once Fyers "
        f"answers. {_TO_DO[silence]}"
    )
    return Notification(new_id("ntc"), user_id, NotificationKind.BROKER_OUTAGE, title, text, now, incident.id)


def compose_broker_answers(
    user_id: str, *, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that Fyers serves again."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.BROKER_RECOVERED,
        "Fyers answers again",
        f"The trouble lasted from {in_ist(incident.began_at)} to {in_ist(incident.bad_at)}. What was missed is being fetched; signals in it are "
        "marked late.",
        now,
        incident.id,
    )


def compose_job_trouble(
    user_id: str,
    *,
    job: str,
    error: str | None,
    incident: Incident,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell an operator that a job of the server keeps failing, with the class of its error, or, where it has not failed, that it is stuck."""
    since = in_ist(incident.began_at)
    if error is None:
        title = f"The job {job} is stuck"
        text = f"Since {since} the job {job} has not done what it should, and it has not failed either. If this lasts, start hullwatch anew."
    else:
        title = f"The job {job} keeps failing"
        text = f"Since {since} the job {job} fails ({error}). It is started again by itself, later after each failure; the log says more."
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.JOB_RESTARTING,
        title,
        f"{text} You are told when it runs well again.",
        now,
        incident.id,
    )


def compose_job_recovered(
    user_id: str, *, job: str, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that the job runs well again."""
    text = f"The job {job} was in trouble from {in_ist(incident.began_at)} to {in_ist(incident.bad_at)} and runs as it should since then."
    return _recovered(
        new_id("ntc"), user_id, f"The job {job} runs well again", text, now=now, incident=incident
    )


def compose_job_gone(
    user_id: str, *, job: str, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that a job which was in trouble does not exist any more."""
    text = (
        f"The job {job}, which was in trouble since {in_ist(incident.began_at)}, is no part of the server any more: "
        "with its present settings it is not needed."
    )
    return _recovered(
        new_id("ntc"), user_id, f"The job {job} no longer runs here", text, now=now, incident=incident
    )


def _recovered(
    notice_id: str, user_id: str, title: str, text: str, *, now: datetime, incident: Incident
) -> Notification:
    return Notification(notice_id, user_id, NotificationKind.JOB_RECOVERED, title, text, now, incident.id)


def compose_calendar_ending(
    user_id: str, *, warning: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator what the calendar does not know; the same warning is one incident, whichever process finds it and when."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.CALENDAR_ENDING,
        "The calendar of trading days needs care",
        warning,
        now,
        f"calendar-{sha256(warning.encode()).hexdigest()[:16]}",
    )


def compose_calendar_known(
    user_id: str, *, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that the calendar knows again what it did not."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.CALENDAR_KNOWN,
        "The calendar of trading days is whole again",
        f"What the calendar did not know since {in_ist(incident.began_at)} is known now or has passed. Nothing has to be done.",
        now,
        incident.id,
    )
