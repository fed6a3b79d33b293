"""Channels that deliver into lists. They satisfy `ChannelPort` and pass the cases of ``tests/channels``."""

import asyncio
from collections.abc import Awaitable, Callable

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Destination, Message, SendOutcome, Sent
from hullwatch.domain.notifications.notifications import ChannelKind

Behaviour = Callable[[Message], Awaitable[SendOutcome] | SendOutcome]


class FakeChannels:
    """Delivers every message unless an address has another behaviour.

    Attributes:
        arrived: address and message of each delivery, in order.
        attempts: address and message of each attempt.
        behaviours: address → outcome of a message to it; `Sent` delivers it.
        refused: addresses that `check` refuses.
        checked: the destinations that were checked.
    """

    def __init__(self) -> None:
        self.can_mail = True
        self.arrived: list[tuple[str, Message]] = []
        self.attempts: list[tuple[str, Message]] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.refused: set[str] = set()
        self.checked: list[Destination] = []

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
        behaviour = self.behaviours.get(address, lambda _: Sent())
        outcome = behaviour(message)
        if not isinstance(outcome, SendOutcome):
            outcome = await outcome
        if isinstance(outcome, Sent):
            self.arrived.append((address, message))
        return outcome

    def limit_s(self, kind: ChannelKind) -> float:
        """Return ten seconds for every kind."""
        return 10.0

    def ids(self, address: str) -> list[str]:
        """Return the ids of the messages that arrived at an address."""
        return [message.id for at, message in self.arrived if at == address]


async def hang(_: Message) -> SendOutcome:
    """Never return an outcome."""
    return await asyncio.get_running_loop().create_future()
