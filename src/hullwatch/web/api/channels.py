"""The ways a user's notices travel beyond the page, tests of them, and what operators do about what could not be delivered.

Nothing here answers where a channel leads: only what may be shown of it.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    LONGEST_ADDRESS,
    MOST_CHANNELS,
    Channel,
    DeadLetter,
    Delivery,
)
from hullwatch.domain.notifications.notifications import ChannelKind, DeliveryState, NotificationKind
from hullwatch.domain.users.accounts import LONGEST_NAME, User
from hullwatch.services.notifications.channels import Choice, NewChannel
from hullwatch.services.services import Services
from hullwatch.web.dependencies import Admin, ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Id, Limit, Payload

router = APIRouter(prefix="/api/notifications", tags=["notifications"])
operators_router = APIRouter(prefix="/api/admin/deliveries", tags=["admin"], responses=problems(403))

Kinds = Annotated[frozenset[NotificationKind], Field(max_length=len(NotificationKind))]
Label = Annotated[str, Field(max_length=2 * LONGEST_NAME)]
DeliveryId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,129}$")]


class ChannelHealthPayload(Payload):
    """How a channel has done lately."""

    failures: int = Field(description="Failures in a row.")
    failing_since: datetime | None
    last_error: str | None = Field(description="Why the last attempt failed, in hullwatch's own words.")
    paused_until: datetime | None = Field(description="Nothing is tried before that, tests excepted.")
    last_sent_at: datetime | None


class ChannelPayload(Payload):
    """A way that notices travel beyond the page."""

    id: str
    kind: ChannelKind
    label: str
    hint: str = Field(description="What may be shown of where it leads.")
    kinds: list[NotificationKind] = Field(description="The kinds of notices that it carries.")
    is_on: bool
    created_at: datetime
    health: ChannelHealthPayload

    @classmethod
    def of(cls, channel: Channel) -> "ChannelPayload":
        """Return the payload of a channel."""
        health = channel.health
        return cls(
            id=channel.id,
            kind=channel.kind,
            label=channel.label,
            hint=channel.hint,
            kinds=sorted(channel.kinds),
            is_on=channel.is_on,
            created_at=channel.created_at,
            health=ChannelHealthPayload(
                failures=health.failures,
                failing_since=health.failing_since,
                last_error=health.last_error,
                paused_until=health.paused_until,
                last_sent_at=health.last_sent_at,
            ),
        )


class ChannelsPayload(Payload):
    """The ways a user's notices travel; in the page they are shown whatever is chosen here."""

    channels: list[ChannelPayload]
    available_kinds: list[NotificationKind] = Field(description="The kinds of notices that can be chosen.")
    available_channels: list[ChannelKind] = Field(description="The kinds of channels that can be added here.")


class NewChannelBody(Payload):
    """A channel to add: `address` for everything but Telegram, which takes `botToken` and `chat`."""

    kind: ChannelKind
    label: Label
    kinds: Kinds
    address: Annotated[str, Field(max_length=LONGEST_ADDRESS)] = ""
    bot_token: Annotated[str, Field(max_length=200)] = ""
    chat: Annotated[str, Field(max_length=100)] = ""


class AddedChannelPayload(Payload):
    """The new channel."""

    channel: ChannelPayload
    signing_secret: str | None = Field(
        description="What a webhook's messages are signed with; shown this once."
    )


class ChannelBody(Payload):
    """What is to change of a channel; what is left out stays."""

    label: Label | None = None
    kinds: Kinds | None = None
    is_on: bool | None = None


class ChoiceBody(Payload):
    """What is wanted of one channel."""

    id: Id
    kinds: Kinds
    is_on: bool


class ChoicesBody(Payload):
    """What is wanted of these channels; others stay as they are."""

    channels: Annotated[list[ChoiceBody], Field(max_length=MOST_CHANNELS)]


class TestPayload(Payload):
    """A test that is on its way; `GET /api/notifications/deliveries` tells how it fares."""

    delivery_id: str


class DeliveryPayload(Payload):
    """One notice on one channel."""

    id: str
    channel_id: str
    channel_label: str
    kind: NotificationKind
    title: str
    state: DeliveryState
    created_at: datetime
    attempts: int
    ended_at: datetime | None = Field(description="When it was sent or set aside.")
    last_error: str | None = Field(description="Why the last attempt failed, in hullwatch's own words.")

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryPayload":
        """Return the payload of a delivery."""
        return cls(
            id=delivery.id,
            channel_id=delivery.channel_id,
            channel_label=delivery.channel_label,
            kind=delivery.kind,
            title=delivery.title,
            state=delivery.state,
            created_at=delivery.created_at,
            attempts=delivery.attempts,
            ended_at=delivery.ended_at,
            last_error=delivery.last_error,
        )


