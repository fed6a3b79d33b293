"""An account's monitoring state, the rows of its watchlist, and the health of all cycles."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.health import MonitoringHealth
from hullwatch.domain.monitoring.lines import (
    Line,
    LineStatus,
    Monitored,
    line_status,
    monitored,
)
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.signals.signals import Signal
from hullwatch.services.monitoring.account_state import AccountState
from hullwatch.services.monitoring.cycle import Watcher
from hullwatch.services.texts.obstacles import (
    describe_line,
    describe_missing_candles,
    describe_obstacle,
    describe_partial,
    describe_status,
)


@dataclass(frozen=True, slots=True)
class MonitoringState:
    """Whether monitoring is wanted and running, and why not."""

    is_wanted: bool
    is_running: bool
    """Whether cycles complete; outside trading hours, whether they would."""
    status: WatchStatus
    reason_text: str
    since: datetime | None
    last_cycle_at: datetime | None
    cycles: int
    missed_cycles: int
    watch_count: int
    refused_symbols: tuple[Symbol, ...]
    monitored: Monitored
    """Which symbols are monitored while the account is watched."""


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """A watch with the newest values known of it, `None` where there are none."""

    watch: Watch
    quote: Quote | None
    quoted_at: datetime | None
    hma: float | None
    """After the newest closed candle, INR."""
    preview: float | None
    """The average if the forming candle closed at the last price."""
    last_signal: Signal | None


def status_of(account: AccountState, connection: Connection, *, is_wanted: bool) -> WatchStatus:
    """Return the status of an account with this connection."""
    if is_wanted and account.watcher.watches and not connection.has_session:
        return WatchStatus.NO_SESSION  # the next cycle will set it too
    return account.status


@dataclass(frozen=True, slots=True)
class LineState:
    """What monitoring does for one watch, and why it does not."""

    status: LineStatus
    reason: str | None
    """`None` while it is watched."""


def line_states(watcher: Watcher, account: WatchStatus, *, today: date) -> dict[str, LineState]:
    """Return watch id → state, for an account with this status."""
    return {
        watch_id: LineState(status := line_status(line, account), _reason(line, status, today))
        for watch_id, line in zip(watcher.watches, watcher.lines(), strict=True)
    }


def _reason(line: Line, status: LineStatus, today: date) -> str | None:
    if status.obstacle is None:
        return None
    if line.obstacle is status.obstacle and line.is_unmonitored:
        return describe_line(line, today=today)
    if status.obstacle is Obstacle.CANDLES_MISSING:
        return describe_missing_candles(line, today=today)
    return describe_obstacle(status.obstacle, symbols=line.symbol.text)


def state_of(
    account: AccountState, connection: Connection, *, is_wanted: bool, today: date
) -> MonitoringState:
    """Return the monitoring state of an account with this connection."""
    status = status_of(account, connection, is_wanted=is_wanted)
    found = monitored(account.watcher.lines())
    is_partial = status is WatchStatus.WATCHING and found.is_partial
    return MonitoringState(
        is_wanted=is_wanted,
        is_running=status.is_good and not (is_partial and not found.count),
        status=status,
        reason_text=describe_partial(found, today=today) if is_partial else describe_status(status),
        since=account.status_since,
        last_cycle_at=account.last_cycle_at,
        cycles=account.cycles,
        missed_cycles=account.missed_cycles,
        watch_count=len(account.watcher.watches),
        refused_symbols=tuple(sorted(account.watcher.refused)),
        monitored=found,
    )


def has_current_quotes(account: AccountState) -> bool:
    """Whether cycles bring quotes of every watch at present."""
    quoted = {quote.symbol for quote in account.watcher.quotes}
    is_complete = all(
        watch.symbol in quoted or watch.symbol in account.watcher.refused
        for watch in account.watcher.watches.values()
    )
    return account.status is WatchStatus.WATCHING and is_complete


def overview_rows(
    watcher: Watcher, watches: Iterable[Watch], last_signals: Mapping[str, Signal]
) -> list[OverviewRow]:
    """Return a row for each watch; `last_signals` by watch id."""
    quotes = {quote.symbol: quote for quote in watcher.quotes}
    previews = watcher.previews()
    return [
        OverviewRow(
            watch=watch,
            quote=quotes.get(watch.symbol),
            quoted_at=watcher.quoted_at if watch.symbol in quotes else None,
            hma=series.hma if (series := watcher.series(watch.id)) is not None else None,
            preview=previews.get(watch.id),
            last_signal=last_signals.get(watch.id),
        )
        for watch in watches
    ]


def monitoring_health(
    accounts: Sequence[AccountState],
    connection_of: Callable[[str], Connection],
    *,
    now: datetime,
    session: TradingSession | None,
    max_cycle: timedelta,
    stalled_for: timedelta,
) -> MonitoringHealth:
    """Count the accounts whose cycles complete, and those whose cycles do not.

    Args:
        accounts: Those that want monitoring and have a watchlist.
        connection_of: Returns a user's connection.
        now: The present.
        session: The cash market's session under way.
        max_cycle: Longest time from the end of a cycle to the end of the next.
        stalled_for: Time since the scheduler's loop last ran.
    """
    monitored = [account for account in accounts if account.status is WatchStatus.WATCHING]
    # A cycle in the future shows that the clock was set back, not that it was in time.
    in_time = [
        account
        for account in monitored
        if account.last_cycle_at is not None and timedelta() <= now - account.last_cycle_at <= max_cycle
    ]
    return MonitoringHealth(
        stalled_for=stalled_for,
        is_trading=session is not None and now - session.opens_at > max_cycle,
        wanted=len(accounts),
        expected=sum(_is_expected(connection_of(one.watcher.user_id), session) for one in accounts),
        # Results left over after a cycle mean that the database took nothing; during a cycle they mean nothing yet.
        completed=sum(one.is_running or not one.watcher.has_unsaved for one in in_time),
        overdue=len(monitored) - len(in_time),
    )


def _is_expected(connection: Connection, session: TradingSession | None) -> bool:
    """Whether the account has a session, or lost it since the market open."""
    if connection.has_session or session is None:
        return connection.has_session
    return connection.last_disconnect_at is not None and connection.last_disconnect_at >= session.opens_at
