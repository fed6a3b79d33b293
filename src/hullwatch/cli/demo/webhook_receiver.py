"""Receives the notices that the demo's users have sent to a webhook."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiohttp import web

from hullwatch.cli.demo.users import DemoUser
from hullwatch.domain.notifications.notifications import NotificationKind

KINDS: Final = (
    NotificationKind.SESSION_EXPIRING.value,
    NotificationKind.SESSION_DISCONNECTED.value,
    NotificationKind.CONNECTED_AGAIN.value,
    NotificationKind.NOT_READY.value,
    NotificationKind.NOW_READY.value,
    NotificationKind.DAILY_SUMMARY.value,
)
"""Kinds that go to the webhook. Signals are not among them: there are too many to read."""


class WebhookReceiver:
    """Checks the signature of each notice and reports each notice once."""

    def __init__(self, on_notice: Callable[[DemoUser, dict[str, Any]], None]) -> None:
        self._on_notice = on_notice
        self._users: dict[str, DemoUser] = {}
        self._received: set[str] = set()
        self._port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Receive until the block ends."""
        app = web.Application()
        app.router.add_post("/{fyers_id}", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def add(self, user: DemoUser) -> None:
        """Send a user's notices here."""
        self._users[user.fyers_id] = user
        await user.add_webhook(f"http://127.0.0.1:{self._port}/{user.fyers_id}", KINDS)

    async def _receive(self, request: web.Request) -> web.Response:
        user = self._users.get(request.match_info["fyers_id"])
        body = await request.read()
        if user is None or not _is_signed(request.headers, body, user.signing_secret):
            return web.Response(status=403)
        notice = orjson.loads(body)
        if notice["id"] not in self._received:  # a repeated delivery has the same id
            self._received.add(notice["id"])
            if notice.get("loginUrl"):
                user.login_link = notice["loginUrl"]
                user.login_link_received.set()
            self._on_notice(user, notice)
        return web.Response(status=204)


def _is_signed(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
    """Check the signature. Its age is not checked, because its time is the simulated one."""
    parts = dict(part.partition("=")[::2] for part in headers.get("Hullwatch-Signature", "").split(","))
    signed = f"{parts.get('t', '')}.".encode() + body
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", ""))
