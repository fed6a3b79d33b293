"""The simulated broker as one value, and one call to it."""

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

import orjson

from hullwatch.simulator.accounts import Accounts, Session
from hullwatch.simulator.answers import Answer, Refusal
from hullwatch.simulator.calls import CallCounter
from hullwatch.simulator.clock import SimulatedClock
from hullwatch.simulator.config import SimulatorConfig, UnusableConfig
from hullwatch.simulator.faults import FaultBoard
from hullwatch.simulator.limits import RateLimits
from hullwatch.simulator.market.candle_changes import CandleChanges
from hullwatch.simulator.market.candles import CandleSource
from hullwatch.simulator.market.changed_source import ChangedSource
from hullwatch.simulator.market.csv_candles import CsvMarket
from hullwatch.simulator.market.prices import Market
from hullwatch.simulator.market.synthetic import SyntheticMarket
from hullwatch.simulator.tokens import TokenPress, claims_in, fyers_id_in


class Family(Enum):
    """Fyers' services; each has its own refusal of a token and of too many calls."""

    OPEN = auto()
    """Needs no access token and is not limited: the code exchange, symbol masters."""
    PROFILE = auto()
    LOGOUT = auto()
    TRADING = auto()
    HISTORY = auto()
    """Is under `/data`, but refuses tokens like the trading service."""
    DATA = auto()
    SYMBOL_TOKEN = auto()
    """Like data; also accepts the access token without the app id, as the official Python SDK sends it."""


class TokenProblem(Enum):
    """Why a token is not accepted."""

    EXPIRED = auto()
    REFUSED = auto()
    WRONG_APP = auto()
    NO_APP_ID = auto()


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller, read from the Authorization header."""

    app_id: str = ""
    fyers_id: str = ""
    session: Session | None = None
    problem: TokenProblem | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the broker, at the simulated moment `now` and with a clock wrong by `skew_s`."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    caller: Caller
    now: float
    skew_s: float = 0.0

    def json(self) -> Any:
        """Return the parsed body, `None` if it is no JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(slots=True)
class Broker:
    """The state of the simulator: clock, market, accounts, faults and counters."""

    clock: SimulatedClock
    market: Market
    accounts: Accounts
    faults: FaultBoard
    changes: CandleChanges
    source: ChangedSource
    config: SimulatorConfig
    default_start: Callable[[], datetime]
    limits: RateLimits = field(default_factory=RateLimits)
    calls: CallCounter = field(default_factory=CallCounter)
    masters: dict[tuple[str, str], tuple[int, Answer]] = field(default_factory=dict)
    """The symbol masters made last, by market and form, with the day they are of."""
    notes: tuple[str, ...] = ()
    """What a user may want to know about the candle files."""

    @classmethod
    def open(cls, config: SimulatorConfig, monotonic: Callable[[], float] = time.monotonic) -> "Broker":
        """Set up a broker; reads the candle files, if any.

        Raises:
            UnusableConfig: The candles, the start or the speed cannot be used.
        """
        source: CandleSource
        notes: tuple[str, ...] = ()
        if config.candles is None:
            source, default_start = SyntheticMarket(config.seed), _present
        else:
            source = csv_market = CsvMarket(config.candles, config.timezone, allow_gaps=config.allow_gaps)
            notes = csv_market.notes
            first = datetime.fromtimestamp(csv_market.default_start(), UTC)

            def default_start() -> datetime:
                return first

        starts_at = config.starts_at or default_start() - timedelta(seconds=config.lead_s)
        if starts_at.tzinfo is None:
            raise UnusableConfig("the start needs an offset from UTC, as 2026-06-17T09:15:00+05:30")
        try:
            clock = SimulatedClock(starts_at, config.speed, monotonic)
        except ValueError as error:
            raise UnusableConfig(str(error)) from error
        changes = CandleChanges()
        changed = ChangedSource(source, changes)
        accounts, faults = Accounts(TokenPress()), FaultBoard(config.seed)
        return cls(
            clock,
            Market(changed, changes),
            accounts,
            faults,
            changes,
            changed,
            config,
            default_start,
            notes=notes,
        )

    def reset(self, now: datetime | None = None, speed: float | None = None) -> None:
        """Put everything back to the state at the start; the clock may begin at another moment and speed.

        Raises:
            ValueError: The speed cannot be used.
        """
        config = self.config
        start = config.starts_at or self.default_start() - timedelta(seconds=config.lead_s)
        self.clock.restart(now or start, config.speed if speed is None else speed)
        self.accounts.end_sessions()  # connections of the data stream hold them
        self.accounts, self.limits, self.calls = Accounts(TokenPress()), RateLimits(), CallCounter()
        self.faults.clear()
        self.faults = FaultBoard(config.seed)
        self.changes.clear()
        self.masters.clear()
        self.market.forget()

    def identify(self, authorization: str, family: Family, now: float) -> Caller:
        """Return the caller of an Authorization header and whether its token is accepted."""
        app_id, colon, token = authorization.partition(":")
        if not colon and family is Family.SYMBOL_TOKEN:
            token = authorization
        session = self.accounts.session_of(token)
        if session is None:
            claims = claims_in(token)
            ends_at = claims.get("exp")
            has_expired_already = isinstance(ends_at, (int, float)) and ends_at <= now
            problem = TokenProblem.EXPIRED if has_expired_already else TokenProblem.REFUSED
            caller = Caller(app_id if colon else "", fyers_id_in(claims), None, problem)
        else:
            app_id = app_id if colon else session.app_id
            caller = Caller(app_id, session.fyers_id, session, _problem_of(session, family, now))
        if not colon and family is not Family.SYMBOL_TOKEN:
            return Caller("", caller.fyers_id, session, TokenProblem.NO_APP_ID)
        if colon and (app_id not in self.accounts.apps or (session and session.app_id != app_id)):
            return Caller(app_id, caller.fyers_id, session, TokenProblem.WRONG_APP)
        return caller


