"""An SMTP server and a webhook receiver in one process; a tenth of their answers fails, and they record the messages.

Run as a script it serves until its standard input ends, with one line of JSON about its ports first and one about what it took at the end.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP

FAILING = 0.1
"""Share of all attempts."""
HANG_S = 12.0
"""Longer than hullwatch's limit for a webhook."""
READY_WITHIN_S = 60.0
KINDS = ("refused", "cut_before", "cut_after", "hang")
WEIGHTS = (48, 24, 24, 4)
"""Weight of each kind of failure; a hang takes the whole time limit of an attempt, so it is rare."""


class Ledger:
    """Received messages: message id → whether each reception was answered, in order."""

    def __init__(self, seed: int) -> None:
        self.takings: dict[str, list[bool]] = {}
        self.failures: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self._random = Random(seed)

    def fate(self, channel: str) -> str | None:
        """Return how this attempt fails, or `None`."""
        self.attempts[channel] += 1
        if self._random.random() >= FAILING:
            return None
        kind = self._random.choices(KINDS, WEIGHTS)[0]
        if channel == "mail" and kind == "hang":
            kind = "refused"
        self.failures[f"{channel} {kind}"] += 1
        return kind

    def take(self, message_id: str, *, is_answered: bool) -> None:
        """Record a received message and whether its sender gets the answer."""
        self.takings.setdefault(message_id, []).append(is_answered)


class Mailbox:
    """Receives mail, or fails."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle_DATA(self, server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Record a message by its Message-ID."""
        fate = self._ledger.fate("mail")
        if fate == "refused":
            return "451 later"
        if fate != "cut_before":
            head = bytes(envelope.content).split(b"Message-ID: <", 1)[1]
            self._ledger.take(head.split(b"@", 1)[0].decode(), is_answered=fate is None)
        if fate is not None and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return "250 taken"


async def serve(seed: int) -> None:
    """Serve until standard input ends."""
    ledger = Ledger(seed)
    loop = asyncio.get_running_loop()
    mailbox = Mailbox(ledger)
    mail = await loop.create_server(lambda: SMTP(mailbox, hostname="bench.invalid"), "127.0.0.1", 0)

    async def hook(request: web.Request) -> web.StreamResponse:
        await request.read()
        fate = ledger.fate("webhook")
        if fate == "refused":
            return web.Response(status=503)
        if fate == "hang":
            await asyncio.sleep(HANG_S)
            return web.Response(status=503)
        if fate != "cut_before":
            ledger.take(request.headers["Hullwatch-Id"], is_answered=fate is None)
        if fate is not None and request.transport is not None:
            request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_post("/{user}", hook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ports = {"mail": mail.sockets[0].getsockname()[1], "webhook": runner.addresses[0][1]}
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    received = {"takings": ledger.takings, "failures": ledger.failures, "attempts": ledger.attempts}
    print(json.dumps(received), flush=True)
    mail.close()
    await runner.cleanup()


class Receivers:
    """The running process."""

    def __init__(self, process: asyncio.subprocess.Process, ports: dict[str, int]) -> None:
        self._process = process
        self.mail_port = ports["mail"]
        self.webhook_port = ports["webhook"]

    async def close(self) -> dict[str, Any]:
        """Stop it and return the received messages."""
        output, _ = await self._process.communicate(b"")  # which closes its standard input
        answer: dict[str, Any] = json.loads(output)
        return answer


@asynccontextmanager
async def receivers_process(seed: int = 1) -> AsyncIterator[Receivers]:
    """Run the receivers; ended by `Receivers.close`, or killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "benchmarks.receivers_process", str(seed),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise RuntimeError("the receivers have no voice")
        async with asyncio.timeout(READY_WITHIN_S):
            ports = json.loads(await process.stdout.readline())
        yield Receivers(process, ports)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
