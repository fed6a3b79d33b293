"""The sentences of notices about channels themselves: pure composing. What is told of sessions and markets is in ``sentences.py``."""

from collections.abc import Callable
from datetime import datetime

from hullwatch.domain.notifications.channels import Channel, Claimed
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.services.texts.notices import in_ist


def compose_test(channel: Channel, *, now: datetime, new_id: Callable[[str], str]) -> Notification:
    """Say on a channel that it works; counts as read, since whoever asked for it waits for it elsewhere."""
    return Notification(
        id=new_id("ntc"),
        user_id=channel.user_id,
        kind=NotificationKind.TEST,
        title="A test from hullwatch",
        text=f"You asked for this at {in_ist(now)}. The notices that you chose for {channel.label} arrive the same way.",
        created_at=now,
        read_at=now,
    )


def compose_channel_failing(
    claimed: Claimed, *, since: datetime, why: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell a user, in the page, that a channel has not worked for long."""
    return Notification(
        id=new_id("ntc"),
        user_id=claimed.notification.user_id,
        kind=NotificationKind.CHANNEL_FAILING,
        title=f"Notices do not reach {claimed.channel_label}",
        text=(
            f"Since {in_ist(since)} nothing could be delivered to {claimed.channel_label}. {why} hullwatch keeps trying; "
            "look at the channel and send a test."
        ),
        created_at=now,
        incident_id=channel_incident(claimed.channel_id, since),
    )


def compose_channel_recovered(
    claimed: Claimed, *, since: datetime, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell the user that it works again."""
    return Notification(
        id=new_id("ntc"),
        user_id=claimed.notification.user_id,
        kind=NotificationKind.CHANNEL_RECOVERED,
        title=f"Notices reach {claimed.channel_label} again",
        text=f"Since {in_ist(now)} {claimed.channel_label} takes notices again; those that waited follow.",
        created_at=now,
        incident_id=channel_incident(claimed.channel_id, since),
    )


def compose_delivery_failed(
    operator_id: str,
    claimed: Claimed,
    *,
    incident_id: str,
    why: str,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell an operator, in the page, that a notice could not be delivered; whose it is stands in the list."""
    return Notification(
        id=new_id("ntc"),
        user_id=operator_id,
        kind=NotificationKind.DELIVERY_FAILED,
        title="A notice could not be delivered",
        text=(
            f"A notice to a {claimed.channel_kind.value} channel was set aside at {in_ist(now)}. {why} The list of such notices is on "
            "the Notices page: try it again there, or discard it."
        ),
        created_at=now,
        incident_id=incident_id,
    )


def channel_incident(channel_id: str, since: datetime) -> str:
    """Return what names one time of a channel's not working."""
    return f"{channel_id}.{int(since.timestamp())}"
