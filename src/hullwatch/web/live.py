"""WS /api/events: pushes what happens to whom it concerns. What happens is published by the services; its JSON shapes are in ``feed.py``.

A socket is accepted before it is refused, because a browser is told only so why. Codes: 4401 not signed in (or no longer), 4403 opened
by another site's page, 4429 too many at once, 1001 the server stops, 1013 the reader fell too far behind.
"""

import asyncio
from contextlib import suppress
from typing import Final

import orjson
from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from hullwatch.domain.events import ADMINS, EVERYBODY, Event
from hullwatch.domain.failures import NotSignedIn, StorageUnavailable
from hullwatch.domain.users.accounts import Role, User
from hullwatch.runtime.broadcast import Subscription
from hullwatch.services.services import Services
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import config_of, services_of, who_asks
from hullwatch.web.edge import is_foreign, is_own_host
from hullwatch.web.feed import render

NOT_SIGNED_IN: Final = 4401
FOREIGN: Final = 4403
TOO_MANY: Final = 4429
GOING_AWAY: Final = 1001
TRY_AGAIN: Final = 1013
MOST_PER_USER: Final = 20
"""Open sockets of one user; a tab needs one."""


async def events(socket: WebSocket) -> None:
    """Push events until either side leaves."""
    await socket.accept()
    code = await _serve(socket, services_of(socket), config_of(socket))
    if code is not None and socket.client_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code)


events_route: Final = WebSocketRoute("/api/events", events)


async def _serve(socket: WebSocket, services: Services, config: WebConfig) -> int | None:
    """Serve a socket; return the code to close it with, or nothing when the other side has left."""
    if not is_own_host(socket.headers.get("host", ""), config) or _is_foreign(socket.headers, config):
        return FOREIGN
    try:
        user = await who_asks(socket, services)
    except NotSignedIn:
        return NOT_SIGNED_IN
    except StorageUnavailable:
        return TRY_AGAIN
    if services.context.hub.listeners(user.id) >= MOST_PER_USER:
        return TOO_MANY
    topics = [user.id, EVERYBODY, *([ADMINS] if user.role is Role.ADMIN else [])]
    async with services.context.hub.subscribe(*topics, after=_after(socket)) as subscription:
        listener = asyncio.create_task(_listen(socket), name="events listener")
        pusher = asyncio.create_task(
            _Pusher(socket, services, config, user).push(subscription), name="events pusher"
        )
        try:
            await asyncio.wait({listener, pusher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listener, pusher):
                task.cancel()
            await asyncio.wait({listener, pusher})
    return None if pusher.cancelled() else pusher.result()


def _is_foreign(headers: Headers, config: WebConfig) -> bool:
    # Sec-Fetch-Site is not sent for WebSockets by every browser; Origin always is.
    return "authorization" not in headers and is_foreign(headers, config)


def _after(socket: WebSocket) -> int | None:
    """Return the last sequence number the reader has seen; nonsense counts as one that was never given out."""
    text = socket.query_params.get("after")
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


async def _listen(socket: WebSocket) -> None:
    """Wait until the other side leaves; what it says meanwhile has no meaning."""
    with suppress(WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


class _Pusher:
    """Writes one subscription's events to one socket."""

    def __init__(self, socket: WebSocket, services: Services, config: WebConfig, user: User) -> None:
        self._socket = socket
        self._services = services
        self._config = config
        self._user = user

    async def push(self, subscription: Subscription[Event]) -> int | None:
        """Send events as they come and a heartbeat in silence; return the code to close with."""
        hub = self._services.context.hub
        await self._send(hub.last_sequence, "missed" if subscription.missed else "hello", None)
        while True:
            try:
                async with asyncio.timeout(self._config.heartbeat_s):
                    delivery = await anext(subscription)
            except TimeoutError:
                if not await self._is_still_allowed():
                    return NOT_SIGNED_IN
                await self._send(hub.last_sequence, "heartbeat", None)
            except StopAsyncIteration:
                return TRY_AGAIN if subscription.overrun else GOING_AWAY
            else:
                kind, data = render(delivery.message, is_admin_topic=delivery.topic == ADMINS)
                await self._send(delivery.sequence, kind, data)

    async def _is_still_allowed(self) -> bool:
        """Ask again now and then: a login ends, a role is taken away."""
        try:
            user = await who_asks(self._socket, self._services)
        except NotSignedIn:
            return False
        except StorageUnavailable:
            return True
        return user.id == self._user.id and user.role is self._user.role

    async def _send(self, sequence: int, kind: str, data: object) -> None:
        message = {"seq": sequence, "type": kind, "at": self._services.context.clock.now(), "data": data}
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(orjson.dumps(message, option=orjson.OPT_UTC_Z).decode())
