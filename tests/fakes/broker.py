"""A broker in memory that tests control by Fyers id. Satisfies `BrokerPort`."""

import base64
import json
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import count
from typing import Any

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
    UnclearRefusal,
)
from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import Arranged, Candle, arrange_candles
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.market.instruments import Instrument, Resolution, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.domain.secrets import AccessToken, AuthCode, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import FreshLogin, next_daily_expiry
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.circuit import CircuitReport
from hullwatch.runtime.clock import Clock


class AccountState(Enum):
    """How Fyers treats every call of one account."""

    ACTIVE = "active"
    EXPIRED = "expired"  # every service refuses; /profile with -8
    REVOKED = "revoked"  # every service refuses; /profile with -17
    UNAVAILABLE = "unavailable"  # 502 pages
    HANGING = "hanging"  # no answer until the client's time limit of `FakeBroker.timeout_s`
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True)
class Call:
    """One call that reached the broker."""

    name: str  # the port's method
    service: BrokerService
    user_id: str | None
    fyers_id: str | None
    generation: int | None
    at: datetime
    symbols: tuple[Symbol, ...] = ()
    is_for_verification: bool = False
    start: datetime | None = None
    end: datetime | None = None
    priority: CallPriority = ORDINARY_CALL


@dataclass
class _Account:
    state: AccountState = AccountState.ACTIVE
    seen: set[str] = field(default_factory=set)
    refused: dict[str, AccountState] = field(default_factory=dict)
    queued: dict[BrokerService, deque[BrokerFailure]] = field(default_factory=lambda: defaultdict(deque))
    fixed: dict[BrokerService, BrokerFailure] = field(default_factory=dict)
    profile_id: str | None = None


_PATHS = {
    BrokerService.PROFILE: "/profile",
    BrokerService.TRADING: "/funds",
    BrokerService.HISTORY: "/history",
    BrokerService.DATA: "/quotes",
    BrokerService.LOGIN: "/validate-authcode",
    BrokerService.PUBLIC: "/sym_details",
}