class DeliveriesPayload(Payload):
    """Deliveries, newest first."""

    deliveries: list[DeliveryPayload]


class DeadLetterPayload(Payload):
    """A notice that could not be delivered."""

    delivery: DeliveryPayload
    user_id: str
    email: str = Field(description="Whose notice it is.")
    channel_kind: ChannelKind
    channel_hint: str

    @classmethod
    def of(cls, one: DeadLetter) -> "DeadLetterPayload":
        """Return the payload of a notice that was set aside."""
        return cls(
            delivery=DeliveryPayload.of(one.delivery),
            user_id=one.user_id,
            email=one.email,
            channel_kind=one.channel_kind,
            channel_hint=one.channel_hint,
        )


class DeadLetterListPayload(Payload):
    """What could not be delivered, newest first; tests are their users' own business."""

    deliveries: list[DeadLetterPayload]


@router.get("/channels")
async def get_channels(user: SignedIn, services: ServicesNeeded) -> ChannelsPayload:
    """Return the ways the own notices travel."""
    return _payload(services, user, await services.channels.of_user(user.id))


@router.put("/channels", responses=problems(404))
async def put_channels(body: ChoicesBody, user: SignedIn, services: ServicesNeeded) -> ChannelsPayload:
    """Choose, in one step, what some channels carry and whether they are on; the page always shows everything."""
    choices = {one.id: Choice(kinds=one.kinds, is_on=one.is_on) for one in body.channels}
    if len(choices) != len(body.channels):
        raise InvalidInput("A channel stands there twice.", field="channels")
    return _payload(services, user, await services.channels.choose(user, choices))


@router.post("/channels", status_code=201, responses=problems(409, 429))
async def add_channel(body: NewChannelBody, user: SignedIn, services: ServicesNeeded) -> AddedChannelPayload:
    """Add a way for the own notices to travel; an address that leads to a private network is refused."""
    new = NewChannel(body.kind, body.label, body.kinds, body.address, body.bot_token, body.chat)
    channel, secret = await services.channels.add(user, new)
    return AddedChannelPayload(
        channel=ChannelPayload.of(channel), signing_secret=secret.reveal() if secret else None
    )


@router.patch("/channels/{channel_id}")
async def change_channel(
    channel_id: Id, body: ChannelBody, user: SignedIn, services: ServicesNeeded
) -> ChannelPayload:
    """Change a channel's name, what it carries, or whether it is on; turned off, it loses what waits for it."""
    choice = Choice(body.label, body.kinds, body.is_on)
    changed = await services.channels.choose(user, {channel_id: choice})
    return next(ChannelPayload.of(one) for one in changed if one.id == channel_id)


@router.delete("/channels/{channel_id}", status_code=204)
async def remove_channel(channel_id: Id, user: SignedIn, services: ServicesNeeded) -> None:
    """Remove a channel, what it leads to, and whatever waits for it."""
    await services.channels.remove(user.id, channel_id)


@router.post("/channels/{channel_id}/test", status_code=202, responses=problems(429))
async def test_channel(channel_id: Id, user: SignedIn, services: ServicesNeeded) -> TestPayload:
    """Send a test, the way every notice goes."""
    return TestPayload(delivery_id=await services.channels.test(user.id, channel_id))


@router.get("/deliveries")
async def deliveries(user: SignedIn, services: ServicesNeeded, *, limit: Limit = 50) -> DeliveriesPayload:
    """Return how the own notices fared on their channels."""
    found = await services.channels.deliveries(user.id, limit=limit)
    return DeliveriesPayload(deliveries=[DeliveryPayload.of(one) for one in found])


@operators_router.get("")
async def dead_letters(_: Admin, services: ServicesNeeded, *, limit: Limit = 200) -> DeadLetterListPayload:
    """Return everybody's notices that could not be delivered."""
    found = await services.channels.dead_letters(limit=limit)
    return DeadLetterListPayload(deliveries=[DeadLetterPayload.of(one) for one in found])


@operators_router.post("/{delivery_id}/retry", status_code=204)
async def retry(delivery_id: DeliveryId, admin: Admin, services: ServicesNeeded) -> None:
    """Try a notice again that was set aside."""
    await services.channels.retry(delivery_id, actor=admin.id)


@operators_router.delete("/{delivery_id}", status_code=204)
async def discard(delivery_id: DeliveryId, admin: Admin, services: ServicesNeeded) -> None:
    """Give up a notice that was set aside."""
    await services.channels.discard(delivery_id, actor=admin.id)


def _payload(services: Services, user: User, channels: list[Channel]) -> ChannelsPayload:
    return ChannelsPayload(
        channels=[ChannelPayload.of(one) for one in channels],
        available_kinds=list(services.channels.kinds_for(user)),
        available_channels=list(services.channels.available()),
    )
