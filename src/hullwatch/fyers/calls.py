"""Makes one call: paces it, checks the credential, sends it, retries it and records the result.

No other module retries a call or puts a token into a header.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

import stamina

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
)
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.sessions.connection import Credential
from hullwatch.fyers.breakers import Blocked, Breakers, CallPermit
from hullwatch.fyers.call_order import Account, NoSlot, WaitTooLong
from hullwatch.fyers.call_queue import CallQueue, Source
from hullwatch.fyers.clock import FyersClock
from hullwatch.fyers.errors import (
    UNCLEAR_CAUSE,
    CallKind,
    Reply,
    classify,
    classify_file,
    is_cloudflare_block,
    retry_after_s,
)
from hullwatch.fyers.transport import NoReply, Request, Transport
from hullwatch.runtime.clock import Clock

ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 2.0
PAUSE_JITTER_S: Final = 0.3
RETRIES_PER_CALL: Final = 0.1
RETRY_RESERVE: Final = 50.0
UNSENDABLE: Final = "unsendable_header"
"""The cause of an `Unavailable` that was not sent: its app id or token does not fit into a header."""

OnCall: TypeAlias = Callable[[CallKind, str, float], None]
"""Called for each request that was sent, with its kind, its outcome (see `outcome_name`) and its seconds."""
OnSessionCall: TypeAlias = Callable[[str, str], None]
"""Called for each request that was sent with a session, with the user id and the outcome."""

T = TypeVar("T")

_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_OUTAGE_CAUSES: Final = frozenset(
    {"timeout", "connection", "dns", "tls", "half_body", "not_http", "not_fyers", "empty_body"}
)
"""Causes that are signs of an outage of Fyers when many accounts meet them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to Fyers, before the credential is added."""

    kind: CallKind
    url: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secrets in the body; a reply that repeats one of them is not kept."""
    priority: CallPriority = ORDINARY_CALL
    may_concern_symbol: bool = False
    """Whether its failure may concern only the symbols that it names; such a failure counts for no circuit."""

    @property
    def address(self) -> str:
        """The complete address; ``&`` and ``:`` inside a symbol are encoded."""
        if not self.query:
            return self.url
        return f"{self.url}?{'&'.join(f'{name}={_encoded(value)}' for name, value in self.query.items())}"


@lru_cache(maxsize=4096)
def _encoded(value: str | int) -> str:
    """Return a value for an address; most calls are about the symbols of the calls before."""
    return quote(str(value), safe="")


class _Retry(Exception):  # noqa: N818 - carries a failure through the retry library, never leaves this module
    """The call may be retried; `failure` is the result when it is not."""

    def __init__(self, failure: BrokerFailure) -> None:
        super().__init__(type(failure).__name__)
        self.failure = failure


_OUTCOMES: Final[Mapping[type, str]] = {
    Answered: "ok",
    LoginRefused: "login_refused",
    RateLimited: "rate_limited",
    RequestRefused: "bad_request",
    NotPermitted: "not_permitted",
    SessionDisconnected: "session_disconnected",
}


def outcome_name(result: BrokerResult[Any]) -> str:
    """Return the outcome of a call in one stable word, for metrics. An `Unavailable` gives its cause."""
    return result.cause if isinstance(result, Unavailable) else _OUTCOMES[type(result)]


