"""The notices about channels."""

from collections.abc import Callable
from datetime import datetime

from hullwatch.domain.notifications.channels import Channel, Claimed, Mail
from hullwatch.domain.notifications.mail_codes import CODE_LIFETIME
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.secrets import SecretText
from hullwatch.services.texts.times import at_ist, in_ist


def compose_test(channel: Channel, *, now: datetime, new_id: Callable[[str], str]) -> Notification:
    """Return the test of a channel, which counts as read because the user waits for it on the channel."""
    return Notification(
        id=new_id("ntc"),
        user_id=channel.user_id,
        kind=NotificationKind.TEST,
        title="A test from hullwatch",
        text=f"You requested this test {at_ist(now)}. Your notices for {channel.label} arrive the same way.",
        created_at=now,
        read_at=now,
    )


def compose_code(code: str, *, mail_id: str, now: datetime) -> Mail:
    """Return the mail with a confirmation code. It has no words of a user, since the recipient may not know the user."""
    minutes = CODE_LIFETIME.seconds // 60
    text = (
        f"Your code is {code}. Enter it on the Notices page of hullwatch within {minutes} minutes.\n\n"
        "If you did not request it, ignore this mail. Without the code, no notices are sent to this address."
    )
    return Mail(mail_id, "Confirm your e-mail address for hullwatch", SecretText(text), now)


def compose_channel_failing(
    claimed: Claimed, *, since: datetime, why: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a channel has not worked for a long time."""
    return Notification(
        id=new_id("ntc"),
        user_id=claimed.notification.user_id,
        kind=NotificationKind.CHANNEL_FAILING,
        title=f"Notices do not reach {claimed.channel_label}",
        text=(
            f"Nothing could be delivered to {claimed.channel_label} since {in_ist(since)}. {why} hullwatch keeps trying: "
            "check the channel and send a test."
        ),
        created_at=now,
        incident_id=channel_incident(claimed.channel_id, since),
    )


def compose_channel_recovered(
    claimed: Claimed, *, since: datetime, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a channel works again."""
    return Notification(
        id=new_id("ntc"),
        user_id=claimed.notification.user_id,
        kind=NotificationKind.CHANNEL_RECOVERED,
        title=f"Notices reach {claimed.channel_label} again",
        text=f"{claimed.channel_label} has worked again since {in_ist(now)}. The waiting notices follow.",
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
    """Return the notice to an operator about a dead letter; the list on the page shows whose it is."""
    return Notification(
        id=new_id("ntc"),
        user_id=operator_id,
        kind=NotificationKind.DELIVERY_FAILED,
        title="A notice could not be delivered",
        text=(
            f"Delivery to a {claimed.channel_kind.value} channel failed permanently {at_ist(now)}. {why} Retry or discard it on "
            "the Notices page."
        ),
        created_at=now,
        incident_id=incident_id,
    )


def channel_incident(channel_id: str, since: datetime) -> str:
    """Return the incident id of one failure of a channel."""
    return f"{channel_id}.{int(since.timestamp())}"
