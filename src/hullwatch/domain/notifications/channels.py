"""Channels of users, their deliveries and messages, and the reading of typed addresses."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlsplit

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.addresses import as_address
from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    FOR_OPERATORS,
    PAGE_ONLY,
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import LONGEST_EMAIL, LONGEST_NAME, Role, read_email

MOST_CHANNELS: Final = 10
"""Of one user: each event may send a message to all of them."""
LONGEST_ADDRESS: Final = 2_000

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,31})://\S+", re.IGNORECASE)
_BOT_TOKEN: Final = re.compile(r"[0-9]{5,20}:[A-Za-z0-9_-]{20,80}")
_CHAT: Final = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31}")
_SLACK_PATH: Final = re.compile(r"/services/([A-Za-z0-9]{1,32})/([A-Za-z0-9]{1,32})/([A-Za-z0-9]{1,64})/?")


class ChannelAddress(SecretText):
    """The address of a channel, which may hold a password, key or bot token."""

    __slots__ = ()


class SigningSecret(SecretText):
    """Signs the messages of a webhook."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """The last attempts on a channel."""

    last_sent_at: datetime | None = None
    failures: int = 0
    """Failures in a row."""
    failing_since: datetime | None = None
    """When the first of them happened."""
    last_error: str | None = None
    """One of our own sentences, never the receiver's."""
    paused_until: datetime | None = None
    """There is no attempt before that."""

    @property
    def is_proven(self) -> bool:
        """Whether the last attempt succeeded; any other channel may hang."""
        return not self.failures and self.last_sent_at is not None


class AddressProof(StrEnum):
    """What showed that an e-mail address belongs to the user of its channel."""

    CODE = "code"
    """The user entered a code that was mailed to the address."""
    DELIVERY = "delivery"
    """Mail was delivered there before 0.2.0: enough for notices, not for a password reset."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A user's channel, without its address."""

    id: str
    user_id: str
    kind: ChannelKind
    label: str
    hint: str
    """The part of the address that may be shown."""
    kinds: frozenset[NotificationKind]
    """The kinds of notices that it carries."""
    is_on: bool
    created_at: datetime
    health: ChannelHealth = ChannelHealth()
    proof: AddressProof | None = None
    """Only of an e-mail address; without it, nothing but codes is sent there."""

    @property
    def is_confirmed(self) -> bool:
        """Whether notices may be sent there; only e-mail addresses have to be confirmed."""
        return self.kind is not ChannelKind.EMAIL or self.proof is not None


@dataclass(frozen=True, slots=True)
class Destination:
    """The address of a channel, for sending."""

    kind: ChannelKind
    address: ChannelAddress
    signing_secret: SigningSecret | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on one channel, as its user may see it."""

    id: str
    notification_id: str
    channel_id: str
    channel_label: str
    kind: NotificationKind
    title: str
    state: DeliveryState
    created_at: datetime
    attempts: int
    ended_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A notice that could not be delivered, as an operator sees it."""

    delivery: Delivery
    user_id: str
    email: str
    channel_kind: ChannelKind
    channel_hint: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this server claimed; no other server sends it until the claim expires."""

    id: str
    attempts: int
    created_at: datetime
    notification: Notification
    channel_id: str
    channel_kind: ChannelKind
    channel_label: str
    health: ChannelHealth
    destination: Destination | None
    """`None` if its stored address cannot be decrypted."""


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """Which deliveries a server can take on at once."""

    kinds: frozenset[ChannelKind]
    limit: int
    """How many in all."""
    unproven_limit: int
    """How many of them on channels of which it is not known that they work."""
    per_channel: int
    """How many on one channel that works; on any other it is one."""
    running: Mapping[str, int]
    """Channel id → how many deliveries this server is sending there."""

    def picked(self, due: Iterable[tuple[str, str, bool]]) -> list[str]:
        """Return which of these to take, given as delivery id, channel id and whether the channel is proven, the most urgent first."""
        taken: list[str] = []
        busy = dict(self.running)
        unproven_limit = self.unproven_limit
        for delivery_id, channel_id, is_proven in due:
            if len(taken) == self.limit:
                break
            if busy.get(channel_id, 0) >= (self.per_channel if is_proven else 1):
                continue
            if not is_proven:
                if unproven_limit <= 0:
                    continue
                unproven_limit -= 1
            busy[channel_id] = busy.get(channel_id, 0) + 1
            taken.append(delivery_id)
        return taken


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What is to be stored of one attempt."""

    id: str
    state: DeliveryState
    at: datetime
    due_at: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: the notice, and a link that logs in again where one makes sense."""

    id: str
    """Stays the same however often it is sent, so that a receiver knows a repetition."""
    notification: Notification
    login_link: SecretText | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that is no notice: a confirmation code or a link. It is stored nowhere."""

    id: str
    subject: str
    text: SecretText
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver has taken it."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """It was not taken, or the answer was lost; the same message may be sent again."""

    why: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver, or a rule of ours, said no."""

    why: str
    is_permanent: bool = False
    """Nothing but a change of the channel can help; otherwise a few more tries are made."""
    is_of_message: bool = False
    """The refusal may be about this message alone; it is, if the channel accepts others."""


