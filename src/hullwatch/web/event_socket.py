"""The event socket, WS /api/events: pushes events to the users that they concern.

A socket is accepted before it is refused, because browsers show the close code only then. Close codes: 4401 not signed in (any more), 4403 opened
by a page of another website, 4429 too many sockets, 1001 the server stops or the role has changed, 1013 the reader is too slow.
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
from hullwatch.web.dependencies import config_of, current_user, services_of
from hullwatch.web.event_payloads import render
from hullwatch.web.request_guard import is_foreign, is_own_host

NOT_SIGNED_IN: Final = 4401
FOREIGN: Final = 4403
TOO_MANY: Final = 4429
GOING_AWAY: Final = 1001
TRY_AGAIN: Final = 1013
RETRY_S: Final = 1.0
"""Real seconds until a login is checked again that the database could not confirm."""
MOST_PER_USER: Final = 20
"""Open sockets of one user; each tab needs one."""


async def events(socket: WebSocket) -> None:
    """Push events until one side closes the socket."""
    await socket.accept()
    code = await _serve(socket, services_of(socket), config_of(socket))
    if code is not None and socket.client_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code)


events_route: Final = WebSocketRoute("/api/events", events)


async def _serve(socket: WebSocket, services: Services, config: WebConfig) -> int | None:
    """Serve a socket; return the close code, or `None` if the reader closed it."""
    if not is_own_host(socket.headers.get("host", ""), config) or _is_foreign(socket.headers, config):
        return FOREIGN
    try:
        user = await current_user(socket, services)
    except NotSignedIn:
        return NOT_SIGNED_IN
    except StorageUnavailable:
        return TRY_AGAIN
    if services.context.hub.listeners(user.id) >= MOST_PER_USER:
        return TOO_MANY
    topics = [user.id, EVERYBODY, *([ADMINS] if user.role is Role.ADMIN else [])]
    async with services.context.hub.subscribe(*topics, after=_after(socket)) as subscription:
        pusher = _Pusher(socket, services, config, user)
        with services.login_changes.watch(user.id) as changed:
            tasks = (
                asyncio.create_task(_wait_for_close(socket), name="events reader"),
                asyncio.create_task(pusher.wait_for_end(changed), name="events login"),
                asyncio.create_task(pusher.push(subscription), name="events pusher"),
            )
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
    codes = [task.result() for task in done]
    return None if tasks[0] in done else max(code for code in codes if code is not None)


def _is_foreign(headers: Headers, config: WebConfig) -> bool:
    # Not every browser sends Sec-Fetch-Site for WebSockets; all of them send Origin.
    return "authorization" not in headers and is_foreign(headers, config)


def _after(socket: WebSocket) -> int | None:
    """Return the last sequence number that the reader received; an invalid one counts as unknown."""
    text = socket.query_params.get("after")
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


async def _wait_for_close(socket: WebSocket) -> None:
    """Wait until the reader closes the socket; its messages are ignored."""
    with suppress(WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


class _Pusher:
    """Sends the events of one subscription to one socket."""

    def __init__(self, socket: WebSocket, services: Services, config: WebConfig, user: User) -> None:
        self._socket = socket
        self._services = services
        self._config = config
        self._user = user

    async def push(self, subscription: Subscription[Event]) -> int | None:
        """Send events, and heartbeats when there are none; return the close code."""
        hub = self._services.context.hub
        await self._send(hub.last_sequence, "missed" if subscription.missed else "hello", None)
        while True:
            try:
                async with asyncio.timeout(self._config.heartbeat_s):
                    delivery = await anext(subscription)
            except TimeoutError:
                await self._send(hub.last_sequence, "heartbeat", None)
            except StopAsyncIteration:
                return TRY_AGAIN if subscription.overrun else GOING_AWAY
            else:
                kind, data = render(delivery.message, is_admin_topic=delivery.topic == ADMINS)
                await self._send(delivery.sequence, kind, data)

    async def wait_for_end(self, changed: asyncio.Event) -> int:
        """Wait until the login has ended or the role has changed; return the close code.

        A page with another role connects again, and then gets the events of that role.
        """
        while True:
            await changed.wait()
            changed.clear()
            try:
                user = await current_user(self._socket, self._services)
            except NotSignedIn:
                return NOT_SIGNED_IN
            except StorageUnavailable:
                await self._services.context.clock.real.sleep(RETRY_S)
                changed.set()
                continue
            if user.id != self._user.id:
                return NOT_SIGNED_IN
            if user.role is not self._user.role:
                return GOING_AWAY

    async def _send(self, sequence: int, kind: str, data: object) -> None:
        message = {"seq": sequence, "type": kind, "at": self._services.context.clock.now(), "data": data}
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(orjson.dumps(message, option=orjson.OPT_UTC_Z).decode())
