"""Handles one HTTP request: faults, limits, token, endpoint, counter.

Faults of Cloudflare act first, as it is in front of the broker; then the limits, then the token (so too
many calls with a refused token get both 401 and 429, as in real logs), then the endpoint.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate

import orjson
from aiohttp import web

from hullwatch.simulator import account_routes, data_routes, symbol_master
from hullwatch.simulator.answers import CLOUDFLARE_TITLES, Answer, Refusal, html_page, rate_limit_page
from hullwatch.simulator.broker import (
    Broker,
    Call,
    Caller,
    Endpoint,
    Family,
    TokenProblem,
    refuse_for_limit,
    refuse_token,
)
from hullwatch.simulator.control.routes import answer_control, is_control
from hullwatch.simulator.fault_bodies import changed_answer
from hullwatch.simulator.faults import AUTH_KINDS, CallFacts, Fault, FaultKind
from hullwatch.simulator.login_page import PATH as LOGIN_PATH
from hullwatch.simulator.login_page import answer_login
from hullwatch.simulator.order_stream import PATH as ORDERS_PATH
from hullwatch.simulator.order_stream import serve_orders
from hullwatch.simulator.stream import PATH as STREAM_PATH
from hullwatch.simulator.stream import DataStream

ENDPOINTS: dict[tuple[str, str], Endpoint] = account_routes.ROUTES | data_routes.ROUTES | symbol_master.ROUTES
PATHS = frozenset(path for _, path in ENDPOINTS)
_UNKNOWN = "(unknown)"
_NOBODY = Caller()


async def _unknown(broker: Broker, call: Call) -> Answer:  # noqa: ARG001  the path alone decides
    return (Refusal.WRONG_METHOD if call.path in PATHS else Refusal.UNKNOWN_PATH).answer


_NOWHERE = Endpoint(Family.OPEN, _unknown)


_SERVICES = {
    Family.PROFILE: "profile", Family.LOGOUT: "trading", Family.TRADING: "trading", Family.HISTORY: "history",
    Family.DATA: "data", Family.SYMBOL_TOKEN: "data",
}  # fmt: skip


def _service(family: Family, path: str) -> str:
    return _SERVICES.get(family) or ("masters" if path.startswith("/sym_details/") else "login")


def _symbols(request: web.BaseRequest, body: bytes) -> frozenset[str]:
    """Return the symbols that a call asks for."""
    query = request.query
    found = {query["symbol"].strip()} if "symbol" in query else set()
    found |= {text.strip() for text in query.get("symbols", "").split(",") if text.strip()}
    with suppress(orjson.JSONDecodeError):
        given = orjson.loads(body)
        listed = given.get("symbols") if isinstance(given, dict) else None
        found |= (
            {text for text in listed or () if isinstance(text, str)} if isinstance(listed, list) else set()
        )
    return frozenset(found)


def _is_one_of_several(fault: Fault, symbols: frozenset[str]) -> bool:
    return fault.given.symbol is not None and len(symbols) > 1


def _is_upgrade(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


class Gateway:
    """Answers HTTP requests for one broker. `stopping` ends hanging connections; `beat_s` paces streams."""

    def __init__(self, broker: Broker, stopping: asyncio.Event, beat_s: float) -> None:
        self._broker = broker
        self._stopping = stopping
        self._date = (0, "")
        self._stream = DataStream(broker, stopping, beat_s)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or apply a fault to its connection."""
        if request.path == STREAM_PATH and _is_upgrade(request):
            return await self._stream.serve(request)
        if request.path == ORDERS_PATH and _is_upgrade(request):
            return await serve_orders(self._broker, request, self._stopping)
        try:
            body = await request.read() if request.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            return self._response(Refusal.TOO_LARGE.answer, 0.0)
        except web.RequestPayloadError:
            return self._response(Refusal.DATA_INPUT.answer, 0.0)
        if is_control(request.path):
            answer = answer_control(self._broker, request.method, request.path, request.query, body)
            return self._response(answer, 0.0)
        return await self._broker_call(request, body)

    async def _broker_call(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        broker, path = self._broker, request.path
        now = broker.clock.epoch()
        is_login = path == LOGIN_PATH and request.method == "GET"
        endpoint = ENDPOINTS.get((request.method, path), _NOWHERE)
        if is_login:
            caller = Caller(fyers_id=request.query.get("fyersId", ""))
        elif endpoint.family is Family.OPEN:
            caller = _NOBODY
        else:
            caller = broker.identify(request.headers.get("Authorization", ""), endpoint.family, now)
        status = 0  # stays 0 when the caller gets no answer
        try:
            symbols = _symbols(request, body) if broker.faults.needs_symbols else frozenset()
            has_token = endpoint.family is not Family.OPEN
            service = _service(endpoint.family, path)
            facts = CallFacts(caller.fyers_id, path, service, symbols, has_token=has_token)
            acting = broker.faults.for_call(facts, now)
            skew_s, fault = await self._delay(acting)
            if fault is not None and fault.kind in {FaultKind.HANG, FaultKind.RESET}:
                return await self._interrupt(request, fault)
            if is_login:
                answer = _cloudflare_answer(fault, endpoint.family) or self._login(request, now)
            else:
                call = Call(request.method, path, request.query, body, caller, now, skew_s)
                answer = await self._decide(call, endpoint, fault, symbols)
            if fault is not None and fault.kind is FaultKind.DROP_AFTER_BYTES:
                return await self._drop(request, answer, fault, skew_s)
            if fault is not None:
                answer = changed_answer(answer, fault, symbols)
            status = answer.status
            return self._response(answer, skew_s)
        finally:
            if not is_login:
                broker.calls.add(caller.fyers_id, path if path in PATHS else _UNKNOWN, status, now)

    @staticmethod
    async def _delay(acting: list[Fault]) -> tuple[float, Fault | None]:
        """Wait for the delays; return the clock skew and the fault that decides the answer."""
        skew_s, deciding = 0.0, None
        for fault in acting:
            if fault.kind is FaultKind.LATENCY:
                await asyncio.sleep(
                    (500.0 if fault.given.latency_ms is None else fault.given.latency_ms) / 1000
                )
            elif fault.kind is FaultKind.CLOCK_SKEW:
                skew_s += fault.given.skew_s
            else:
                deciding = fault
        return skew_s, deciding

    def _login(self, request: web.BaseRequest, now: float) -> Answer:
        wants_html = "text/html" in request.headers.get("Accept", "")
        return answer_login(self._broker, request.query, now, wants_html=wants_html)

    async def _decide(
        self, call: Call, endpoint: Endpoint, fault: Fault | None, symbols: frozenset[str]
    ) -> Answer:
        page = _cloudflare_answer(fault, endpoint.family)
        if page is not None:
            return page
        caller = call.caller
        if endpoint.family is not Family.OPEN:
            limits = self._broker.limits
            if caller.fyers_id and not limits.admit(caller.app_id, caller.fyers_id, call.now):
                return refuse_for_limit(endpoint.family)
            if fault is not None and fault.kind in AUTH_KINDS:
                return fault.given.refused(refuse_token(endpoint.family, TokenProblem.REFUSED))
            if caller.problem is not None:
                return refuse_token(endpoint.family, caller.problem)
        if fault is not None and fault.kind is FaultKind.REFUSAL and not _is_one_of_several(fault, symbols):
            is_open = endpoint.family is Family.OPEN
            return fault.given.refused(
                Refusal.TRADING_REFUSED.answer
                if is_open
                else refuse_token(endpoint.family, TokenProblem.REFUSED)
            )
        return await endpoint.handle(self._broker, call)

    async def _interrupt(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        """Hang until the client, the fault's time or the simulator ends; reset right away."""
        if fault.kind is FaultKind.HANG:
            wait_s = None if fault.given.latency_ms is None else fault.given.latency_ms / 1000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
        elif request.transport is not None:
            connection = request.transport.get_extra_info("socket")
            if connection is not None:
                # Lingering for no time turns the close into a TCP reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _drop(
        self, request: web.BaseRequest, answer: Answer, fault: Fault, skew_s: float
    ) -> web.StreamResponse:
        """Announce the whole body, send its beginning, and close the connection."""
        response = web.StreamResponse(status=answer.status, headers=self._headers(answer, skew_s))
        response.content_length = len(answer.body) + (1 if fault.given.bytes >= len(answer.body) else 0)
        await response.prepare(request)
        await response.write(answer.body[: fault.given.bytes])
        if request.transport is not None:
            request.transport.close()
        return response

    def _response(self, answer: Answer, skew_s: float) -> web.Response:
        return web.Response(body=answer.body, status=answer.status, headers=self._headers(answer, skew_s))

    def _headers(self, answer: Answer, skew_s: float) -> dict[str, str]:
        second = int(self._broker.clock.epoch() + skew_s)
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        headers = {
            "Content-Type": answer.content_type, "Date": self._date[1], "Server": "cloudflare",
            "cf-cache-status": "DYNAMIC",
        }  # fmt: skip
        if answer.headers:
            headers.update(answer.headers)
        return headers


def _cloudflare_answer(fault: Fault | None, family: Family) -> Answer | None:
    if fault is None:
        return None
    given = fault.given
    match fault.kind:
        case FaultKind.HTTP_ERROR:
            answer = given.http_error()
        case FaultKind.HTML_PAGE:
            status = given.status or 502
            answer = html_page(status, CLOUDFLARE_TITLES.get(status, "Error"))
        case FaultKind.ADDRESS_BAN:
            answer = rate_limit_page(given.status or 429)
        case FaultKind.RATE_LIMIT:
            as_page = (given.answer_type or "").startswith("text/html")
            answer = rate_limit_page() if as_page else refuse_for_limit(family)
        case FaultKind.EMPTY_BODY:
            answer = Answer(b"", given.status or 200)
        case _:
            return None
    headers = {name: str(value) for name, value in given.headers.items()}
    return replace(answer, headers={**answer.headers, **headers})
