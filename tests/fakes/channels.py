"""Channels that deliver into lists. They satisfy `ChannelPort` and pass the cases of ``tests/channels``."""

import asyncio
from collections.abc import Awaitable, Callable

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    ChannelAddress,
    Destination,
    Mail,
    Message,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import ChannelKind

Behaviour = Callable[[Message | Mail], Awaitable[SendOutcome] | SendOutcome]


class FakeChannels:
    """Delivers every message unless an address has another behaviour.

    Attributes:
        arrived: address and message of each delivery, in order.
        attempts: address and message of each attempt.
        behaviours: address → outcome of a message to it; `Sent` delivers it.
        refused: addresses that `check` refuses.
        checked: the destinations that were checked.
        mails: recipient and mail of each delivered mail that is no notice.
    """

    def __init__(self) -> None:
        self.can_mail = True
        self.arrived: list[tuple[str, Message]] = []
        self.attempts: list[tuple[str, Message]] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.refused: set[str] = set()
        self.checked: list[Destination] = []
        self.mails: list[tuple[str, Mail]] = []

    async def check(self, destination: Destination) -> None:
        """Refuse the addresses in `refused`, and mail without a mail server."""
        self.checked.append(destination)
        if destination.kind is ChannelKind.EMAIL and not self.can_mail:
            raise InvalidInput("There is no mail server.", field="kind")
        if destination.address.reveal() in self.refused:
            raise InvalidInput("This address is in a private network.", field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Deliver the message, or follow the behaviour of its address."""
        address = destination.address.reveal()
        self.attempts.append((address, message))
        outcome = await self._outcome(address, message)
        if isinstance(outcome, Sent):
            self.arrived.append((address, message))
        return outcome

    async def mail(self, mail: Mail, recipient: ChannelAddress) -> SendOutcome:
        """Deliver the mail, or follow the behaviour of its recipient; without a mail server it waits."""
        if not self.can_mail:
            return TryLater("There is no mail server.")
        outcome = await self._outcome(recipient.reveal(), mail)
        if isinstance(outcome, Sent):
            self.mails.append((recipient.reveal(), mail))
        return outcome

    async def _outcome(self, address: str, message: Message | Mail) -> SendOutcome:
        outcome = self.behaviours.get(address, lambda _: Sent())(message)
        return outcome if isinstance(outcome, SendOutcome) else await outcome

    def limit_s(self, kind: ChannelKind) -> float:
        """Return ten seconds for every kind."""
        return 10.0

    def ids(self, address: str) -> list[str]:
        """Return the ids of the messages that arrived at an address."""
        return [message.id for at, message in self.arrived if at == address]


async def hang(_: Message) -> SendOutcome:
    """Never return an outcome."""
    return await asyncio.get_running_loop().create_future()