class FakeBroker:
    """Fyers in memory: every account is active and nothing is served until a test changes that.

    Attributes:
        calls: the calls that reached the broker, oldest first.
        unsent: the calls that the credential forbade, as in the real client.
        before_answer: awaited after each call was recorded, so that a test can change something meanwhile.
    """

    quotes_per_call = 50

    def __init__(self, clock: Clock, *, timeout_s: float = 10.0, retry_after_s: float = 60.0) -> None:
        self.clock = clock
        self.timeout_s = timeout_s
        self.retry_after_s = retry_after_s
        self.calls: list[Call] = []
        self.unsent: list[Call] = []
        self.before_answer: Callable[[Call], Awaitable[None]] | None = None
        self.is_down = False
        self.refuses_everybody = False
        """Whether the login check of every service refuses all tokens."""
        self.circuit_reports: Sequence[CircuitReport] = ()
        self.offset: ClockOffset | None = None
        self.own_time: Callable[[], datetime] | None = None
        self.shows_time = True
        self.restored: list[CallPace] = []
        self.restored_at = 0
        self.is_clean_start: bool | None = None
        self.waiting_at_close: set[str] = set()
        self.quotes_by_symbol: dict[Symbol, Quote] = {}
        self.limits_by_symbol: dict[Symbol, CircuitLimits] = {}
        self.candles_by_key: dict[tuple[Symbol, Resolution], list[Candle]] = defaultdict(list)
        self.listed: list[Instrument] = []
        self.unknown_symbols: set[Symbol] = set()
        self.symbol_failures: dict[Symbol, BrokerFailure] = {}
        """Symbol → the answer to every call of the failure's service that names it."""
        self._accounts: dict[str, _Account] = defaultdict(_Account)
        self.takes_refresh_tokens = False
        self.renewed_lifetime: timedelta | None = None
        """The lifetime of renewed sessions; None means that of all others."""
        self.renews_refused_tokens = False
        """Whether every service refuses renewed tokens."""
        self.pins: dict[str, str] = defaultdict(lambda: "1234")
        self._refresh_tokens: dict[str, tuple[str, str]] = {}
        self._auth_codes: dict[str, str] = {}
        self._numbers = count(1)

    def set_state(self, fyers_id: str, state: AccountState) -> None:
        """Set the state of the account's tokens; expired and revoked ones stay refused after a new login."""
        account = self._accounts[fyers_id]
        if account.state in {AccountState.EXPIRED, AccountState.REVOKED}:
            account.refused.update(dict.fromkeys(account.seen, account.state))
        if state is AccountState.ACTIVE:
            account.refused.clear()
        account.state = state

    def queue(self, fyers_id: str, failure: BrokerFailure, *, times: int = 1) -> None:
        """Answer the account's next calls to the failure's service with it."""
        self._accounts[fyers_id].queued[failure.service].extend([failure] * times)

    def always(self, fyers_id: str, service: BrokerService, failure: BrokerFailure | None) -> None:
        """Answer all calls of the account to one service with a failure; `None` removes it."""
        fixed = self._accounts[fyers_id].fixed
        if failure is None:
            fixed.pop(service, None)
        else:
            fixed[service] = failure

    def answer_profile_as(self, fyers_id: str, other: str) -> None:
        """Let ``/profile`` return another Fyers id."""
        self._accounts[fyers_id].profile_id = other

    def issue_refresh_token(
        self, fyers_id: str, app_id: str = "HULLWATCH-100", *, days: int = 14
    ) -> RefreshToken:
        """Return a refresh token, a JWT that expires in about two weeks."""
        ends_at = next_daily_expiry(self.clock.now()) + timedelta(days=days)
        claims = {"sub": "refresh_token", "fy_id": fyers_id, "exp": int(ends_at.timestamp())}
        token = _jwt({**claims, "jti": next(self._numbers)})
        self._refresh_tokens[token] = (fyers_id, app_id)
        return RefreshToken(token)

    def issue_auth_code(self, fyers_id: str) -> AuthCode:
        """Return an auth code as from Fyers' login page; it is valid once."""
        code = f"auth-code-{next(self._numbers)}"
        self._auth_codes[code] = fyers_id
        return AuthCode(code)

    def issue_token(self, fyers_id: str, *, lifetime: timedelta | None = None) -> AccessToken:
        """Return a new token of the account, a JWT with its expiry and the Fyers id."""
        account = self._accounts[fyers_id]
        if account.state in {AccountState.EXPIRED, AccountState.REVOKED}:
            account.refused.update(dict.fromkeys(account.seen, account.state))
            account.state = AccountState.ACTIVE
        now = self.clock.now()
        ends_at = next_daily_expiry(now) if lifetime is None else now + lifetime
        claims = {
            "sub": "access_token",
            "fy_id": fyers_id,
            "iat": int(now.timestamp()),
            "exp": int(ends_at.timestamp()),
            "jti": next(self._numbers),
        }
        token = _jwt(claims)
        account.seen.add(token)
        return AccessToken(token)

    def credential(self, user_id: str, fyers_id: str, *, generation: int = 1) -> Credential:
        """Return a credential with a fresh token."""
        return Credential(
            user_id=user_id,
            generation=generation,
            app_id="HULLWATCH-100",
            fyers_id=fyers_id,
            token=self.issue_token(fyers_id),
            expires_at=next_daily_expiry(self.clock.now()),
        )

    def serve_quotes(self, quotes: Iterable[Quote]) -> None:
        """Serve these quotes to all accounts from now on."""
        self.quotes_by_symbol.update((quote.symbol, quote) for quote in quotes)

    def serve_candles(self, symbol: Symbol, resolution: Resolution, candles: Iterable[Candle]) -> None:
        """Add candles to the history."""
        self.candles_by_key[symbol, resolution].extend(candles)

    def calls_of(self, user_id: str) -> list[Call]:
        """Return the calls made with this user's credentials."""
        return [call for call in self.calls if call.user_id == user_id]

    def circuits(self) -> Sequence[CircuitReport]:
        """Return `circuit_reports`."""
        return self.circuit_reports

    def waits_at_close(self, credential: Credential) -> bool:
        """Whether a test has put the account into `waiting_at_close`."""
        return credential.fyers_id in self.waiting_at_close

    def keep_own_time(self, *, is_shown: bool = True) -> None:
        """Let Fyers' clock go on from now, whatever happens to this server's clock."""
        began_at, began_s = self.clock.now(), self.clock.monotonic()
        self.own_time = lambda: began_at + timedelta(seconds=self.clock.monotonic() - began_s)
        self.shows_time = is_shown

    def clock_offset(self) -> ClockOffset | None:
        """Return `offset`, or half a second around the offset of Fyers' own time."""
        if self.own_time is None or not self.shows_time:
            return self.offset
        ahead_s = (self.own_time() - self.clock.now()).total_seconds()
        return ClockOffset(ahead_s - 0.5, ahead_s + 0.5)

    def call_paces(self) -> list[CallPace]:
        """Return the calls of each account on the present day, after those that were restored."""
        now, today = self.clock.now(), ist_date(self.clock.now())
        counts = Counter(
            ("HULLWATCH-100", call.fyers_id)
            for call in self.calls[self.restored_at :]
            if call.fyers_id is not None and ist_date(call.at) == today
        )
        for pace in self.restored:
            if pace.day == today:
                counts[pace.app_id, pace.fyers_id] += pace.calls
        return [CallPace(*key, today, calls, 0, None, 0, now) for key, calls in counts.items()]

    def restore_call_paces(self, paces: Sequence[CallPace], *, is_clean: bool) -> None:
        """Go on from these."""
        self.restored, self.restored_at, self.is_clean_start = list(paces), len(self.calls), is_clean

    def history_span(self, resolution: Resolution) -> timedelta:
        """Return Fyers' limits: 100 days of minutes, 366 days of days."""
        return timedelta(days=100 if resolution.is_intraday else 366)

    def login_url(self, app: FyersApp, state: str) -> str:
        """Return an address that names app and state."""
        return f"https://fyers.invalid/login?client_id={app.app_id}&state={state}"

    async def exchange_auth_code(self, app: FyersApp, auth_code: AuthCode) -> BrokerResult[FreshLogin]:
        """Answer a code from `issue_auth_code` with tokens, once."""
        call = Call("exchange_auth_code", BrokerService.LOGIN, None, None, None, self.clock.now())
        await self._record(call)
        if self.is_down:
            return Unavailable(call.service, cause="http_502", http_status=502)
        fyers_id = self._auth_codes.pop(auth_code.reveal(), None)
        if fyers_id is None:
            return RequestRefused(call.service, code=-437, http_status=400, message="invalid auth code")
        return Answered(
            FreshLogin(self.issue_token(fyers_id), self.issue_refresh_token(fyers_id, app.app_id))
        )

    async def renew_access_token(
        self, app: FyersApp, refresh_token: RefreshToken, pin: Pin
    ) -> BrokerResult[AccessToken]:
        """Answer a refresh token and its owner's PIN with a new token, if `takes_refresh_tokens`."""
        fyers_id, app_id = self._refresh_tokens.get(refresh_token.reveal(), (None, None))
        call = Call("renew_access_token", BrokerService.LOGIN, None, fyers_id, None, self.clock.now())
        await self._record(call)
        if self.is_down:
            return Unavailable(call.service, cause="http_502", http_status=502)
        if not self.takes_refresh_tokens:
            return RequestRefused(
                call.service, code=-16, http_status=400, message="Refresh tokens are disabled"
            )
        if fyers_id is None or app_id != app.app_id:
            return RequestRefused(
                call.service, code=-501, http_status=400, message="not a valid refresh token"
            )
        if pin.reveal() != self.pins[fyers_id]:
            return RequestRefused(call.service, code=-1049, http_status=400, message="wrong PIN")
        token = self.issue_token(fyers_id, lifetime=self.renewed_lifetime)
        if self.renews_refused_tokens:
            self._accounts[fyers_id].refused[token.reveal()] = AccountState.REVOKED
        return Answered(token)

    async def profile_id(self, credential: Credential) -> BrokerResult[str]:
        """Return the Fyers id of the token."""
        failure = await self._call("profile_id", BrokerService.PROFILE, credential)
        own = self._accounts[credential.fyers_id].profile_id or credential.fyers_id
        return failure or Answered(own)

    async def check_trading(self, credential: Credential) -> BrokerResult[None]:
        """Check the token at the trading service."""
        return await self._call("check_trading", BrokerService.TRADING, credential) or Answered(None)

    async def check_data(self, credential: Credential) -> BrokerResult[None]:
        """Check the token at the data service."""
        return await self._call("check_data", BrokerService.DATA, credential) or Answered(None)

    async def quotes(
        self,
        credential: Credential,
        symbols: Sequence[Symbol],
        *,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[tuple[Quote, ...]]:
        """Return the served quotes among `symbols`."""
        assert 0 < len(symbols) <= self.quotes_per_call
        failure = await self._call(
            "quotes", BrokerService.DATA, credential, symbols=tuple(symbols), priority=priority
        )
        failure = failure or self._symbol_failure(BrokerService.DATA, symbols)
        known = (self.quotes_by_symbol.get(symbol) for symbol in dict.fromkeys(symbols))
        return failure or Answered(tuple(quote for quote in known if quote is not None))

    async def circuit_limits(
        self, credential: Credential, symbol: Symbol, *, priority: CallPriority = ORDINARY_CALL
    ) -> BrokerResult[CircuitLimits | None]:
        """Return the limits in `limits_by_symbol`."""
        failure = await self._call(
            "circuit_limits", BrokerService.DATA, credential, symbols=(symbol,), priority=priority
        )
        failure = failure or self._symbol_failure(BrokerService.DATA, [symbol])
        return failure or Answered(self.limits_by_symbol.get(symbol))

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
        """Return the served candles that open in [start, end]."""
        assert end - start <= self.history_span(resolution)
        failure = await self._call(
            "candles",
            BrokerService.HISTORY,
            credential,
            symbols=(symbol,),
            start=start,
            end=end,
            priority=priority,
        )
        failure = failure or self._symbol_failure(BrokerService.HISTORY, [symbol])
        if failure is not None:
            return failure
        if symbol in self.unknown_symbols:
            return RequestRefused(
                BrokerService.HISTORY, code=-300, http_status=422, message="Invalid symbol provided"
            )
        served = self.candles_by_key.get((symbol, resolution), [])
        end = end if self.own_time is None else min(end, self.own_time())
        return Answered(arrange_candles(candle for candle in served if start <= candle.opened_at <= end))

    async def check_symbol(
        self, credential: Credential, service: BrokerService, symbol: Symbol
    ) -> BrokerResult[None]:
        """Answer unless the account, the service or the symbol fails."""
        failure = await self._call("check_symbol", service, credential, symbols=(symbol,))
        return failure or self._symbol_failure(service, [symbol]) or Answered(None)

    async def sign_out(self, credential: Credential) -> BrokerResult[None]:
        """Revoke the token."""
        failure = await self._call("sign_out", BrokerService.TRADING, credential)
        if failure is None:
            self._accounts[credential.fyers_id].refused[credential.token.reveal()] = AccountState.REVOKED
        return failure or Answered(None)

    async def instruments(self) -> BrokerResult[tuple[Instrument, ...]]:
        """Return `listed`."""
        call = Call("instruments", BrokerService.PUBLIC, None, None, None, self.clock.now())
        await self._record(call)
        if self.is_down:
            return Unavailable(call.service, cause="http_502", http_status=502)
        return Answered(tuple(self.listed))

    async def _call(
        self, name: str, service: BrokerService, credential: Credential, **details: Any
    ) -> BrokerFailure | None:
        call = Call(
            name,
            service,
            credential.user_id,
            credential.fyers_id,
            credential.generation,
            self.clock.now(),
            is_for_verification=credential.is_for_verification,
            **details,
        )
        if not credential.may_call(self.clock.now()):
            self.unsent.append(call)
            return SessionDisconnected(service)
        self._accounts[credential.fyers_id].seen.add(credential.token.reveal())
        await self._record(call)
        return await self._failure(service, credential)

    def _symbol_failure(self, service: BrokerService, symbols: Iterable[Symbol]) -> BrokerFailure | None:
        failures = (self.symbol_failures.get(symbol) for symbol in symbols)
        return next((one for one in failures if one is not None and one.service is service), None)

    async def _record(self, call: Call) -> None:
        self.calls.append(call)
        if self.before_answer is not None:
            await self.before_answer(call)

    async def _failure(self, service: BrokerService, credential: Credential) -> BrokerFailure | None:
        account = self._accounts[credential.fyers_id]
        if self.is_down:
            return Unavailable(service, cause="http_502", http_status=502)
        if self.refuses_everybody:
            return refusal(service)
        if account.queued[service]:
            return account.queued[service].popleft()
        if service in account.fixed:
            return account.fixed[service]
        state = account.refused.get(credential.token.reveal(), account.state)
        if state is AccountState.HANGING:
            await self.clock.sleep(self.timeout_s)
        return self._as_failure(state, service)

    def _as_failure(self, state: AccountState, service: BrokerService) -> BrokerFailure | None:
        return {
            AccountState.ACTIVE: None,
            AccountState.EXPIRED: refusal(service, is_expired=True),
            AccountState.REVOKED: refusal(service),
            AccountState.UNAVAILABLE: Unavailable(service, cause="http_502", http_status=502),
            AccountState.HANGING: Unavailable(service, cause="timeout"),
            AccountState.RATE_LIMITED: RateLimited(service, retry_after_s=self.retry_after_s),
        }[state]


def refusal(service: BrokerService, *, is_expired: bool = False) -> LoginRefused:
    """Return a service's refusal of a token; only ``/profile`` has a separate code for an expired one."""
    code = {
        BrokerService.PROFILE: -8 if is_expired else -17,
        BrokerService.TRADING: -16,
        BrokerService.HISTORY: -16,
        BrokerService.DATA: -15,
    }[service]
    return LoginRefused(service, code=code, http_status=401, path=_PATHS[service])


def unclear_refusal(service: BrokerService, http_status: int = 200) -> UnclearRefusal:
    """Return a service's refusal of a token without HTTP 401."""
    clear = refusal(service)
    return UnclearRefusal(service, "refused_without_401", http_status, code=clear.code, path=clear.path)


def _jwt(claims: dict[str, Any]) -> str:
    return ".".join((_encoded({"alg": "HS256", "typ": "JWT"}), _encoded(claims), "c2lnbmF0dXJl"))


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
