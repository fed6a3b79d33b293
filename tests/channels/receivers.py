"""A real SMTP server and a real HTTP server on this machine, whose answers a test chooses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from hullwatch.domain.secrets import SecretText


@dataclass
class Mailbox:
    """Accepts mail by default.

    Attributes:
        mails: the accepted mails in order.
        answers: replies to the next messages; None interrupts the connection instead of answering.
        refuses: unknown recipients.
        connections: the number of connections.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    connections: int = 0
    hangs: bool = False
    port: int = 0

    async def handle_EHLO(self, server, session, _, hostname, responses):  # noqa: N802 - aiosmtpd's name
        """Accept the greeting."""
        session.host_name = hostname
        self.connections += 1
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return responses

    async def handle_RCPT(self, server, session, envelope: Envelope, address, options):  # noqa: N802
        """Accept or refuse the recipient."""
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope: Envelope):  # noqa: N802
        """Accept the message, or follow the next answer."""
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer is None or answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=modern))
            self.recipients.append(list(envelope.rcpt_tos))
        if answer is None:
            server.transport.abort()
            return "250 nobody hears this"
        return answer


@asynccontextmanager
async def mail_server(*, user: str = "", password: SecretText = SecretText("")) -> AsyncIterator[Mailbox]:  # noqa: B008
    """Run an SMTP server on a free port; with a user it requires that login."""
    mailbox = Mailbox()

    def authenticate(server, session, envelope, mechanism, given):
        is_known = isinstance(given, LoginPassword) and given.login.decode() == user
        is_right = is_known and given.password.decode() == password.reveal()
        return AuthResult(success=is_right, handled=False, auth_data=given if is_right else None)

    def connect():
        return SMTP(
            mailbox,
            hostname="test.invalid",
            authenticator=authenticate if user else None,
            auth_required=bool(user),
            auth_require_tls=False,
        )

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(connect, "127.0.0.1", 0)
    mailbox.port = listening.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        listening.close()
        sessions = [task for task in asyncio.all_tasks() if "SMTP._handle_client" in repr(task.get_coro())]
        for task in sessions:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*sessions, return_exceptions=True)


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """An HTTP server that records every request and answers 200 by default."""

    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[Behaviour] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record a request and answer it."""
        self.requests.append(
            ({name.lower(): value for name, value in request.headers.items()}, await request.read())
        )
        self.paths.append(request.path_qs)
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.Response()


def status(code: int, **headers: str) -> Behaviour:
    """Return a handler that answers with a status."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


async def broken(request: web.Request) -> web.StreamResponse:
    """Interrupt the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """Answer 200 with a body that never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65536)
    return response


@asynccontextmanager
async def http_receiver() -> AsyncIterator[Receiver]:
    """Run an HTTP server on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