SendOutcome = Sent | TryLater | Refused


def choosable_kinds(role: Role) -> tuple[NotificationKind, ...]:
    """Return the kinds of notices that someone in this role may have sent to a channel."""
    hidden = PAGE_ONLY | DELIVERED_WITH.keys() | {NotificationKind.TEST}
    return tuple(
        kind
        for kind in NotificationKind
        if kind not in hidden and (role is Role.ADMIN or kind not in FOR_OPERATORS)
    )


def read_kinds(kinds: frozenset[NotificationKind], role: Role) -> frozenset[NotificationKind]:
    """Return the kinds if someone in this role may choose them.

    Raises:
        InvalidInput: One is not for that role, or is shown in the page alone.
    """
    foreign = kinds - set(choosable_kinds(role))
    if foreign:
        raise InvalidInput(f"Notices of the kind {min(foreign)} cannot be chosen.", field="kinds")
    return kinds


def read_label(text: str) -> str:
    """Return what a person calls a channel.

    Raises:
        InvalidInput: It is empty, too long or holds control characters.
    """
    label = " ".join(text.split())
    if not label or len(label) > LONGEST_NAME or not label.isprintable():
        raise InvalidInput(f"A name has 1 to {LONGEST_NAME} printable characters.", field="label")
    return label


def read_mail_address(text: str) -> tuple[ChannelAddress, str]:
    """Return an e-mail address that mail can be sent to over the internet, and what may be shown of it.

    Raises:
        InvalidInput: It is none, or names a machine by its number.
    """
    try:
        email = read_email(text)
    except InvalidInput as refusal:
        raise InvalidInput(str(refusal), field="address") from None
    domain = email.rpartition("@")[2]
    if not email.isascii() or not email.isprintable() or set(email) & set('<>()[],;:%!\\"'):
        raise InvalidInput("That is not an e-mail address that notices can be sent to.", field="address")
    if as_address(domain) is not None or domain.rpartition(".")[2].isdigit():
        raise InvalidInput("An e-mail address names a domain, not a machine's number.", field="address")
    if domain.endswith((".localhost", ".local", ".internal")):
        raise InvalidInput("That domain leads to a private network.", field="address")
    return ChannelAddress(email), f"{email[0]}…@{domain}"[:LONGEST_EMAIL]


def read_webhook_address(text: str) -> tuple[ChannelAddress, str]:
    """Return the address of a webhook and what may be shown of it: its host.

    Raises:
        InvalidInput: It is not a plain http or https address.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("A webhook has a full address that begins with https://.", field="address")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidInput("A webhook's address has neither user, password nor fragment.", field="address")
    return ChannelAddress(parts.geturl()), f"{parts.scheme}://{parts.netloc.lower()[:200]}/…"


def read_telegram(bot_token: str, chat: str) -> tuple[ChannelAddress, str]:
    """Return the Apprise address of a Telegram chat and what may be shown of it: the chat.

    Raises:
        InvalidInput: The bot's token or the chat has another form.
    """
    token, chat = bot_token.strip(), chat.strip()
    if not _BOT_TOKEN.fullmatch(token):
        raise InvalidInput(
            "A Telegram bot's token looks like 123456789:ABC…; @BotFather gives it.", field="botToken"
        )
    if not _CHAT.fullmatch(chat):
        raise InvalidInput("A Telegram chat is a number, or the @name of a channel.", field="chat")
    return ChannelAddress(f"tgram://{token}/{chat}/?format=text&preview=no"), f"Telegram chat {chat}"


def read_slack(webhook: str) -> tuple[ChannelAddress, str]:
    """Return the Apprise address of a Slack incoming webhook and what may be shown of it: the workspace's id.

    Raises:
        InvalidInput: It is not the address that Slack gives out.
    """
    parts = _split(webhook)
    found = _SLACK_PATH.fullmatch(parts.path)
    if parts.scheme != "https" or parts.netloc != "hooks.slack.com" or found is None or parts.query:
        raise InvalidInput(
            "A Slack webhook's address begins with https://hooks.slack.com/services/.", field="address"
        )
    workspace, app, secret = found.groups()
    return ChannelAddress(f"slack://{workspace}/{app}/{secret}/?footer=no"), f"Slack workspace {workspace}"


def read_apprise_address(text: str) -> tuple[ChannelAddress, str]:
    """Return an address in Apprise's form and what may be shown of it: its scheme. Whether Apprise knows it is asked elsewhere.

    Raises:
        InvalidInput: It has not that form.
    """
    address = text.strip()
    found = _SCHEME.fullmatch(address)
    if found is None or len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise InvalidInput(
            "An Apprise address looks like service://…, without spaces; Apprise's pages list them.",
            field="address",
        )
    return ChannelAddress(address), f"{found[1].lower()}://…"


def _split(text: str) -> SplitResult:
    address = text.strip()
    if len(address) > LONGEST_ADDRESS or not address.isascii() or not address.isprintable() or " " in address:
        raise InvalidInput("That is not an address that can be used.", field="address")
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise InvalidInput("That is not an address that can be used.", field="address") from None
    if "\\" in parts.netloc:  # read as a path by some programs and as a host by others
        raise InvalidInput("That is not an address that can be used.", field="address")
    return parts
