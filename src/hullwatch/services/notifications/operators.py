"""Sentences for operators about the server itself; pure, as those in ``sentences.py``."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from hullwatch.domain.notifications import Notification, NotificationKind
from hullwatch.services.notifications.sentences import in_ist


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
