"""The watchlist, whether it is watched and why not, and what it brought; what was missed is in ``coverage``."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.services.monitoring.overview import MonitoringState, OverviewRow
from hullwatch.web.api.market import QuotePayload
from hullwatch.web.dependencies import ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import ConnectionPayload, Id, Limit, Moment, Payload

router = APIRouter(prefix="/api/monitoring", tags=["monitoring"])

Period = Annotated[int, Field(ge=MIN_PERIOD, le=MAX_PERIOD)]
ResolutionCode = Annotated[str, Field(max_length=8)] | int
"""Fyers' code, such as ``"5"`` or ``"1D"``; minutes may come as a number."""


class WatchBody(Payload):
    """A line to be added to the watchlist."""

    symbol: str = Field(max_length=100)
    resolution: ResolutionCode
    period: Period
    rule: Rule


class WatchChange(Payload):
    """What to change of a line; what is left out stays."""

    resolution: ResolutionCode | None = None
    period: Period | None = None
    rule: Rule | None = None


class WatchPayload(Payload):
    """A line of the watchlist."""

    id: str
    symbol: str
    resolution: str
    period: int
    rule: Rule
    created_at: datetime
    evaluated_through: datetime = Field(description="Candles that closed up to then have been judged.")

    @classmethod
    def of(cls, watch: Watch) -> "WatchPayload":
        """Return the payload of a watch."""
        return cls(
            id=watch.id,
            symbol=watch.symbol.text,
            resolution=watch.resolution.code,
            period=watch.period,
            rule=watch.rule,
            created_at=watch.created_at,
            evaluated_through=watch.evaluated_through,
        )


class WatchesPayload(Payload):
    """The watchlist, oldest line first."""

    watches: list[WatchPayload]


class StatePayload(Payload):
    """Whether monitoring is wanted and running, and why not."""

    is_wanted: bool
    is_running: bool
    status: WatchStatus
    reason: str
    since: datetime | None
    last_cycle_at: datetime | None
    cycles: int = Field(description="Cycles since the server started.")
    missed_cycles: int = Field(description="Cycles that fell out because the one before had not ended.")
    watch_count: int
    refused_symbols: list[str] = Field(description="Symbols that Fyers does not serve at present.")

    @classmethod
    def of(cls, state: MonitoringState) -> "StatePayload":
        """Return the payload of a state."""
        return cls(
            is_wanted=state.is_wanted,
            is_running=state.is_running,
            status=state.status,
            reason=state.reason_text,
            since=state.since,
            last_cycle_at=state.last_cycle_at,
            cycles=state.cycles,
            missed_cycles=state.missed_cycles,
            watch_count=state.watch_count,
            refused_symbols=[symbol.text for symbol in state.refused_symbols],
        )


class SignalPayload(Payload):
    """A dated fact about one instrument and resolution; prices in INR."""

    watch_id: str
    symbol: str
    resolution: str
    period: int
    rule: Rule
    direction: Direction
    candle_opened_at: datetime
    candle_closed_at: datetime
    close: float
    hma: float
    detected_at: datetime
    is_late: bool = Field(description="Found when catching up, not as it happened.")

    @classmethod
    def of(cls, signal: Signal) -> "SignalPayload":
        """Return the payload of a signal."""
        return cls(
            watch_id=signal.watch_id,
            symbol=signal.symbol.text,
            resolution=signal.resolution.code,
            period=signal.period,
            rule=signal.rule,
            direction=signal.direction,
            candle_opened_at=signal.candle_opened_at,
            candle_closed_at=signal.candle_closed_at,
            close=signal.close,
            hma=signal.hma,
            detected_at=signal.detected_at,
            is_late=signal.is_late,
        )


class SignalsPayload(Payload):
    """Signals, newest candle first."""

    signals: list[SignalPayload]


