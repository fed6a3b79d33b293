"""Routes about channels: where a user's notices are sent, and the deliveries on them.

No answer contains the address or the secret of a channel, only a hint of it.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BeforeValidator, Field

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    LONGEST_ADDRESS,
    MOST_CHANNELS,
    AddressProof,
    Channel,
)
from hullwatch.domain.notifications.notifications import ChannelKind, DeliveryState, NotificationKind
from hullwatch.domain.users.accounts import LONGEST_NAME, User
from hullwatch.services.notifications.channels import Choice, NewChannel
from hullwatch.services.services import Services
from hullwatch.web.dependencies import Admin, CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Id, Limit, Payload

router = APIRouter(prefix="/api/notifications", tags=["notifications"])
admin_router = APIRouter(prefix="/api/admin/deliveries", tags=["admin"], responses=problems(403))

Kinds = Annotated[frozenset[NotificationKind], Field(max_length=len(NotificationKind))]
Label = Annotated[str, Field(max_length=2 * LONGEST_NAME)]
DeliveryId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,129}$")]


class ChannelHealthPayload(Payload):
    """The latest results of a channel."""

    failures: int = Field(description="Failures in a row.")
    failing_since: datetime | None
    last_error: str | None = Field(description="Why the last attempt failed.")
    paused_until: datetime | None = Field(description="No attempt is made before this time, except tests.")
    last_sent_at: datetime | None


class ChannelPayload(Payload):
    """A channel: where notices are sent."""

    id: str
    kind: ChannelKind
    label: str
    hint: str = Field(description="The part of the address that is not secret.")
    kinds: Annotated[list[NotificationKind], BeforeValidator(sorted)] = Field(
        description="The kinds of notices that are sent there."
    )
    is_on: bool
    created_at: datetime
    proof: AddressProof | None = Field(
        description="Only of an e-mail address: what showed that it belongs to the user. Without a proof, no notice is sent there."
    )
    health: ChannelHealthPayload


class ChannelsPayload(Payload):
    """The channels of a user. The pages show all notices, whatever is chosen here."""

    channels: list[ChannelPayload]
    available_kinds: list[NotificationKind] = Field(description="The kinds of notices that can be chosen.")
    available_channels: list[ChannelKind] = Field(description="The kinds of channels that can be added here.")


class NewChannelBody(Payload):
    """A channel to add. Telegram needs `botToken` and `chat`, all other kinds need `address`."""

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
        description="The secret that a webhook's messages are signed with; it is shown only once."
    )


class ChannelBody(Payload):
    """The changes of a channel; fields that are left out stay as they are."""

    label: Label | None = None
    kinds: Kinds | None = None
    is_on: bool | None = None


class ChoiceBody(Payload):
    """The choices for one channel."""

    id: Id
    kinds: Kinds
    is_on: bool


class ChoicesBody(Payload):
    """The choices for these channels; other channels stay as they are."""

    channels: Annotated[list[ChoiceBody], Field(max_length=MOST_CHANNELS)]


class CodeBody(Payload):
    """The code of the last mail to the address; spaces and hyphens are ignored."""

    code: Annotated[str, Field(max_length=40)]


class TestPayload(Payload):
    """A test notice that will be sent; `GET /api/notifications/deliveries` shows its state."""

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
    ended_at: datetime | None = Field(description="When it was sent or failed permanently.")
    last_error: str | None = Field(description="Why the last attempt failed.")


class DeliveriesPayload(Payload):
    """Deliveries, newest first."""

    deliveries: list[DeliveryPayload]


class DeadLetterPayload(Payload):
    """A notice that could not be delivered."""

    delivery: DeliveryPayload
    user_id: str
    email: str = Field(description="The e-mail address of the notice's user.")
    channel_kind: ChannelKind
    channel_hint: str


class DeadLetterListPayload(Payload):
    """Notices that could not be delivered, newest first; tests are not included."""

    deliveries: list[DeadLetterPayload]


@router.get("/channels")
async def get_channels(user: SignedIn, services: CurrentServices) -> ChannelsPayload:
    """Return the caller's channels, and the kinds that can be chosen."""
    return _payload(services, user, await services.channels.of_user(user.id))


