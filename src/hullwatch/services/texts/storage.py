"""Sentences about a database that cannot be used, and the notices to operators."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.storage import StorageFault, StorageState
from hullwatch.services.texts.times import in_ist

_FAULTS: Final[Mapping[StorageFault, tuple[str, str]]] = {
    StorageFault.NO_RESPONSE: (
        "The database does not respond.",
        "Check that it runs and that this server can reach it.",
    ),
    StorageFault.LOCKED: ("Another program has locked the database.", "Stop that program."),
    StorageFault.FULL: ("The disk with the database is full.", "Free space on it."),
    StorageFault.READ_ONLY: (
        "The database can be read but not written.",
        "Check the permissions of its file and folder, and of its user.",
    ),
    StorageFault.DAMAGED: (
        "The database is damaged.",
        "Stop hullwatch and restore a copy made with hullwatch db backup.",
    ),
    StorageFault.MISSING: (
        "The database is missing or cannot be opened.",
        "Stop hullwatch and put the database back, or restore a copy.",
    ),
    StorageFault.DISK_ERROR: (
        "The disk with the database reports errors.",
        "Check the disk and its free space.",
    ),
    StorageFault.WRONG_SCHEMA: (
        "The database does not have the schema of this version.",
        "Run hullwatch db upgrade.",
    ),
}
"""What has happened, what to do."""


def storage_sentence(state: StorageState) -> str:
    """Return what is wrong with the database and since when, or an empty text."""
    if state.fault is None and state.is_ready:
        return ""
    sentence, _ = _FAULTS[state.fault or StorageFault.NO_RESPONSE]
    return f"{sentence} The last successful check was {state.age_s:.0f} s ago."


def compose_storage_unavailable(
    user_id: str,
    *,
    fault: StorageFault,
    incident_id: str,
    began_at: datetime,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return the notice that nothing can be stored or read."""
    sentence, action = _FAULTS[fault]
    text = f"{sentence} Since {in_ist(began_at)} logins and changes fail, and signals wait until they can be stored. {action}"
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.STORAGE_UNAVAILABLE,
        "The database cannot be used",
        text,
        now,
        incident_id,
    )


def compose_storage_recovered(
    user_id: str,
    *,
    incident_id: str,
    began_at: datetime,
    ended_at: datetime,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return the notice that the database can be used again."""
    text = (
        f"It could not be used from {in_ist(began_at)} to {in_ist(ended_at)}. Signals of this time are stored now; those that "
        "waited long are marked late."
    )
    return Notification(
        new_id("ntc"),
        user_id,
        NotificationKind.STORAGE_RECOVERED,
        "The database works again",
        text,
        now,
        incident_id,
    )
