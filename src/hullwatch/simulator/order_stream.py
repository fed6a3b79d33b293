"""The order stream, `/trade/v3`. It accepts subscriptions and answers pings; there are no orders."""

import asyncio

import orjson
from aiohttp import WSMsgType, web

from hullwatch.simulator.broker import Broker, Family

PATH = "/trade/v3"
_SUBSCRIBED = orjson.dumps({"code": 1605, "message": "Successfully subscribed", "s": "ok"}).decode()


async def serve_orders(
    broker: Broker, request: web.BaseRequest, stopping: asyncio.Event
) -> web.StreamResponse:
    """Serve one connection; a refused token gets an empty 403 at the upgrade."""
    authorization = request.headers.get("Authorization", "")
    if broker.identify(authorization, Family.TRADING, broker.clock.epoch()).problem is not None:
        return web.Response(status=403, headers={"Server": "cloudflare"})
    socket = web.WebSocketResponse(compress=False, timeout=1.0)
    await socket.prepare(request)
    end = asyncio.create_task(_close_when(socket, stopping), name="simulator order stream")
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                answer = _answer(message.data)
                if answer is not None:
                    await socket.send_str(answer)
    finally:
        end.cancel()
    return socket


async def _close_when(socket: web.WebSocketResponse, stopping: asyncio.Event) -> None:
    await stopping.wait()
    await socket.close(code=1001)


def _answer(text: str) -> str | None:
    if text == "ping":
        return "pong"
    try:
        order = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return _SUBSCRIBED if isinstance(order, dict) and order.get("T") == "SUB_ORD" else None
