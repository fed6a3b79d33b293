"""The broker port for Fyers API v3: its calls, with domain values as arguments and results."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final, Self, TypeVar

import orjson
import structlog

from hullwatch.domain.failures import (
    Answered,
    BrokerResult,
    BrokerService,
    Unavailable,
    UnreadableReply,
)
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import Arranged
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.market.instruments import Instrument, Resolution, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.domain.secrets import AccessToken, AuthCode, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.fyers import payloads
from hullwatch.fyers.breakers import Breakers
from hullwatch.fyers.call_queue import CallQueue
from hullwatch.fyers.calls import UNSENDABLE, Call, Caller, OnCall, OnSessionCall
from hullwatch.fyers.errors import CallKind, Host
from hullwatch.fyers.login import app_id_hash, login_url
from hullwatch.fyers.rate_limit import PacingLimits
from hullwatch.fyers.transport import TimeLimits, Transport
from hullwatch.runtime.circuit import CircuitReport
from hullwatch.runtime.clock import Clock

QUOTES_PER_CALL: Final = 50
"""Fyers API v3 docs, "Quotes"."""
NSE_MASTER: Final = "NSE_CM.csv"
MASTERS: Final = (NSE_MASTER, "BSE_CM.csv")
LARGEST_MASTER: Final = 64 * 2**20
MASTER_TIMEOUT_S: Final = 60.0
CHECKED_HISTORY: Final = timedelta(days=10)
"""Longer than any run of holidays, so that the answer has candles."""
_MOST_LOGGED: Final = 500

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class FyersAddresses:
    """Where the calls go: account and trading calls, market data calls, and the symbol masters.

    The addresses of Fyers are ``https://api-t1.fyers.in/api/v3``, ``https://api-t1.fyers.in/data`` and
    ``https://public.fyers.in``.
    """

    api: str
    data: str
    public: str


class FyersClient:
    """Satisfies `BrokerPort`. No method raises for a failure of Fyers or of the network.

    The clock measures rate limits, pauses and the expiry of sessions. A call that would wait longer than
    `LONGEST_WAIT_S` for its rate limit returns `RateLimited` at once. Calls for closed candles, and quotes
    that pause for them, wait longer: see `call_queue`.
    """

    quotes_per_call: int = QUOTES_PER_CALL

    def __init__(
        self,
        addresses: FyersAddresses,
        clock: Clock,
        random: Random,
        *,
        pacing: PacingLimits | None = None,
        time_limits: TimeLimits | None = None,
        on_call: OnCall | None = None,
        on_session_call: OnSessionCall | None = None,
    ) -> None:
        self._hosts = {
            Host.API: addresses.api.rstrip("/"),
            Host.DATA: addresses.data.rstrip("/"),
            Host.PUBLIC: addresses.public.rstrip("/"),
        }
        self._clock = clock
        self._log = structlog.get_logger(component="FyersClient")
        self._logged: set[Hashable] = set()
        self._transport = Transport(time_limits or TimeLimits())
        self._breakers = Breakers(clock, random, self._log)
        self._queue = CallQueue(pacing or PacingLimits(), clock)
        self._calls = Caller(
            self._transport,
            self._queue,
            self._breakers,
            clock,
            random,
            on_call=on_call,
            on_session_call=on_session_call,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; later calls return `Unavailable`."""
        self._queue.close()
        await self._transport.close()

    def circuits(self) -> tuple[CircuitReport, ...]:
        """Return the circuits that can stop the calls of all accounts."""
        return self._breakers.reports()

    def waits_at_close(self, credential: Credential) -> bool:
        """Whether a call of this account waits because this server has many candles to read."""
        return self._calls.waits_at_close(credential)

    def clock_offset(self) -> ClockOffset | None:
        """Return how far Fyers' clock and this server's are apart, from the last five minutes' answers."""
        return self._calls.clock_offset()

    def call_paces(self) -> Sequence[CallPace]:
        """Return how much of Fyers' rate limits each account has used today, or is asked to wait."""
        return self._queue.paces()

    def restore_call_paces(self, paces: Sequence[CallPace], *, is_clean: bool) -> None:
        """Go on from these; without a clean stop before, an account has few calls for the first minute."""
        self._queue.restore(paces, is_clean=is_clean)

    def history_span(self, resolution: Resolution) -> timedelta:
        """Return the longest range of one history call (Fyers API v3 docs, "History": limits per request)."""
        return timedelta(days=100 if resolution.is_intraday else 366)

    def login_url(self, app: FyersApp, state: str) -> str:
        """Return the address of Fyers' login page."""
        return login_url(self._hosts[Host.API], app, state)

    async def exchange_auth_code(self, app: FyersApp, auth_code: AuthCode) -> BrokerResult[FreshLogin]:
        """Exchange an auth code; never retried, since a code is valid once."""
        answer = await self._log_in(
            CallKind.EXCHANGE_AUTH_CODE, app, "authorization_code", {"code": auth_code.reveal()}
        )
        return self._read(CallKind.EXCHANGE_AUTH_CODE, answer, payloads.read_fresh_login)

    async def renew_access_token(
        self, app: FyersApp, refresh_token: RefreshToken, pin: Pin
    ) -> BrokerResult[AccessToken]:
        """Request a session with a refresh token and the PIN; never retried: wrong PINs lock an account."""
        secrets = {"refresh_token": refresh_token.reveal(), "pin": pin.reveal()}
        answer = await self._log_in(CallKind.RENEW_ACCESS_TOKEN, app, "refresh_token", secrets)
        return self._read(CallKind.RENEW_ACCESS_TOKEN, answer, payloads.read_access_token)

    async def profile_id(self, credential: Credential) -> BrokerResult[str]:
        """Return the Fyers id that the token belongs to."""
        return await self._call(CallKind.PROFILE, credential, payloads.read_profile_id)

    async def check_trading(self, credential: Credential) -> BrokerResult[None]:
        """Request the funds, for which the trading service checks the token; the amounts are not read."""
        return await self._call(CallKind.FUNDS, credential, payloads.read_funds)

    async def check_data(self, credential: Credential) -> BrokerResult[None]:
        """Request the market status, the lightest call for which the data service checks the token."""
        return await self._call(CallKind.MARKET_STATUS, credential, payloads.read_market_status)

    async def quotes(
        self,
        credential: Credential,
        symbols: Sequence[Symbol],
        *,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[tuple[Quote, ...]]:
        """Return quotes in one call; a symbol that Fyers cannot quote is absent.

        Raises:
            ValueError: More than `quotes_per_call` symbols.
        """
        if len(symbols) > QUOTES_PER_CALL:
            raise ValueError(f"{len(symbols)} symbols in one quotes call; Fyers takes {QUOTES_PER_CALL}")
        if not symbols:
            return Answered(())

        def read(body: Mapping[str, object]) -> tuple[Quote, ...]:
            return payloads.read_quotes(body, symbols).quotes

        query = {"symbols": ",".join(symbol.text for symbol in symbols)}
        return await self._call(
            CallKind.QUOTES, credential, read, query, may_concern_symbol=True, priority=priority
        )

    async def circuit_limits(
        self, credential: Credential, symbol: Symbol, *, priority: CallPriority = ORDINARY_CALL
    ) -> BrokerResult[CircuitLimits | None]:
        """Return the circuit limits in the market depth of a symbol; `None` if there are none that can be true."""

        def read(body: Mapping[str, object]) -> CircuitLimits | None:
            return payloads.read_circuit_limits(body, symbol)

        query: dict[str, str | int] = {"symbol": symbol.text, "ohlcv_flag": 1}
        return await self._call(
            CallKind.DEPTH, credential, read, query, may_concern_symbol=True, priority=priority
        )

    async def candles(
        self,
        credential: Credential,
        symbol: Symbol,
        resolution: Resolution,
        *,
        start: datetime,
        end: datetime,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[Arranged]:
        """Return candles that open in [start, end], also the forming one; at most `history_span` long."""

        def read(body: Mapping[str, object]) -> Arranged:
            return payloads.read_history(body, start=start, end=end)

        query = _history_query(symbol, resolution, start, end)
        return await self._call(
            CallKind.HISTORY, credential, read, query, may_concern_symbol=True, priority=priority
        )

    async def check_symbol(
        self, credential: Credential, service: BrokerService, symbol: Symbol
    ) -> BrokerResult[None]:
        """Request a few daily candles or a quote of a symbol that Fyers always serves.

        Raises:
            ValueError: Calls to this service name no symbol.
        """
        if service is BrokerService.HISTORY:
            end = self._clock.now()
            start = end - CHECKED_HISTORY

            def read_candles(body: Mapping[str, object]) -> None:
                payloads.read_history(body, start=start, end=end)

            query = _history_query(symbol, Resolution("1D"), start, end)
            return await self._call(CallKind.HISTORY, credential, read_candles, query)
        if service is not BrokerService.DATA:
            raise ValueError(f"calls to {service.value} name no symbol")

        def read_quotes(body: Mapping[str, object]) -> None:
            payloads.read_quotes(body, [symbol])

        return await self._call(CallKind.QUOTES, credential, read_quotes, {"symbols": symbol.text})

    async def sign_out(self, credential: Credential) -> BrokerResult[None]:
        """End this app's session at Fyers; like the Python SDK, with the body ``null``."""
        return await self._call(CallKind.LOGOUT, credential, lambda _: None, body=b"null")

    async def instruments(self) -> BrokerResult[tuple[Instrument, ...]]:
        """Return the instruments of the NSE and BSE cash markets, or the failure of either file."""
        found: list[Instrument] = []
        for name in MASTERS:
            kind = CallKind.SYMBOL_MASTER
            call = Call(kind, f"{self._address(kind)}/{name}")
            file = await self._calls.public_file(call, largest=LARGEST_MASTER, timeout_s=MASTER_TIMEOUT_S)
            if not isinstance(file, Answered):
                return file
            if not file.value.strip():
                # BSE lists nothing in the simulator. An empty file of the NSE is a failure.
                if name == NSE_MASTER:
                    return Unavailable(kind.service, "empty_body", 200)
                continue
            # Tens of thousands of rows are read in a thread, so that quotes do not wait.
            master = await asyncio.to_thread(self._read, kind, file, payloads.read_symbol_master)
            if not isinstance(master, Answered):
                return master
            if master.value.bad_rows:
                self._log_once("fyers.symbol_master_rows_skipped", name, rows=master.value.bad_rows)
            found.extend(master.value.instruments)
        return Answered(tuple(found))

    async def _log_in(
        self, kind: CallKind, app: FyersApp, grant_type: str, secrets: Mapping[str, str]
    ) -> BrokerResult[dict[str, object]]:
        proof = app_id_hash(app)
        body = orjson.dumps({"grant_type": grant_type, "appIdHash": proof, **secrets})
        hidden = (proof, app.secret.reveal(), *secrets.values())
        call = Call(kind, self._address(kind), body=body, secrets=hidden)
        return await self._calls.without_session(call, app.app_id)

    async def _call(
        self,
        kind: CallKind,
        credential: Credential,
        read: Callable[[Mapping[str, object]], T],
        query: Mapping[str, str | int] | None = None,
        *,
        body: bytes | None = None,
        may_concern_symbol: bool = False,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[T]:
        call = Call(
            kind,
            self._address(kind),
            query or {},
            body,
            may_concern_symbol=may_concern_symbol,
            priority=priority,
        )
        result = await self._calls.with_session(call, credential)
        if isinstance(result, Unavailable) and result.cause == UNSENDABLE:
            user_id = credential.user_id
            self._log_once("fyers.credential_not_sendable", user_id, credential.generation, userId=user_id)
        return self._read(kind, result, read)

    def _address(self, kind: CallKind) -> str:
        return self._hosts[kind.host] + kind.path

    def _read(self, kind: CallKind, result: BrokerResult[U], read: Callable[[U], T]) -> BrokerResult[T]:
        """Read the body of an answer; log an unreadable one with its keys and types, and no value."""
        if not isinstance(result, Answered):
            return result
        try:
            return Answered(read(result.value))
        except payloads.Unreadable as problem:
            shown = {"path": kind.path, "expected": problem.expected, "shape": problem.shape}
            self._log_once("fyers.reply_unreadable", kind, problem.shape, **shown)
            return UnreadableReply(kind.service, cause="unreadable", http_status=200)

    def _log_once(self, event: str, *subject: Hashable, **fields: object) -> None:
        """Log our mistake or a change of Fyers once, not at every call."""
        if (event, *subject) in self._logged:
            return
        if len(self._logged) >= _MOST_LOGGED:
            self._logged.clear()
        self._logged.add((event, *subject))
        self._log.error(event, **fields)


def _history_query(
    symbol: Symbol, resolution: Resolution, start: datetime, end: datetime
) -> dict[str, str | int]:
    return {
        "symbol": symbol.text,
        "resolution": resolution.code,
        "date_format": 0,  # epoch seconds; the other form has whole days only
        "range_from": int(start.timestamp()),
        "range_to": int(end.timestamp()),
        "cont_flag": 1,
    }
