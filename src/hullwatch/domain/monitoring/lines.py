"""What each watch of a watchlist lacks, and which of its symbols are monitored."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle, outcome_obstacle
from hullwatch.domain.monitoring.watches import WatchStatus

UNMONITORED: Final = frozenset(
    {
        Obstacle.SYMBOL_REFUSED,
        Obstacle.SYMBOL_NOT_PERMITTED,
        Obstacle.SYMBOL_UNAVAILABLE,
        Obstacle.NO_HISTORY,
        Obstacle.PRICE_JUMP,
    }
)
"""Obstacles that keep one symbol from being monitored while the account is watched."""


WITH_AVERAGE: Final = frozenset({Obstacle.CANDLES_MISSING, Obstacle.OFF_GRID})
"""Obstacles that are shown beside a watch, and keep nothing from being monitored."""


@dataclass(frozen=True, slots=True)
class Line:
    """One watch of a watchlist, and what it still lacks."""

    symbol: Symbol
    obstacle: Obstacle | None = None
    since: datetime | None = None
    """Up to when the candles of the symbol were read, if the obstacle is one of `UNMONITORED`."""
    newest_close: datetime | None = None
    """Close of the newest candle that was read; `None` before the first."""
    missing_closes: tuple[datetime, ...] = ()
    """Closes of the day's candles that Fyers' history lacks although the symbol traded."""

    @property
    def is_unmonitored(self) -> bool:
        """Whether the symbol is not monitored although the account is."""
        return self.obstacle in UNMONITORED


def line_state(
    *,
    has_average: bool,
    is_current: bool,
    outcome: Outcome | None,
    scope: FailureScope | None = None,
    lacks_history: bool = False,
    has_jump: bool = False,
    is_off_grid: bool = False,
    lacks_candles: bool = False,
) -> Obstacle | None:
    """Return what a watch still lacks; `None` when its average has a value and its history reaches to the last close.

    Args:
        has_average: Whether the average has a value.
        is_current: Whether Fyers answered for the history up to the last close.
        outcome: The outcome of the last fetch; `None` before the first.
        scope: What a failed fetch concerned.
        lacks_history: Whether Fyers answers without candles although the symbol trades.
        has_jump: Whether the average starts anew after an unexplained jump of the price.
        is_off_grid: Whether its candles do not begin at the steps of the calendar.
        lacks_candles: Whether history skips slots of the day in which the symbol traded.
    """
    if lacks_history:
        return Obstacle.NO_HISTORY
    if has_jump and is_current:
        return Obstacle.PRICE_JUMP
    if has_average and is_current:
        grid = Obstacle.OFF_GRID if is_off_grid else None
        return Obstacle.CANDLES_MISSING if lacks_candles else grid
    if outcome is None or outcome is Outcome.DISCONNECTED:
        return Obstacle.WARMING
    if outcome in (Outcome.OK, Outcome.NO_DATA):
        return Obstacle.TOO_YOUNG if is_current else Obstacle.WARMING
    return outcome_obstacle(outcome, scope)


def may_last(lines: Iterable[Line], symbol: Symbol | None, obstacle: Obstacle, since: datetime) -> bool:
    """Whether nothing shows yet that an outage of a symbol has ended, although no line has its obstacle.

    After a restart or a change of the watchlist, history is still to be read, and what quotes showed is unknown:
    that candles come again is shown by one that closed after the outage began.
    """
    own = [line for line in lines if line.symbol == symbol]
    if any(line.obstacle is Obstacle.WARMING for line in own):
        return True
    lacked_candles = obstacle is Obstacle.NO_HISTORY
    return lacked_candles and any(line.newest_close is None or line.newest_close <= since for line in own)


@dataclass(frozen=True, slots=True)
class Monitored:
    """How many of an account's symbols are monitored, and which are not."""

    total: int
    missing: tuple[Line, ...] = ()
    """One line for each symbol that is not monitored, in the order of the watchlist."""

    @property
    def count(self) -> int:
        """Symbols that are monitored."""
        return self.total - len(self.missing)

    @property
    def is_partial(self) -> bool:
        """Whether some symbol is not monitored."""
        return bool(self.missing)


def monitored(lines: Iterable[Line]) -> Monitored:
    """Count symbols; a symbol with several watches is monitored if each of them is."""
    symbols: set[Symbol] = set()
    missing: dict[Symbol, Line] = {}
    for line in lines:
        symbols.add(line.symbol)
        if line.is_unmonitored:
            missing.setdefault(line.symbol, line)
    return Monitored(len(symbols), tuple(missing.values()))


class LineStatus(StrEnum):
    """What monitoring does for one watch: that of its account, unless the watch itself lacks something."""

    WATCHING = WatchStatus.WATCHING.value
    STARTING = Obstacle.STARTING.value
    MARKET_CLOSED = Obstacle.MARKET_CLOSED.value
    NOT_WANTED = Obstacle.NOT_WANTED.value
    NO_SESSION = Obstacle.NO_SESSION.value
    NOT_PERMITTED = Obstacle.NOT_PERMITTED.value
    CHECKING_LOGIN = Obstacle.CHECKING_LOGIN.value
    SESSION_HELD = Obstacle.SESSION_HELD.value
    FYERS_UNAVAILABLE = Obstacle.FYERS_UNAVAILABLE.value
    RATE_LIMITED = Obstacle.RATE_LIMITED.value
    WARMING = Obstacle.WARMING.value
    TOO_YOUNG = Obstacle.TOO_YOUNG.value
    SYMBOL_REFUSED = Obstacle.SYMBOL_REFUSED.value
    SYMBOL_NOT_PERMITTED = Obstacle.SYMBOL_NOT_PERMITTED.value
    SYMBOL_UNAVAILABLE = Obstacle.SYMBOL_UNAVAILABLE.value
    NO_HISTORY = Obstacle.NO_HISTORY.value
    PRICE_JUMP = Obstacle.PRICE_JUMP.value
    CANDLES_MISSING = Obstacle.CANDLES_MISSING.value
    OFF_GRID = Obstacle.OFF_GRID.value

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps the watch from being watched; `None` while it is watched."""
        return None if self is LineStatus.WATCHING else Obstacle(self.value)


_SHOWN_FIRST: Final = frozenset({WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED})


def line_status(line: Line, account: WatchStatus) -> LineStatus:
    """Return the status of one watch of an account with this status."""
    if account is WatchStatus.NO_WATCHES:  # the watch was added after the last cycle
        return LineStatus.STARTING
    if line.obstacle is not None and (line.is_unmonitored or account is WatchStatus.WATCHING):
        return LineStatus(line.obstacle.value) if account in _SHOWN_FIRST else LineStatus(account.value)
    return LineStatus(account.value)
