"""Ways beyond the page that deliver into lists. Satisfies `ChannelPort`; passes the same cases as the real ones in ``tests/channels``."""

import asyncio
from collections.abc import Awaitable, Callable

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Destination, Message, SendOutcome, Sent
from hullwatch.domain.notifications.notifications import ChannelKind

Behaviour = Callable[[Message], Awaitable[SendOutcome] | SendOutcome]


class FakeChannels:
    """Takes every message unless told otherwise for an address.

    Attributes:
        arrived: what was taken, address and message, in order.
        attempts: every sending that was begun.
        behaviours: address → what becomes of a message to it; one that answers `Sent` has taken it.
        refused: addresses that nobody may give.
    """

    def __init__(self) -> None:
        self.can_mail = True
        self.arrived: list[tuple[str, Message]] = []
        self.attempts: list[tuple[str, Message]] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.refused: set[str] = set()
        self.checked: list[Destination] = []

    async def check(self, destination: Destination) -> None:
        """Refuse what a test says is to be refused."""
        self.checked.append(destination)
        if destination.kind is ChannelKind.EMAIL and not self.can_mail:
            raise InvalidInput("There is no mail server.", field="kind")
        if destination.address.reveal() in self.refused:
            raise InvalidInput("It leads to a private network.", field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Take it, or do as the test says."""
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
        """Ten seconds for all."""
        return 10.0

    def ids(self, address: str) -> list[str]:
        """Return the ids of the messages that arrived at an address."""
        return [message.id for at, message in self.arrived if at == address]


async def hang(_: Message) -> SendOutcome:
    """Never answer."""
    return await asyncio.get_running_loop().create_future()