@router.put("/channels", responses=problems(404))
async def put_channels(body: ChoicesBody, user: SignedIn, services: CurrentServices) -> ChannelsPayload:
    """Choose for several channels at once which notices are sent there, and whether they are on."""
    choices = {one.id: Choice(kinds=one.kinds, is_on=one.is_on) for one in body.channels}
    if len(choices) != len(body.channels):
        raise InvalidInput("A channel is listed twice.", field="channels")
    return _payload(services, user, await services.channels.choose(user, choices))


@router.post("/channels", status_code=201, responses=problems(409, 429))
async def add_channel(body: NewChannelBody, user: SignedIn, services: CurrentServices) -> AddedChannelPayload:
    """Add a channel. An address in a private network is refused. An e-mail address must be confirmed before notices are sent there."""
    new = NewChannel(body.kind, body.label, body.kinds, body.address, body.bot_token, body.chat)
    channel, secret = await services.channels.add(user, new)
    signing_secret = secret.reveal() if secret else None
    return AddedChannelPayload(channel=ChannelPayload.of(channel), signing_secret=signing_secret)


@router.patch("/channels/{channel_id}")
async def change_channel(
    channel_id: Id, body: ChannelBody, user: SignedIn, services: CurrentServices
) -> ChannelPayload:
    """Change the name of a channel, the kinds of its notices, or whether it is on. Turning it off deletes its waiting notices."""
    choice = Choice(body.label, body.kinds, body.is_on)
    changed = await services.channels.choose(user, {channel_id: choice})
    return next(ChannelPayload.of(one) for one in changed if one.id == channel_id)


@router.delete("/channels/{channel_id}", status_code=204)
async def remove_channel(channel_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Remove a channel with its address and its waiting notices."""
    await services.channels.remove(user.id, channel_id)


@router.post("/channels/{channel_id}/code", status_code=204, responses=problems(409, 422, 429, 503))
async def send_code(channel_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Mail a confirmation code to an e-mail channel. An earlier code becomes invalid."""
    await services.mail_confirmation.send_code(user.id, channel_id)


@router.post("/channels/{channel_id}/confirm", responses=problems(422))
async def confirm_address(
    channel_id: Id, body: CodeBody, user: SignedIn, services: CurrentServices
) -> ChannelPayload:
    """Confirm the address of an e-mail channel with the mailed code; notices are sent there from now on."""
    return ChannelPayload.of(await services.mail_confirmation.confirm(user, channel_id, body.code))


@router.post("/channels/{channel_id}/test", status_code=202, responses=problems(403, 429))
async def test_channel(channel_id: Id, user: SignedIn, services: CurrentServices) -> TestPayload:
    """Send a test notice to a channel, in the same way as every notice."""
    return TestPayload(delivery_id=await services.channels.test(user.id, channel_id))


@router.get("/deliveries")
async def deliveries(user: SignedIn, services: CurrentServices, *, limit: Limit = 50) -> DeliveriesPayload:
    """Return the deliveries of the caller's notices, newest first."""
    found = await services.channels.deliveries(user.id, limit=limit)
    return DeliveriesPayload(deliveries=[DeliveryPayload.of(one) for one in found])


@admin_router.get("")
async def dead_letters(_: Admin, services: CurrentServices, *, limit: Limit = 200) -> DeadLetterListPayload:
    """Return the notices of all users that could not be delivered."""
    found = await services.channels.dead_letters(limit=limit)
    return DeadLetterListPayload(deliveries=[DeadLetterPayload.of(one) for one in found])


@admin_router.post("/{delivery_id}/retry", status_code=204)
async def retry(delivery_id: DeliveryId, admin: Admin, services: CurrentServices) -> None:
    """Send a notice again that failed permanently."""
    await services.channels.retry(delivery_id, actor=admin.id)


@admin_router.delete("/{delivery_id}", status_code=204)
async def discard(delivery_id: DeliveryId, admin: Admin, services: CurrentServices) -> None:
    """Delete a notice that failed permanently."""
    await services.channels.discard(delivery_id, actor=admin.id)


def _payload(services: Services, user: User, channels: list[Channel]) -> ChannelsPayload:
    return ChannelsPayload(
        channels=[ChannelPayload.of(one) for one in channels],
        available_kinds=list(services.channels.kinds_for(user)),
        available_channels=list(services.channels.available()),
    )
