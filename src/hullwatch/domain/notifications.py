"""What users are told: a signal or account notice addressed to one user. How it travels belongs to services."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NotificationKind(StrEnum):
    """What a notification is about."""

    SESSION_ENDED = "session_ended"
    LOGIN_RENEWED = "login_renewed"
    SIGNAL = "signal"
    BROKER_TROUBLE = "broker_trouble"
    BROKER_RECOVERED = "broker_recovered"


@dataclass(frozen=True, slots=True)
class Notification:
    """One notice; at most one of a kind exists per user and incident."""

    id: str
    user_id: str
    kind: NotificationKind
    title: str
    text: str
    created_at: datetime
    incident_id: str | None = None
    read_at: datetime | None = None
