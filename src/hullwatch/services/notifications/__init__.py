"""NotificationService: what users are told, in sentences for people, and where it is kept until they have read it.

``sentences``, ``channel_sentences`` and ``summary`` compose and are pure; ``service`` keeps. A notice is stored by whoever makes the change it tells of,
in the same transaction, so that neither exists without the other. Storing puts it into the outbox as well: ``channels`` holds where a
user's notices travel, ``outbox`` sends them, ``verdicts`` says what follows from how that went, and ``lanes`` who may send at once.
"""

from hullwatch.services.notifications.readiness import (
    ReadinessLine,
    compose_not_ready,
    compose_now_ready,
    compose_session_expiring,
    describe_readiness,
)
from hullwatch.services.notifications.sentences import (
    UNREADABLE_TOKEN,
    announce,
    compose_broker_trouble,
    compose_login_asked,
    compose_login_renewed,
    compose_session_ended,
    compose_signal,
    describe_status,
    in_ist,
)
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.notifications.summary import Summary, compose_daily_summary, describe_blindness

__all__ = [
    "UNREADABLE_TOKEN",
    "NotificationService",
    "ReadinessLine",
    "Summary",
    "announce",
    "compose_broker_trouble",
    "compose_daily_summary",
    "compose_login_asked",
    "compose_login_renewed",
    "compose_not_ready",
    "compose_now_ready",
    "compose_session_ended",
    "compose_session_expiring",
    "compose_signal",
    "describe_blindness",
    "describe_readiness",
    "describe_status",
    "in_ist",
]
