"""Making one call from permission to verdict: the turn, the last look at the credential, sending, repeating, and what is learned from the answer.

Which calls there are and what their answers hold is ``client.py``'s. This is the only place that repeats a call and the only one that puts a
token into a header.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

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
from hullwatch.domain.sessions.connection import Credential
from hullwatch.fyers.breakers import Breakers, HeldBack, Passage
from hullwatch.fyers.errors import CallKind, Reply, classify, classify_file, is_edge_block, retry_after_s
from hullwatch.fyers.rate_limit import Account, Pace
from hullwatch.fyers.transport import Request, Transport, Trouble
from hullwatch.runtime.clock import Clock, clock_timeout

ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 2.0
PAUSE_JITTER_S: Final = 0.3
REPEATS_A_CALL: Final = 0.1
REPEATS_IN_RESERVE: Final = 50.0
UNSENDABLE: Final = "unsendable_header"
"""The cause of an `Unavailable` whose call was not sent because its app id or token cannot stand in a header."""

OnCall: TypeAlias = Callable[[CallKind, str, float], None]
"""Told of each request that was sent: what it was, how it ended (see `outcome_word`) and how many seconds it took."""
OnSessionCall: TypeAlias = Callable[[str, str], None]
"""Told of each request that was sent with a session: whose, by user id, and how it ended."""
Source: TypeAlias = tuple[str, str | None]
"""App id and Fyers id, the pair that Fyers limits; no Fyers id for the calls of a login itself."""

T = TypeVar("T")

_HEADER_PART: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_FAILING: Final = frozenset(
    {"timeout", "connection", "dns", "tls", "half_body", "not_http", "not_fyers", "empty_body"}
)
"""Troubles that speak of Fyers as a whole when many accounts meet them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make: what, where, and with what."""

    kind: CallKind
    url: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What is secret in the body, so that no echo of it is kept."""

    @property
    def address(self) -> str:
        """The whole address; ``&`` and ``:`` inside a symbol are encoded."""
        return f"{self.url}?{urlencode(self.query, quote_via=quote, safe='')}" if self.query else self.url


class _Again(Exception):  # noqa: N818 - carries a verdict through the retry library, never leaves this module
    """The call may be made again; `failure` is what is said if it is not."""

    def __init__(self, failure: BrokerFailure) -> None:
        super().__init__(type(failure).__name__)
        self.failure = failure


_WORDS: Final[Mapping[type, str]] = {
    Answered: "ok",
    LoginRefused: "login_refused",
    RateLimited: "rate_limited",
    RequestRefused: "bad_request",
    NotPermitted: "not_permitted",
    SessionDisconnected: "session_over",
}


def outcome_word(result: BrokerResult[Any]) -> str:
    """Return how a call ended in one stable word, for metrics; trouble gives its cause."""
    return result.cause if isinstance(result, Unavailable) else _WORDS[type(result)]


