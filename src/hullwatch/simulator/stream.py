"""The data stream: one WebSocket of binary frames per client, `/hsm/v1-5/prod`.

Known of the real one and simulated: an upgrade with an Authorization header is accepted and then ignored;
sizes and answers of frames; no further messages for a token that expires while connected. Assumed: an
unknown key is answered `N`, one of an expired session not at all; a second connection of the same account
closes the first.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from hullwatch.simulator import frames
from hullwatch.simulator.accounts import Session
from hullwatch.simulator.broker import Broker
from hullwatch.simulator.faults import Fault, FaultKind
from hullwatch.simulator.feed import Feed, Topic
from hullwatch.simulator.frames import ClientFrame, FrameType, UnreadableFrame

PATH = "/hsm/v1-5/prod"
ACK_EVERY = 50
MOST_TOPICS = 5_000
MOST_TOPICS_AT_ONCE = 1_500
_ITEMS_PER_FRAME = 200
_PLAN_LIMIT = 51_001


@dataclass(slots=True)
class _Subscription:
    topic: Topic
    topic_id: int
    channel: int
    sent: tuple[int, ...] = ()


@dataclass(slots=True)
class _Connection:
    socket: web.WebSocketResponse
    request: web.BaseRequest
    is_ignored: bool
    session: Session | None = None
    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    lite: set[int] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    number: int = 0
    next_topic_id: int = 0
    drawn: set[str] = field(default_factory=set)
    stalled_by: list[Fault] = field(default_factory=list)

    @property
    def fyers_id(self) -> str:
        return self.session.fyers_id if self.session else ""

    def abort(self) -> None:
        """Abort the connection without a close frame."""
        if self.request.transport is not None:
            self.request.transport.abort()


class DataStream:
    """Serves every connection of the data stream and sends updates every `beat_s` real seconds."""

    def __init__(self, broker: Broker, stopping: asyncio.Event, beat_s: float) -> None:
        self._broker = broker
        self._beat_s = beat_s
        self._feed = Feed(broker.market)
        self._stopping = stopping
        self._connections: list[_Connection] = []

    async def serve(self, request: web.BaseRequest) -> web.WebSocketResponse:
        """Serve one connection until either side ends it."""
        socket = web.WebSocketResponse(compress=False, timeout=1.0, max_msg_size=1024 * 1024)
        await socket.prepare(request)
        connection = _Connection(socket, request, is_ignored="Authorization" in request.headers)
        self._connections.append(connection)
        beat = asyncio.create_task(self._beat(connection), name="simulator data stream")
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await self._receive(connection, message.data)
        except ConnectionError:
            pass  # the client left during the answer
        finally:
            self._connections.remove(connection)
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
        return socket

    async def _beat(self, connection: _Connection) -> None:
        with suppress(ConnectionError):
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._beat_s)
                if self._matches_fault(connection, FaultKind.STREAM_DROP):
                    connection.abort()
                    return
                if self._may_send(connection):
                    await self._send_updates(connection)
            await connection.socket.close(code=1001)

    def _matches_fault(self, connection: _Connection, kind: FaultKind) -> bool:
        """Return whether a new fault of a kind affects this connection; each is drawn once."""
        now = self._broker.clock.epoch()
        hits = self._broker.faults.for_stream(kind, connection.fyers_id, PATH, now, connection.drawn)
        if kind is FaultKind.STREAM_STALL:
            connection.stalled_by.extend(hits)
        return bool(hits)

    def _may_send(self, connection: _Connection) -> bool:
        now = self._broker.clock.epoch()
        self._matches_fault(connection, FaultKind.STREAM_STALL)
        if any(not fault.is_ended and now < fault.ends_at for fault in connection.stalled_by):
            return False
        return connection.session is not None and connection.session.is_accepted(now)

    async def _receive(self, connection: _Connection, data: bytes) -> None:
        """Handle one frame; an unreadable one is ignored, as the real answer is not known."""
        try:
            frame = frames.read_frame(data)
            if frame.type == FrameType.AUTH:
                await self._authenticate(connection, frame)
            elif self._may_send(connection):
                await self._handle(connection, frame)
        except UnreadableFrame:
            return

    async def _authenticate(self, connection: _Connection, frame: ClientFrame) -> None:
        if connection.is_ignored:
            return
        key = frame.fields.get(1, b"").decode("ascii", errors="replace")
        session = self._broker.accounts.session_of_key(key)
        if session is None:
            if not connection.stalled_by:
                await connection.socket.send_bytes(frames.auth_frame(accepted=False, ack_count=ACK_EVERY))
            return
        connection.session = session
        for other in self._connections:
            if other is not connection and other.fyers_id == session.fyers_id:
                other.abort()
        if self._may_send(connection):
            await connection.socket.send_bytes(frames.auth_frame(accepted=True, ack_count=ACK_EVERY))

    async def _handle(self, connection: _Connection, frame: ClientFrame) -> None:
        if frame.type == FrameType.SUBSCRIBE:
            await self._subscribe(connection, frame)
            return
        if frame.type == FrameType.UNSUBSCRIBE:
            for name in frame.topics():
                connection.subscriptions.pop(name, None)
        elif frame.type == FrameType.PAUSE:
            connection.paused |= frame.bits()
        elif frame.type == FrameType.RESUME:
            connection.paused -= frame.bits()
        elif frame.type == FrameType.MODE:
            wants_lite = frame.fields.get(2) == b"L"
            connection.lite = connection.lite | frame.bits() if wants_lite else connection.lite - frame.bits()
        else:
            return
        await connection.socket.send_bytes(frames.fields_frame(frame.type, b"K"))

    async def _subscribe(self, connection: _Connection, frame: ClientFrame) -> None:
        """Confirm a subscription and send a snapshot of each topic; unknown topics get none."""
        names = frame.topics()
        too_many = len(connection.subscriptions.keys() | set(names)) > MOST_TOPICS
        if too_many or len(names) > MOST_TOPICS_AT_ONCE:
            message = frames.custom_frame(_PLAN_LIMIT, "Symbol limit exceeded", FrameType.SUBSCRIBE)
            await connection.socket.send_bytes(message)
            return
        channel = (frame.fields.get(2) or b"\x0b")[0]
        fresh: list[_Subscription] = []
        now = self._broker.clock.epoch()
        for topic in filter(None, (self._feed.topic(name, now) for name in names)):
            connection.next_topic_id += 1
            subscription = _Subscription(topic, connection.next_topic_id % 65_536, channel)
            connection.subscriptions[topic.name] = subscription
            fresh.append(subscription)
        await connection.socket.send_bytes(frames.fields_frame(FrameType.SUBSCRIBE, b"K"))
        items: list[bytes] = []
        for subscription in fresh:
            subscription.sent = self._feed.values(subscription.topic, now)
            topic = subscription.topic
            items.append(
                frames.snapshot_item(
                    subscription.topic_id,
                    topic.name,
                    subscription.sent,
                    topic.names,
                    topic.instrument.decimals,
                )
            )
        await self._send(connection, items)

    async def _send_updates(self, connection: _Connection) -> None:
        now = self._broker.clock.epoch()
        items: list[bytes] = []
        for subscription in connection.subscriptions.values():
            if subscription.channel in connection.paused:
                continue
            values = self._feed.values(subscription.topic, now)
            if values != subscription.sent:
                item = _changed(subscription, values, is_lite=subscription.channel in connection.lite)
                subscription.sent = values
                items.extend(item)
        await self._send(connection, items)

    @staticmethod
    async def _send(connection: _Connection, items: list[bytes]) -> None:
        for start in range(0, len(items), _ITEMS_PER_FRAME):
            connection.number += 1
            batch = items[start : start + _ITEMS_PER_FRAME]
            await connection.socket.send_bytes(frames.data_frame(connection.number, batch))


def _changed(subscription: _Subscription, values: tuple[int, ...], *, is_lite: bool) -> list[bytes]:
    if is_lite and not subscription.topic.name.startswith("dp"):
        if values[0] == subscription.sent[0]:
            return []
        return [frames.lite_item(subscription.topic_id, values[0])]
    if subscription.topic.instrument.is_index:
        # Every Python SDK before 3.2.0 takes an index's marker for "unchanged" as a price.
        return [frames.update_item(subscription.topic_id, values)]
    changes = [
        value if value != before else frames.MISSING
        for value, before in zip(values, subscription.sent, strict=True)
    ]
    return [frames.update_item(subscription.topic_id, changes)]
