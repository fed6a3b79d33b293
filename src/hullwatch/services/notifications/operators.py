"""Sentences for operators about the server itself; pure, as those in ``sentences.py``."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from hullwatch.domain.notifications import BrokerSilence, Notification, NotificationKind
from hullwatch.services.notifications.sentences import in_ist

_SILENCES: Final[Mapping[BrokerSilence, tuple[str, str]]] = {
    BrokerSilence.NO_ANSWER: ("Fyers does not answer", "Fyers does not answer, or not usefully"),
    BrokerSilence.MUST_WAIT: ("Fyers makes most accounts wait", "Fyers asks most accounts to wait"),
    BrokerSilence.TURNED_AWAY: (
        "Fyers turns this server away",
        "Fyers' edge turns away what comes from this server's address, whomever it is for",
    ),
}
_TO_DO: Final[Mapping[BrokerSilence, str]] = {
    BrokerSilence.NO_ANSWER: "If others reach Fyers, look at this server's network.",
    BrokerSilence.MUST_WAIT: "If this comes again, look whether something else uses the same Fyers apps.",
    BrokerSilence.TURNED_AWAY: "If it does not end within the hour, ask Fyers about this server's address.",
}


def compose_broker_silent(
    user_id: str,
    *,
    silence: BrokerSilence,
    since: datetime,
    blind: int,
    served: int,
    incident_id: str,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell an operator that Fyers serves hardly anybody: `blind` of the `served` accounts that are to be watched and have a session."""
    title, what = _SILENCES[silence]
    accounts = f" {blind} of {served} accounts with a session are blind." if blind else ""
    text = (
        f"Since {in_ist(since)} {what}.{accounts} Nobody is logged out; hullwatch asks slowly, and fetches what was missed once Fyers "
        f"answers. {_TO_DO[silence]}"
    )
    return Notification(
        new_id("ntc"), user_id, NotificationKind.BROKER_TROUBLE, title, text, now, incident_id
    )


def compose_broker_answers(
    user_id: str, *, since: datetime, incident_id: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that Fyers serves again."""
    text = f"Since {in_ist(since)} Fyers answers. What was missed is being fetched; signals in it are marked late."
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.BROKER_RECOVERED,
        "Fyers answers again",
        text,
        now,
        incident_id,
    )


def compose_job_trouble(
    user_id: str,
    *,
    job: str,
    error: str | None,
    incident_id: str,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell an operator that a job of the server has died; it is named, and so is the class of its error."""
    why = f" ({error})" if error else ""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.JOB_RESTARTING,
        f"The job {job} is being restarted",
        f"At {in_ist(now)} the job {job} was found to have failed{why}. It is started again by itself, later after each failure; the log says more. "
        "Nothing has to be done unless this lasts.",
        now,
        incident_id,
    )


def compose_job_recovered(
    user_id: str, *, job: str, incident_id: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell an operator that the job runs well again."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.JOB_RECOVERED,
        f"The job {job} runs well again",
        f"Since {in_ist(now)} the job {job} runs as it should.",
        now,
        incident_id,
    )


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