class Repeats:
    """How many calls may be made again: a tenth of all, after a reserve for quiet times.

    Where many accounts fail, repeating each call three times would take the turns at the machine's gate from those that do not.
    """

    def __init__(self) -> None:
        self._left = REPEATS_IN_RESERVE

    def earn(self) -> None:
        """Take note of a call made for the first time."""
        self._left = min(REPEATS_IN_RESERVE, self._left + REPEATS_A_CALL)

    def spend(self) -> bool:
        """Take one repeat out; False when none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Caller:
    """Makes calls: each in its account's turn, with a credential that is good at the moment of sending."""

    def __init__(
        self,
        transport: Transport,
        pace: Pace,
        breakers: Breakers,
        clock: Clock,
        random: Random,
        *,
        timeout_s: float,
        longest_wait_s: float,
        on_call: OnCall | None,
        on_session_call: OnSessionCall | None = None,
    ) -> None:
        self._transport = transport
        self._pace = pace
        self._breakers = breakers
        self._clock = clock
        self._random = random
        self._timeout_s = timeout_s
        self._longest_wait_s = longest_wait_s
        self._on_call = on_call
        self._on_session_call = on_session_call
        self._repeats = Repeats()

    async def with_session(self, call: Call, credential: Credential) -> BrokerResult[dict[str, object]]:
        """Make a call with a session's token; `SessionDisconnected` if the session ended before it was sent."""
        source = (credential.app_id, credential.fyers_id)
        return await self._repeat(call.kind, lambda: self._once(call, source, credential))

    async def without_session(self, call: Call, app_id: str) -> BrokerResult[dict[str, object]]:
        """Make a call of the login itself, paced by app."""
        return await self._repeat(call.kind, lambda: self._once(call, (app_id, None), None))

    async def public_file(self, call: Call, *, largest: int, timeout_s: float) -> BrokerResult[bytes]:
        """Fetch a public file; another host serves it, so it waits for no turn and tells nothing about Fyers' services."""
        request = Request(call.kind.method, call.address, largest_reply=largest, timeout_s=timeout_s)

        async def once() -> BrokerResult[bytes]:
            reply, seconds = await self._send(request)
            result: BrokerResult[bytes]
            if isinstance(reply, Trouble):
                result = Unavailable(call.kind.service, reply.cause)
            else:
                result = classify_file(call.kind, reply)
            self._observe(call.kind, result, seconds)
            return result

        return await self._repeat(call.kind, once)

    async def _repeat(
        self, kind: CallKind, once: Callable[[], Awaitable[BrokerResult[T]]]
    ) -> BrokerResult[T]:
        self._repeats.earn()
        try:
            async for attempt in stamina.retry_context(
                on=_Again,
                attempts=ATTEMPTS,
                timeout=self._timeout_s,
                wait_initial=FIRST_PAUSE_S,
                wait_max=LONGEST_PAUSE_S,
                wait_jitter=PAUSE_JITTER_S,
            ):
                with attempt:
                    result = await once()
                    return result if attempt.num == ATTEMPTS else self._unless_again(kind, result)
        except _Again as again:
            return again.failure
        raise AssertionError("the retry library ended without a verdict")

    def _unless_again(self, kind: CallKind, result: BrokerResult[T]) -> BrokerResult[T]:
        """Return the result, or raise `_Again` for trouble that may be over in a moment, while there are repeats left."""
        if (
            kind.may_repeat
            and isinstance(result, Unavailable)
            and _may_pass(result)
            and self._repeats.spend()
        ):
            raise _Again(result)
        return result

    async def _once(
        self, call: Call, source: Source, credential: Credential | None
    ) -> BrokerResult[dict[str, object]]:
        service = call.kind.service
        if self._is_over(credential):
            return SessionDisconnected(service)
        if (held := self._breakers.held_back()) is not None:
            return Unavailable(service, held.word, retry_after_s=held.retry_after_s)
        account = self._pace.account(source)
        account.busy += 1
        try:
            if not await self._take_slot(account):
                return Unavailable(service, "too_many_in_flight")
            try:
                return await self._in_turn(call, source, account, credential)
            finally:
                account.slots.release()
        finally:
            account.busy -= 1

    async def _take_slot(self, account: Account) -> bool:
        """Wait for one of the account's slots, no longer than for a turn."""
        if not account.slots.locked():
            return await account.slots.acquire()
        try:
            async with clock_timeout(self._clock, self._longest_wait_s):
                return await account.slots.acquire()
        except TimeoutError:
            return False

    async def _in_turn(
        self, call: Call, source: Source, account: Account, credential: Credential | None
    ) -> BrokerResult[dict[str, object]]:
        service = call.kind.service
        not_now = await self._pace.turn(account)
        if not_now is not None:
            return RateLimited(service, not_now.retry_after_s)
        # From here to the sending nothing is awaited: what is true now is true when the request leaves.
        if self._is_over(credential):
            return SessionDisconnected(service)
        headers = _headers(credential)
        if headers is None:
            return Unavailable(service, UNSENDABLE)
        passage = self._breakers.ask()
        if isinstance(passage, HeldBack):
            return Unavailable(service, passage.word, retry_after_s=passage.retry_after_s)
        try:
            reply, seconds = await self._send(Request(call.kind.method, call.address, headers, call.body))
            result = self._learn(call, source, account, reply, passage)
        finally:
            passage.settle(source, fyers=None, edge=None)  # cancelled: nothing was learned
        self._observe(call.kind, result, seconds)
        if credential is not None and self._on_session_call is not None:
            self._on_session_call(credential.user_id, outcome_word(result))
        return _without_secrets(result, reply, call, credential)

    def _is_over(self, credential: Credential | None) -> bool:
        return credential is not None and not credential.may_call(self._clock.now())

    async def _send(self, request: Request) -> tuple[Reply | Trouble, float]:
        """Send and measure in real seconds, whatever clock hullwatch runs on: networks know no other."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply = await self._transport.send(request)
        return reply, loop.time() - began

    def _learn(
        self, call: Call, source: Source, account: Account, reply: Reply | Trouble, passage: Passage
    ) -> BrokerResult[dict[str, object]]:
        """Return the verdict, after the account and the breakers have taken note of it."""
        now = self._clock.monotonic()
        if isinstance(reply, Trouble):
            is_fyers_down = reply.cause in _FAILING
            passage.settle(source, fyers=False if is_fyers_down else None, edge=None)
            return Unavailable(call.kind.service, reply.cause)
        result = classify(call.kind, reply)
        asked_s = retry_after_s(reply)
        if is_edge_block(reply):
            passage.settle(source, fyers=None, edge=False)
            return _with_wait(result, account.park.turned_away(now, self._random, asked_s))
        if isinstance(result, RateLimited):
            passage.settle(source, fyers=True, edge=True)
            return _with_wait(result, account.park.limited(now, self._clock.now(), asked_s))
        if isinstance(result, Unavailable) and not _is_fyers_word(result):
            passage.settle(source, fyers=False if _speaks_of_outage(result) else None, edge=None)
            return result
        passage.settle(source, fyers=True, edge=True)
        account.park.answered()
        return result

    def _observe(self, kind: CallKind, result: BrokerResult[Any], seconds: float) -> None:
        if self._on_call is not None:
            self._on_call(kind, outcome_word(result), seconds)


def _headers(credential: Credential | None) -> dict[str, str] | None:
    """Return the headers, or `None` if app id or token cannot stand in one: the HTTP library's error would quote them in full."""
    headers = {"Content-Type": "application/json", "version": "3"}
    if credential is None:
        return headers
    token = credential.token.reveal()
    if not (_HEADER_PART.fullmatch(credential.app_id) and _HEADER_PART.fullmatch(token)):
        return None
    headers["Authorization"] = f"{credential.app_id}:{token}"
    return headers


