"""Sends e-mail through the operator's SMTP server, over a few connections that are reused."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from html import escape
from typing import Final, Literal

import aiosmtplib

from hullwatch.channels.guard import PRIVATE_NETWORK, AddressGuard
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    ChannelAddress,
    Destination,
    Mail,
    Message,
    Refused,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.secrets import SecretText
from hullwatch.runtime.clock import Clock

LIMIT_S: Final = 30.0
_COMMAND_S: Final = 10.0
_IDLE_S: Final = 20.0
"""A connection that was idle for longer is not reused: servers close them after about a minute."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The operator's mail server; it may be in a private network."""

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
    """Sends e-mail, in real time, with hullwatch's address at the end of each mail; close it after use."""

    def __init__(self, server: SmtpServer, guard: AddressGuard, clock: Clock, *, public_url: str) -> None:
        self._server = server
        self._guard = guard
        self._clock = clock
        self._public_url = public_url
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []

    async def check(self, destination: Destination) -> None:
        """Check an address before it is stored. Its domain may have no address: mail often goes elsewhere.

        Raises:
            InvalidInput: Its domain is in a private network.
        """
        if await self._is_private(destination.address):
            raise InvalidInput(PRIVATE_NETWORK, field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send the message once."""
        return await self._send(
            compose(message, sender=self._server.sender, public_url=self._public_url), destination.address
        )

    async def mail(self, mail: Mail, recipient: ChannelAddress) -> SendOutcome:
        """Send a mail that is no notice once."""
        return await self._send(
            compose_mail(mail, sender=self._server.sender, public_url=self._public_url), recipient
        )

    async def _send(self, mail: EmailMessage, recipient: ChannelAddress) -> SendOutcome:
        if await self._is_private(recipient):
            return Refused(PRIVATE_NETWORK, is_permanent=True)
        mail["To"] = recipient.reveal()
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError) as error:
            return TryLater(problem_of(error))
        try:
            await client.sendmail(self._server.sender, [recipient.reveal()], mail.as_bytes())
        except (aiosmtplib.SMTPException, OSError) as error:
            return _outcome_of(error)
        else:
            return Sent()
        finally:
            self._put_back(client)

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            client, _ = self._idle.pop()
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=1.0)

    async def _is_private(self, recipient: ChannelAddress) -> bool:
        if self._guard.allows_private:
            return False
        try:
            return await self._guard.is_private(recipient.reveal().rpartition("@")[2])
        except OSError:
            return False

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            client, idle_since_s = self._idle.pop()
            if client.is_connected and self._clock.monotonic() - idle_since_s < _IDLE_S:
                with suppress(aiosmtplib.SMTPException, OSError):
                    # Sent before the message, so that a broken connection is found without harm.
                    await client.rset()
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
    """Connect and log in as for a mail; return the problem, None without one."""
    client = server.client()
    try:
        await client.connect()
        await client.quit()
    except (aiosmtplib.SMTPException, OSError) as error:
        return problem_of(error)
    return None


def compose_mail(mail: Mail, *, sender: str, public_url: str) -> EmailMessage:
    """Return a mail that is no notice, as plain text without its recipient."""
    made = _with_headers(mail.id, mail.subject, mail.created_at, sender)
    made.set_content(f"{mail.text.reveal()}\n\n-- \nhullwatch, {public_url}\n")
    return made


def compose(message: Message, *, sender: str, public_url: str) -> EmailMessage:
    """Return the mail of a notice, as plain text and as simple HTML, without its recipient."""
    notice = message.notification
    mail = _with_headers(message.id, notice.title, notice.created_at, sender)
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


def _with_headers(mail_id: str, subject: str, at: datetime, sender: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["Subject"] = subject
    mail["Date"] = format_datetime(at)
    # The same id at every attempt, so that a mailbox can detect a repeated mail.
    mail["Message-ID"] = f"<{mail_id}@{sender.rpartition('@')[2].rstrip('>') or 'hullwatch'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    return mail


_BAD_CERTIFICATE = "The mail server's certificate is not valid."
_PROBLEMS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiosmtplib.SMTPAuthenticationError, "The mail server refuses hullwatch's login."),
    (TimeoutError, "The mail server did not answer in time."),
    (ssl.SSLCertVerificationError, _BAD_CERTIFICATE),
    (aiosmtplib.SMTPServerDisconnected, "The connection was interrupted before the mail server answered."),
)


def problem_of(error: BaseException) -> str:
    """Return the problem with the server or its connection, without the server's own text."""
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return _BAD_CERTIFICATE
    for kind, sentence in _PROBLEMS:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"The mail server answered {error.code}."
    # Without STARTTLS the library raises its most general exception, without a login the second one.
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
            # The operator can correct a refused sender or login; then this message can be sent.
            return TryLater(problem_of(refused))