def _present() -> datetime:
    return datetime.now(UTC)


def _problem_of(session: Session, family: Family, now: float) -> TokenProblem | None:
    if session.has_expired(now):
        return TokenProblem.EXPIRED
    if session.is_revoked and not (family is Family.PROFILE and session.profile_still_answers):
        return TokenProblem.REFUSED
    return None


_PROFILE_REFUSALS = {
    TokenProblem.EXPIRED: Refusal.PROFILE_EXPIRED,
    TokenProblem.REFUSED: Refusal.PROFILE_REFUSED,
    TokenProblem.WRONG_APP: Refusal.PROFILE_APP_ID,
    TokenProblem.NO_APP_ID: Refusal.PROFILE_NO_APP_ID,
}
_REFUSALS = {
    Family.LOGOUT: Refusal.LOGOUT_REFUSED,
    Family.TRADING: Refusal.TRADING_REFUSED,
    Family.HISTORY: Refusal.TRADING_REFUSED,
    Family.DATA: Refusal.DATA_REFUSED,
    Family.SYMBOL_TOKEN: Refusal.DATA_REFUSED,
}
_LIMIT_REFUSALS = {
    Family.PROFILE: Refusal.PROFILE_LIMIT,
    Family.LOGOUT: Refusal.TRADING_LIMIT,
    Family.TRADING: Refusal.TRADING_LIMIT,
    Family.OPEN: Refusal.TRADING_LIMIT,
    Family.HISTORY: Refusal.DATA_LIMIT,
    Family.DATA: Refusal.DATA_LIMIT,
    Family.SYMBOL_TOKEN: Refusal.DATA_LIMIT,
}


def refuse_token(family: Family, problem: TokenProblem) -> Answer:
    """Return this service's refusal of a token."""
    if family is Family.PROFILE:
        return _PROFILE_REFUSALS[problem].answer
    return _REFUSALS[family].answer


def refuse_for_limit(family: Family) -> Answer:
    """Return this service's refusal of too many calls."""
    return _LIMIT_REFUSALS[family].answer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the broker with its service and its handler."""

    family: Family
    handle: Callable[[Broker, Call], Awaitable[Answer]]


def always(answer: Answer) -> Callable[[Broker, Call], Awaitable[Answer]]:
    """Return a handler that answers every call alike."""

    async def handle(_broker: Broker, _call: Call) -> Answer:
        return answer

    return handle


def random_for(*parts: object) -> random.Random:
    """Return a random source that repeats for the same parts."""
    return random.Random("|".join(map(str, parts)))  # noqa: S311  a market, not a secret
