"""The ways beyond the page, and what a notice needs on its way."""

from typing import Protocol

from hullwatch.domain.notifications.channels import Destination, Message, SendOutcome
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.domain.secrets import SecretText


class ChannelPort(Protocol):
    """The ways beyond the page. No method raises for anything that receivers or the network do."""

    can_mail: bool
    """Whether the operator has set up a mail server."""

    async def check(self, destination: Destination) -> None:
        """Look at an address that a user gives before it is stored; sends nothing.

        Raises:
            InvalidInput: It cannot be used, or leads to a private network.
        """
        ...

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send once, in bounded time."""
        ...

    def limit_s(self, kind: ChannelKind) -> float:
        """Return after how many seconds a sending that has not ended is given up."""
        ...


class LinkMaker(Protocol):
    """Makes the login links that notices carry; satisfied by `LoginLinkService`."""

    async def link_for(self, user_id: str, *, requested_by: str = "hullwatch") -> SecretText | None:
        """Return the address of a new link, or `None` when none makes sense: the session lives on, nothing is linked, the user is gone.

        Raises:
            StorageUnavailable: none was made.
        """
        ...
