"""E-mail through the operator's SMTP server, over a few connections that are kept for the next message."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from html import escape
from typing import Final, Literal

import aiosmtplib

from hullwatch.channels.guard import LEADS_INSIDE, AddressGuard
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Destination, Message, Refused, SendOutcome, Sent, TryLater
from hullwatch.domain.secrets import SecretText
from hullwatch.runtime.clock import Clock

LIMIT_S: Final = 30.0
_COMMAND_S: Final = 10.0
_IDLE_S: Final = 20.0
"""A connection that was idle for longer is not used again: servers end them after a minute or so."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The operator's mail server; it may stand in a private network."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    user: str = ""
    password: SecretText = SecretText("")  # noqa: RUF009 - immutable

    def client(self) -> aiosmtplib.SMTP:
        """Return a connection that is not open yet."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.security == "tls",
            start_tls=self.security == "starttls",
            username=self.user or None,
            password=self.password.reveal() or None,
            timeout=_COMMAND_S,
        )


class SmtpChannel:
    """Sends e-mail; to be closed after use.

    Args:
        server: where it is handed in.
        guard: which machines users may have mail sent to.
        clock: the machine's time.
        public_url: where hullwatch is reached, for the foot of each mail.
    """

    def __init__(self, server: SmtpServer, guard: AddressGuard, clock: Clock, *, public_url: str) -> None:
        self._server = server
        self._guard = guard
        self._clock = clock
        self._public_url = public_url
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []

    async def check(self, destination: Destination) -> None:
        """Look at an address that a user gives. A domain need not have an address of its own: mail often goes elsewhere.

        Raises:
            InvalidInput: Its domain leads to a private network.
        """
        if await self._leads_inside(destination):
            raise InvalidInput(LEADS_INSIDE, field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Hand the message in once."""
        if await self._leads_inside(destination):
            return Refused(LEADS_INSIDE, is_permanent=True)
        recipient = destination.address.reveal()
        mail = compose(message, sender=self._server.sender, recipient=recipient, public_url=self._public_url)
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError) as error:
            return TryLater(trouble_of(error))
        try:
            await client.sendmail(self._server.sender, [recipient], mail.as_bytes())
        except (aiosmtplib.SMTPException, OSError) as error:
            return _outcome_of(error)
        else:
            return Sent()
        finally:
            self._put_back(client)

    async def close(self) -> None:
        """Take leave of the server."""
        while self._idle:
            client, _ = self._idle.pop()
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=1.0)

    async def _leads_inside(self, destination: Destination) -> bool:
        if self._guard.allows_private:
            return False
        try:
            return await self._guard.leads_inside(destination.address.reveal().rpartition("@")[2])
        except OSError:
            return False

    async def _connected(self) -> aiosmtplib.SMTP:
        """Return a connection that works, an idle one if there is."""
        while self._idle:
            client, idle_since_s = self._idle.pop()
            if client.is_connected and self._clock.monotonic() - idle_since_s < _IDLE_S:
                with suppress(aiosmtplib.SMTPException, OSError):
                    await (
                        client.rset()
                    )  # said before anything of the message: a broken one is found harmlessly
                    return client
            client.close()
        client = self._server.client()
        await client.connect()
        return client

    def _put_back(self, client: aiosmtplib.SMTP) -> None:
        if client.is_connected:
            self._idle.append((client, self._clock.monotonic()))
        else:
            client.close()


async def examine(server: SmtpServer) -> str | None:
    """Connect and log in as for a mail, and say what is wrong, if anything is."""
    client = server.client()
    try:
        await client.connect()
        await client.quit()
    except (aiosmtplib.SMTPException, OSError) as error:
        return trouble_of(error)
    return None


def compose(message: Message, *, sender: str, recipient: str, public_url: str) -> EmailMessage:
    """Return the mail: plain text, and the same as simple HTML."""
    notice = message.notification
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = notice.title
    mail["Date"] = format_datetime(notice.created_at)
    # The same at every attempt: a mailbox that has it already can tell.
    mail["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2].rstrip('>') or 'hullwatch'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    link = message.login_link.reveal() if message.login_link else ""
    lines = [
        notice.text,
        *([f"Log in to Fyers again:\n{link}"] if link else []),
        f"-- \nhullwatch, {public_url}",
    ]
    mail.set_content("\n\n".join(lines) + "\n")
    button = f'<p><a href="{escape(link)}">Log in to Fyers again</a></p>' if link else ""
    home = escape(public_url)
    mail.add_alternative(
        f"<!doctype html><html><body><h2>{escape(notice.title)}</h2><p>{escape(notice.text)}</p>{button}"
        f'<hr><p><small><a href="{home}">{home}</a></small></p></body></html>\n',
        subtype="html",
    )
    return mail


_BAD_CERTIFICATE = "The mail server's certificate is not valid."
_TROUBLES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiosmtplib.SMTPAuthenticationError, "The mail server refuses hullwatch's own login."),
    (TimeoutError, "The mail server did not answer in time."),
    (ssl.SSLCertVerificationError, _BAD_CERTIFICATE),
    (aiosmtplib.SMTPServerDisconnected, "The connection broke before the mail server answered."),
)


def trouble_of(error: BaseException) -> str:
    """Return what is wrong with the server or the way to it, in our own words."""
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return _BAD_CERTIFICATE
    for kind, sentence in _TROUBLES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"The mail server answered {error.code}."
    # Without STARTTLS the library raises its most general exception, without a login this one.
    if type(error) in (aiosmtplib.SMTPException, aiosmtplib.SMTPNotSupported):
        return "The mail server does not offer STARTTLS, or no login."
    return "The mail server cannot be reached."


def _outcome_of(error: aiosmtplib.SMTPException | OSError) -> SendOutcome:
    refused = error.recipients[0] if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else error
    match refused:
        case aiosmtplib.SMTPRecipientRefused(code=code) if code >= 500:
            return Refused(f"The mail server refused the recipient ({code}).")
        case aiosmtplib.SMTPDataError(code=code) if code >= 500:
            return Refused(f"The mail server refused the message ({code}).", is_of_message=True)
        case _:
            # A refused sender or login is the operator's to put right, and then this very message can go.
            return TryLater(trouble_of(refused))
