"""The notices to operators about Fyers, the server's jobs and the calendar."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from hullwatch.domain.notifications.incidents import Incident
from hullwatch.domain.notifications.notifications import BrokerOutageNotice, Notification, NotificationKind
from hullwatch.services.texts.times import in_ist

_OUTAGES: Final[Mapping[BrokerOutageNotice, tuple[str, str, str]]] = {
    BrokerOutageNotice.NO_RESPONSE: (
        "Fyers is not responding",
        "Fyers has not responded properly",
        "If others can reach Fyers, check the network of this server.",
    ),
    BrokerOutageNotice.RATE_LIMITED: (
        "Fyers asks most accounts to wait",
        "Fyers has asked most accounts to wait",
        "If this happens again, check whether another program uses the same Fyers apps.",
    ),
    BrokerOutageNotice.ADDRESS_BLOCKED: (
        "Fyers blocks this server",
        "Cloudflare has blocked the address of this server at Fyers",
        "If this lasts longer than an hour, ask Fyers about the address of this server.",
    ),
}
"""Title, what has happened, what to do."""


def compose_broker_unavailable(
    user_id: str,
    *,
    outage: BrokerOutageNotice,
    blind: int,
    served: int,
    incident: Incident,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return the notice that Fyers serves hardly any account.

    Args:
        user_id: The operator.
        outage: What kind of outage it is.
        blind: Accounts that are not watched because of it.
        served: Accounts that have a session and want monitoring.
        incident: The outage as it is stored.
        now: The time of the notice.
        new_id: Makes ids.
    """
    title, happened, action = _OUTAGES[outage]
    accounts = f" {blind} of {served} accounts with a session are blind." if blind else ""
    text = (
        f"{happened} since {in_ist(incident.began_at)}.{accounts} Users stay connected, and missed candles are loaded afterwards. "
        f"{action}"
    )
    return Notification(new_id("ntc"), user_id, NotificationKind.BROKER_OUTAGE, title, text, now, incident.id)


def compose_broker_available(
    user_id: str, *, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that Fyers responds again."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.BROKER_RECOVERED,
        "Fyers responds again",
        f"The outage lasted from {in_ist(incident.began_at)} to {in_ist(incident.bad_at)}. Missed candles are being loaded; "
        "signals in them are marked late.",
        now,
        incident.id,
    )


def compose_job_failing(
    user_id: str,
    *,
    job: str,
    error: str | None,
    incident: Incident,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return the notice that a job keeps failing, with the class of its error; without an error it is stuck."""
    since = in_ist(incident.began_at)
    if error is None:
        title = f"Background job {job} is stuck"
        text = f"The job {job} has done no work since {since}. If this lasts, restart hullwatch."
    else:
        title = f"Background job {job} is failing"
        text = f"The job {job} has been failing since {since} ({error}). It is restarted automatically; the log says more."
    return Notification(
        new_id("ntc"), user_id, NotificationKind.JOB_RESTARTING, title, text, now, incident.id
    )


def compose_job_recovered(
    user_id: str, *, job: str, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a job works again."""
    text = f"The job {job} was failing from {in_ist(incident.began_at)} to {in_ist(incident.bad_at)}. It has worked since then."
    title = f"Background job {job} works again"
    return Notification(new_id("ntc"), user_id, NotificationKind.JOB_RECOVERED, title, text, now, incident.id)


def compose_job_removed(
    user_id: str, *, job: str, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a job which was failing does not run on this server any more."""
    text = (
        f"The job {job} was failing since {in_ist(incident.began_at)}. With its present settings the server does not run it "
        "any more."
    )
    title = f"Background job {job} no longer runs"
    return Notification(new_id("ntc"), user_id, NotificationKind.JOB_RECOVERED, title, text, now, incident.id)


def compose_calendar_ending(
    user_id: str, *, warning: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice about missing trading days; every process gives the same warning the same incident id."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.CALENDAR_ENDING,
        "Trading days are missing in the calendar",
        warning,
        now,
        f"calendar-{sha256(warning.encode()).hexdigest()[:16]}",
    )


def compose_calendar_known(
    user_id: str, *, incident: Incident, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that the missing trading days are known or past."""
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.CALENDAR_KNOWN,
        "Trading days are known again",
        f"The trading days that were missing since {in_ist(incident.began_at)} are known or past. You do not need to do anything.",
        now,
        incident.id,
    )
