"""NotificationService: what users are told, in sentences for people, and where it is kept until they have read it.

``sentences`` and ``summary`` compose and are pure; ``service`` keeps. A notice is stored by whoever makes the change it tells of, in the same
transaction, so that neither exists without the other.
"""

from hullwatch.services.notifications.sentences import (
    UNREADABLE_TOKEN,
    announce,
    compose_broker_trouble,
    compose_login_renewed,
    compose_session_ended,
    describe_status,
    in_ist,
)
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.notifications.summary import Summary, compose_daily_summary, describe_blindness

__all__ = [
    "UNREADABLE_TOKEN",
    "NotificationService",
    "Summary",
    "announce",
    "compose_broker_trouble",
    "compose_daily_summary",
    "compose_login_renewed",
    "compose_session_ended",
    "describe_blindness",
    "describe_status",
    "in_ist",
]