class WatchOverviewPayload(Payload):
    """A line of the watchlist with what was last known of it."""

    watch: WatchPayload
    quote: QuotePayload | None
    quoted_at: datetime | None = Field(description="When Fyers gave the quote; null without one.")
    hma: float | None = Field(description="After the newest closed candle, INR; null while warming up.")
    preview: float | None = Field(
        description="What it would be if the forming candle closed at the last price; no source of signals."
    )
    last_signal: SignalPayload | None

    @classmethod
    def of(cls, row: OverviewRow) -> "WatchOverviewPayload":
        """Return the payload of a line."""
        return cls(
            watch=WatchPayload.of(row.watch),
            quote=row.quote and QuotePayload.of(row.quote),
            quoted_at=row.quoted_at,
            hma=row.hma,
            preview=row.preview,
            last_signal=row.last_signal and SignalPayload.of(row.last_signal),
        )


class OverviewPayload(Payload):
    """The watchlist at one glance; numbers may be old, and say how old."""

    lines: list[WatchOverviewPayload]
    state: StatePayload
    connection: ConnectionPayload
    is_broker_outage: bool = Field(
        description="Fyers refuses many sessions at once: its trouble, nobody's login."
    )
    at: datetime


@router.get("/overview")
async def overview(user: SignedIn, services: ServicesNeeded) -> OverviewPayload:
    """Return each line of the watchlist with what was last known of it, oldest line first."""
    lines = await services.monitoring.overview(user.id)
    return OverviewPayload(
        lines=[WatchOverviewPayload.of(line) for line in lines],
        state=StatePayload.of(services.monitoring.state(user.id)),
        connection=ConnectionPayload.of(services.connections.connection(user.id)),
        is_broker_outage=services.connections.broker_outage is not None,
        at=services.context.clock.now(),
    )


@router.get("/watches")
async def watches(user: SignedIn, services: ServicesNeeded) -> WatchesPayload:
    """Return the watchlist."""
    return WatchesPayload(
        watches=[WatchPayload.of(watch) for watch in await services.monitoring.watches(user.id)]
    )


@router.post("/watches", status_code=201, responses=problems(409))
async def add_watch(body: WatchBody, user: SignedIn, services: ServicesNeeded) -> WatchPayload:
    """Add a line to the watchlist."""
    watch = await services.monitoring.add_watch(
        user.id,
        symbol=Symbol.parse(body.symbol),
        resolution=Resolution.parse(str(body.resolution)),
        period=body.period,
        rule=body.rule,
    )
    return WatchPayload.of(watch)


@router.patch("/watches/{watch_id}", responses=problems(409))
async def change_watch(
    watch_id: Id, body: WatchChange, user: SignedIn, services: ServicesNeeded
) -> WatchPayload:
    """Change a line; it begins anew."""
    watch = await services.monitoring.change_watch(
        user.id,
        watch_id,
        resolution=None if body.resolution is None else Resolution.parse(str(body.resolution)),
        period=body.period,
        rule=body.rule,
    )
    return WatchPayload.of(watch)


@router.delete("/watches/{watch_id}", status_code=204)
async def remove_watch(watch_id: Id, user: SignedIn, services: ServicesNeeded) -> None:
    """Remove a line; its signals stay."""
    await services.monitoring.remove_watch(user.id, watch_id)


@router.post("/start")
async def start(user: SignedIn, services: ServicesNeeded) -> StatePayload:
    """Want monitoring: it goes on until stopped, whatever happens to sessions or the server."""
    await services.monitoring.start(user.id)
    return StatePayload.of(services.monitoring.state(user.id))


@router.post("/stop")
async def stop(user: SignedIn, services: ServicesNeeded) -> StatePayload:
    """Want no monitoring."""
    await services.monitoring.stop(user.id)
    return StatePayload.of(services.monitoring.state(user.id))


@router.get("/state")
async def state(user: SignedIn, services: ServicesNeeded) -> StatePayload:
    """Return whether monitoring is wanted and running, and why not."""
    return StatePayload.of(services.monitoring.state(user.id))


@router.get("/signals")
async def signals(
    *,
    user: SignedIn,
    services: ServicesNeeded,
    symbol: Annotated[str | None, Query(max_length=100)] = None,
    since: Moment | None = None,
    before: Moment | None = None,
    limit: Limit = 100,
) -> SignalsPayload:
    """Return signals, newest candle first; page on with `before`."""
    found = await services.monitoring.signals(
        user.id,
        symbol=None if symbol is None else Symbol.parse(symbol),
        since=since,
        before=before,
        limit=limit,
    )
    return SignalsPayload(signals=[SignalPayload.of(signal) for signal in found])