class RetryBudget:
    """Limits retries to a tenth of all calls, plus a reserve.

    During an outage of many accounts, three attempts for each call would use up the global rate limit.
    """

    def __init__(self) -> None:
        self._left = RETRY_RESERVE

    def earn(self) -> None:
        """Count a first attempt."""
        self._left = min(RETRY_RESERVE, self._left + RETRIES_PER_CALL)

    def spend(self) -> bool:
        """Use one retry; return False when none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Caller:
    """Makes calls at the pace of their account, with a credential that is valid at the moment of sending."""

    def __init__(
        self,
        transport: Transport,
        queue: CallQueue,
        breakers: Breakers,
        clock: Clock,
        random: Random,
        *,
        on_call: OnCall | None = None,
        on_session_call: OnSessionCall | None = None,
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._breakers = breakers
        self._clock = clock
        self._random = random
        self._on_call = on_call
        self._on_session_call = on_session_call
        self._retries = RetryBudget()
        self._fyers_clock = FyersClock()

    def waits_at_close(self, credential: Credential) -> bool:
        """Whether a call of this account waits because this server has many candles to read."""
        return self._queue.waits_at_close((credential.app_id, credential.fyers_id))

    def clock_offset(self) -> ClockOffset | None:
        """Return how far Fyers' clock and this server's are apart; `None` before enough answers."""
        clock = self._clock
        return self._fyers_clock.offset(now_s=clock.monotonic(), now=clock.now().timestamp())

    async def with_session(self, call: Call, credential: Credential) -> BrokerResult[dict[str, object]]:
        """Make a call with a session's token; `SessionDisconnected` if that happened before the sending."""
        source = (credential.app_id, credential.fyers_id)
        return await self._repeat(call.kind, lambda: self._once(call, source, credential))

    async def without_session(self, call: Call, app_id: str) -> BrokerResult[dict[str, object]]:
        """Make a call of the login itself, at the pace of its app."""
        return await self._repeat(call.kind, lambda: self._once(call, (app_id, None), None))

    async def public_file(self, call: Call, *, largest: int, timeout_s: float) -> BrokerResult[bytes]:
        """Fetch a public file. Another host serves it, so no rate limit and no circuit applies."""
        request = Request(call.kind.method, call.address, largest_reply=largest, timeout_s=timeout_s)

        async def once() -> BrokerResult[bytes]:
            reply, seconds = await self._send(request)
            result: BrokerResult[bytes]
            if isinstance(reply, NoReply):
                result = Unavailable(call.kind.service, reply.cause)
            else:
                result = classify_file(call.kind, reply)
            self._observe(call.kind, result, seconds)
            return result

        return await self._repeat(call.kind, once)

    async def _repeat(
        self, kind: CallKind, once: Callable[[], Awaitable[BrokerResult[T]]]
    ) -> BrokerResult[T]:
        self._retries.earn()
        first: BrokerResult[T] | None = await once()
        # The retry library costs as much as the rest of this function; nearly all calls end here.
        if first is not None and not self._may_retry(kind, first):
            return first
        try:
            async for attempt in stamina.retry_context(
                on=_Retry,
                attempts=ATTEMPTS,
                timeout=self._transport.limits.request_s,
                wait_initial=FIRST_PAUSE_S,
                wait_max=LONGEST_PAUSE_S,
                wait_jitter=PAUSE_JITTER_S,
            ):
                with attempt:
                    result = first or await once()
                    first = None
                    return result if attempt.num == ATTEMPTS else self._raise_for_retry(kind, result)
        except _Retry as retry:
            return retry.failure
        raise AssertionError("the retry library ended without a result")

    def _raise_for_retry(self, kind: CallKind, result: BrokerResult[T]) -> BrokerResult[T]:
        """Return the result; raise `_Retry` for a failure that may pass at once, if the budget allows it."""
        if isinstance(result, Unavailable) and self._may_retry(kind, result) and self._retries.spend():
            raise _Retry(result)
        return result

    @staticmethod
    def _may_retry(kind: CallKind, result: BrokerResult[T]) -> bool:
        return isinstance(result, Unavailable) and kind.may_repeat and _is_retryable(result)

    async def _once(
        self, call: Call, source: Source, credential: Credential | None
    ) -> BrokerResult[dict[str, object]]:
        service = call.kind.service
        if self._is_expired(credential):
            return SessionDisconnected(service)
        if (blocked := self._breakers.blocked()) is not None:
            return Unavailable(service, blocked.name, retry_after_s=blocked.retry_after_s)
        account = self._queue.account(source)
        refusal = await self._queue.admit(account, call.priority)
        if isinstance(refusal, WaitTooLong):
            return RateLimited(service, refusal.retry_after_s)
        if isinstance(refusal, NoSlot):
            return Unavailable(service, "too_many_in_flight")
        try:
            return await self._send_now(call, source, account, credential)
        finally:
            self._queue.release(account)

    async def _send_now(
        self, call: Call, source: Source, account: Account, credential: Credential | None
    ) -> BrokerResult[dict[str, object]]:
        service = call.kind.service
        # Nothing is awaited from here to the sending, so that the checks still hold when the request leaves.
        if self._is_expired(credential):
            return SessionDisconnected(service)
        headers = _headers(credential)
        if headers is None:
            return Unavailable(service, UNSENDABLE)
        permit = self._breakers.permit()
        if isinstance(permit, Blocked):
            return Unavailable(service, permit.name, retry_after_s=permit.retry_after_s)
        sent_s = self._clock.monotonic()
        try:
            reply, seconds = await self._send(Request(call.kind.method, call.address, headers, call.body))
            result = self._record_result(call, source, account, reply, permit)
        finally:
            permit.settle(source, fyers=None, cloudflare=None)  # cancelled: the call proved nothing
        self._observe(call.kind, result, seconds)
        if isinstance(reply, Reply) and isinstance(result, Answered | LoginRefused):
            self._record_date(reply.date, sent_s)
        if credential is not None and self._on_session_call is not None:
            self._on_session_call(credential.user_id, outcome_name(result))
        return _without_secrets(result, reply, call, credential)

    def _record_date(self, date: str, sent_s: float) -> None:
        now_s, now = self._clock.monotonic(), self._clock.now().timestamp()
        self._fyers_clock.record(date, sent_s=sent_s, received_s=now_s, now=now)

    def _is_expired(self, credential: Credential | None) -> bool:
        return credential is not None and not credential.may_call(self._clock.now())

    async def _send(self, request: Request) -> tuple[Reply | NoReply, float]:
        """Send, and measure real seconds: the network does not follow a faster clock."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply = await self._transport.send(request)
        return reply, loop.time() - began

    def _record_result(
        self, call: Call, source: Source, account: Account, reply: Reply | NoReply, permit: CallPermit
    ) -> BrokerResult[dict[str, object]]:
        now = self._clock.monotonic()
        if isinstance(reply, NoReply):
            is_fyers_down = reply.cause in _OUTAGE_CAUSES and not call.may_concern_symbol
            permit.settle(source, fyers=False if is_fyers_down else None, cloudflare=None)
            return Unavailable(call.kind.service, reply.cause)
        result = classify(call.kind, reply)
        wait_s = retry_after_s(reply)
        if is_cloudflare_block(reply) and not (call.may_concern_symbol and reply.http_status == 403):
            # A 429 page is a rate limit, whatever the call names; a 403 page can be a rule about one address.
            permit.settle(source, fyers=None, cloudflare=False)
            return _with_wait(result, account.pause.record_block(now, self._random, wait_s))
        if isinstance(result, RateLimited):
            permit.settle(source, fyers=True, cloudflare=True)
            return _with_wait(result, account.pause.record_limit(now, self._clock.now(), wait_s))
        if isinstance(result, Unavailable) and not _is_fyers_answer(result):
            is_fyers_down = _is_outage(result) and not call.may_concern_symbol
            permit.settle(source, fyers=False if is_fyers_down else None, cloudflare=None)
            return result
        permit.settle(source, fyers=True, cloudflare=True)
        account.pause.record_answer()
        return result

    def _observe(self, kind: CallKind, result: BrokerResult[Any], seconds: float) -> None:
        if self._on_call is not None:
            self._on_call(kind, outcome_name(result), seconds)


def _headers(credential: Credential | None) -> dict[str, str] | None:
    """Return the headers; `None` for an impossible app id or token, which the HTTP library would quote."""
    headers = {"Content-Type": "application/json", "version": "3"}
    if credential is None:
        return headers
    token = credential.token.reveal()
    if not (_HEADER_VALUE.fullmatch(credential.app_id) and _HEADER_VALUE.fullmatch(token)):
        return None
    headers["Authorization"] = f"{credential.app_id}:{token}"
    return headers


def _is_retryable(failure: Unavailable) -> bool:
    """Whether to retry at once: not after a time-out, and not before a time that Fyers named."""
    if failure.retry_after_s is not None:
        return False
    status = failure.http_status
    if status is None:
        return failure.cause in {"connection", "dns", "half_body"}
    return status >= 500 or (status == 200 and failure.cause in {"not_fyers", "empty_body"})


def _is_fyers_answer(failure: Unavailable) -> bool:
    """Whether a working service of Fyers sent an answer in Fyers' form."""
    is_formed = failure.cause in {
        "contradictory",
        "unknown_code",
        "header_refused",
        "fyers_error",
        UNCLEAR_CAUSE,
    }
    return is_formed and (failure.http_status or 0) < 500


def _is_outage(failure: Unavailable) -> bool:
    status = failure.http_status or 0
    return status >= 500 or 300 <= status < 400 or failure.cause in _OUTAGE_CAUSES


def _with_wait(result: BrokerResult[dict[str, object]], seconds: float) -> BrokerResult[dict[str, object]]:
    if isinstance(result, RateLimited | Unavailable):
        return replace(result, retry_after_s=seconds)
    return result


def _without_secrets(
    result: BrokerResult[dict[str, object]], reply: Reply | NoReply, call: Call, credential: Credential | None
) -> BrokerResult[dict[str, object]]:
    """Drop Fyers' message if the reply repeats a secret of the call."""
    if not isinstance(result, RequestRefused | NotPermitted) or isinstance(reply, NoReply):
        return result
    secrets = [secret.encode() for secret in call.secrets]
    if credential is not None:
        secrets.append(credential.token.reveal().encode())
    return replace(result, message="") if any(secret in reply.body for secret in secrets) else result
