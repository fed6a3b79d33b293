"""Selects the adapter for each kind of channel."""

from typing import Protocol

from hullwatch.channels import apprise_process, smtp, webhook
from hullwatch.channels.apprise_process import AppriseChannel
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.smtp import SmtpChannel, SmtpServer
from hullwatch.channels.webhook import WebhookChannel
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    ChannelAddress,
    Destination,
    Mail,
    Message,
    SendOutcome,
    TryLater,
)
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.runtime.clock import Clock

_NO_MAIL = "This server has no mail server. Its operator can set one up."


class _Carrier(Protocol):
    async def check(self, destination: Destination) -> None: ...
    async def send(self, message: Message, destination: Destination) -> SendOutcome: ...
    async def close(self) -> None: ...


class Carriers:
    """Satisfies `ChannelPort` with one adapter for each kind of channel; close it after use.

    The clock is real time, since networks do not follow a faster clock.
    """

    def __init__(
        self, *, guard: AddressGuard, clock: Clock, server: SmtpServer | None, public_url: str, version: str
    ) -> None:
        hooks = WebhookChannel(guard, clock, version=version)
        services = AppriseChannel(guard, clock)
        self._carriers: dict[ChannelKind, _Carrier] = {
            ChannelKind.WEBHOOK: hooks,
            ChannelKind.TELEGRAM: services,
            ChannelKind.SLACK: services,
            ChannelKind.APPRISE: services,
        }
        self._mails = None if server is None else SmtpChannel(server, guard, clock, public_url=public_url)
        self.can_mail = self._mails is not None
        if self._mails is not None:
            self._carriers[ChannelKind.EMAIL] = self._mails

    async def check(self, destination: Destination) -> None:
        """Check an address before it is stored, without sending anything.

        Raises:
            InvalidInput: It cannot be used, or leads to a private network.
        """
        carrier = self._carriers.get(destination.kind)
        if carrier is None:
            raise InvalidInput(_NO_MAIL, field="kind")
        await carrier.check(destination)

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send once, in bounded time."""
        carrier = self._carriers.get(destination.kind)
        return TryLater(_NO_MAIL) if carrier is None else await carrier.send(message, destination)

    async def mail(self, mail: Mail, recipient: ChannelAddress) -> SendOutcome:
        """Send a mail that is no notice once, in bounded time."""
        return TryLater(_NO_MAIL) if self._mails is None else await self._mails.mail(mail, recipient)

    def limit_s(self, kind: ChannelKind) -> float:
        """Return the time limit of a sending; a new process of Apprise has to start first."""
        if kind is ChannelKind.EMAIL:
            return smtp.LIMIT_S
        return webhook.LIMIT_S + 2 if kind is ChannelKind.WEBHOOK else apprise_process.LONGEST_S

    async def close(self) -> None:
        """Close all connections and end all processes."""
        for carrier in dict.fromkeys(self._carriers.values()):
            await carrier.close()