def _may_pass(failure: Unavailable) -> bool:
    """Whether the same call is worth sending again at once: not after a time-out, and not before a time that Fyers named."""
    if failure.retry_after_s is not None:
        return False
    status = failure.http_status
    if status is None:
        return failure.cause in {"connection", "dns", "half_body"}
    return status >= 500 or (status == 200 and failure.cause in {"not_fyers", "empty_body"})


def _is_fyers_word(failure: Unavailable) -> bool:
    """Whether an answer in Fyers' form stands behind it, from a service that is up."""
    is_formed = failure.cause in {"contradictory", "unknown_code", "header_refused", "fyers_trouble"}
    return is_formed and (failure.http_status or 0) < 500


def _speaks_of_outage(failure: Unavailable) -> bool:
    status = failure.http_status or 0
    return status >= 500 or 300 <= status < 400 or failure.cause in _FAILING


def _with_wait(result: BrokerResult[dict[str, object]], seconds: float) -> BrokerResult[dict[str, object]]:
    if isinstance(result, RateLimited | Unavailable):
        return replace(result, retry_after_s=seconds)
    return result


def _without_secrets(
    result: BrokerResult[dict[str, object]], reply: Reply | Trouble, call: Call, credential: Credential | None
) -> BrokerResult[dict[str, object]]:
    """Drop Fyers' sentence if the reply echoes what was secret in the call."""
    if not isinstance(result, RequestRefused | NotPermitted) or isinstance(reply, Trouble):
        return result
    secrets = [secret.encode() for secret in call.secrets]
    if credential is not None:
        secrets.append(credential.token.reveal().encode())
    return replace(result, message="") if any(secret in reply.body for secret in secrets) else result
