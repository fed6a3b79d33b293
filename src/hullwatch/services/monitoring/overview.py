"""What a user sees of the watching, from what is in memory: its state, and each line of the watchlist with what was last known of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.signals.signals import Signal
from hullwatch.services.monitoring.cycle import Watcher
from hullwatch.services.monitoring.run import Run
from hullwatch.services.texts.notices import describe_status


@dataclass(frozen=True, slots=True)
class MonitoringState:
    """What a user wants and what is happening."""

    is_wanted: bool
    is_running: bool
    """Whether cycles complete at present; outside trading hours, whether they would."""
    status: WatchStatus
    reason_text: str
    since: datetime | None
    last_cycle_at: datetime | None
    cycles: int
    missed_cycles: int
    watch_count: int
    refused_symbols: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """A line of the watchlist with what was last known of it; missing is `None`."""

    watch: Watch
    quote: Quote | None
    quoted_at: datetime | None
    hma: float | None
    """After the newest closed candle, INR."""
    preview: float | None
    """What it would be if the forming candle closed at the last price."""
    last_signal: Signal | None


def state_of(run: Run, connection: Connection, *, is_wanted: bool) -> MonitoringState:
    """Return what the user wants and what is happening."""
    status = run.status
    if is_wanted and run.watcher.watches and not connection.has_session:
        status = WatchStatus.NO_SESSION  # where it ended a moment ago, the next cycle will say so too
    return MonitoringState(
        is_wanted=is_wanted,
        is_running=status in (WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED),
        status=status,
        reason_text=describe_status(status),
        since=run.since,
        last_cycle_at=run.last_cycle_at,
        cycles=run.cycles,
        missed_cycles=run.missed,
        watch_count=len(run.watcher.watches),
        refused_symbols=tuple(run.watcher.refused),
    )


def is_fed(run: Run) -> bool:
    """Whether cycles bring quotes of every line at present."""
    quoted = {quote.symbol for quote in run.watcher.quotes}
    is_complete = all(
        watch.symbol in quoted or watch.symbol in run.watcher.refused
        for watch in run.watcher.watches.values()
    )
    return run.status is WatchStatus.WATCHING and is_complete


def overview_rows(
    watcher: Watcher, watches: Iterable[Watch], last_signals: Mapping[str, Signal]
) -> list[OverviewRow]:
    """Return what was last known of each of these lines; `last_signals` by watch id."""
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
