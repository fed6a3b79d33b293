"""What is wrong with the server and was told to its operators, or may have to be: one incident a subject, kept until it is over.

Where they are kept is storage's business; what is said about them stands in ``services/notifications/operators.py``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

MASS_REFUSAL: Final = "mass refusal"
"""Fyers refuses many sessions at once."""
BROKER_UNAVAILABLE: Final = "broker unavailable"
"""Fyers serves hardly any account."""
CALENDAR: Final = "calendar"
"""Days that come are not known."""
_JOB: Final = "job "


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is wrong. It outlives the process that noticed it, so that its recovery is told by whichever process sees it."""

    subject: str
    """What it is about; there is at most one open incident about each."""
    id: str
    began_at: datetime
    bad_at: datetime
    """When it was last seen to be wrong."""
    notified_at: datetime | None = None
    """When operators were told; `None` while it may be no more than a blip."""


def job_subject(job: str) -> str:
    """Return what an incident of this job is filed under."""
    return _JOB + job


def job_of(subject: str) -> str | None:
    """Return the job that an incident is about, or `None` if it is about something else."""
    return subject.removeprefix(_JOB) if subject.startswith(_JOB) else None
