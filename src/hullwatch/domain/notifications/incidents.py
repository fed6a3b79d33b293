"""Incidents of the server that operators are notified of: one for each subject, stored until it has ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

MASS_REFUSAL: Final = "mass refusal"
"""Fyers refuses many sessions at once."""
BROKER_UNAVAILABLE: Final = "broker unavailable"
"""Fyers serves hardly any account."""
CALENDAR: Final = "calendar"
"""Coming trading days are not known."""
_JOB: Final = "job "


@dataclass(frozen=True, slots=True)
class Incident:
    """A failure that outlives the process that noticed it, so that any process can notify operators of the recovery."""

    subject: str
    """At most one incident is open for each."""
    id: str
    began_at: datetime
    bad_at: datetime
    """When the failure was last seen."""
    notified_at: datetime | None = None
    """When operators were notified; `None` while it may be a single failure."""


def job_subject(job: str) -> str:
    """Return the subject of this job's incidents."""
    return _JOB + job


def job_of(subject: str) -> str | None:
    """Return the job that an incident is about, or `None` if it is about something else."""
    return subject.removeprefix(_JOB) if subject.startswith(_JOB) else None
