"""Routes about the watchlist, whether it is monitored, and its signals."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.lines import LineStatus
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule
from hullwatch.services.monitoring.overview import LineState, MonitoringState
from hullwatch.services.services import Services
from hullwatch.services.texts.corrections import WITHDRAWAL_REASONS
from hullwatch.services.texts.obstacles import describe_line
from hullwatch.web.api.market import QuotePayload
from hullwatch.web.dependencies import CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import (
    ConnectionPayload,
    Id,
    Limit,
    Moment,
    Payload,
    ResolutionText,
    SymbolText,
)

router = APIRouter(prefix="/api/monitoring", tags=["monitoring"])

Period = Annotated[int, Field(ge=MIN_PERIOD, le=MAX_PERIOD)]
ResolutionCode = Annotated[str, Field(max_length=8)] | int
"""A resolution in a request: Fyers' code, such as ``"5"`` or ``"1D"``, or minutes as a number."""


class WatchBody(Payload):
    """A watch to add to the watchlist."""

    symbol: str = Field(max_length=100)
    resolution: ResolutionCode
    period: Period
    rule: Rule


class WatchChange(Payload):
    """The changes of a watch; fields that are left out stay as they are."""

    resolution: ResolutionCode | None = None
    period: Period | None = None
    rule: Rule | None = None


class WatchPayload(Payload):
    """A watch: one line of the watchlist."""

    id: str
    symbol: SymbolText
    resolution: ResolutionText
    period: int
    rule: Rule
    created_at: datetime
    evaluated_through: datetime = Field(
        description="All candles that closed up to this time were checked for signals."
    )
    status: LineStatus = Field(
        description="What monitoring does for this watch: the status of the account, unless the symbol has its own."
    )
    reason: str | None = Field(description="Why it is not watched, in a sentence; null while it is.")

    @classmethod
    def of_line(cls, watch: Watch, state: LineState) -> Self:
        """Return the payload of a watch with its state."""
        return cls.of(watch, status=state.status, reason=state.reason)


class WatchesPayload(Payload):
    """The watchlist, oldest watch first."""

    watches: list[WatchPayload]


class UnmonitoredPayload(Payload):
    """A symbol that is not monitored while the account is watched."""

    symbol: SymbolText
    obstacle: Obstacle
    reason: str = Field(description="The obstacle in a sentence; times in IST.")
    since: datetime | None = Field(description="Up to when its candles were read.")


class StatePayload(Payload):
    """Whether monitoring is wanted and running, and why not."""

    is_wanted: bool
    is_running: bool
    status: WatchStatus
    reason: str
    since: datetime | None
    last_cycle_at: datetime | None
    cycles: int = Field(description="Cycles since the server started.")
    missed_cycles: int = Field(
        description="Cycles that were skipped because the one before was still running."
    )
    watch_count: int
    refused_symbols: list[SymbolText] = Field(description="Symbols that Fyers refuses at present.")
    symbol_count: int = Field(description="Symbols on the watchlist.")
    monitored_count: int = Field(description="Those that are monitored while the account is watched.")
    is_partial: bool = Field(description="Whether some symbols are not monitored; `reason` names them.")
    unmonitored: list[UnmonitoredPayload] = Field(description="The symbols that are not monitored.")

    @classmethod
    def of(cls, state: MonitoringState, /, **explicit: Any) -> Self:
        """Return the payload of a state."""
        found = state.monitored
        return super().of(
            state,
            reason=state.reason_text,
            symbol_count=found.total,
            monitored_count=found.count,
            is_partial=found.is_partial,
            unmonitored=[UnmonitoredPayload.of(line, reason=describe_line(line)) for line in found.missing],
            **explicit,
        )


def _withdrawal_sentence(value: object) -> object:
    return WITHDRAWAL_REASONS[value] if isinstance(value, HistoryChange) else value


WithdrawalReason = Annotated[str | None, BeforeValidator(_withdrawal_sentence)]
"""The sentence for the reason of a withdrawal in an answer."""


class SignalPayload(Payload):
    """A signal of one watch; prices in INR."""

    watch_id: str
    symbol: SymbolText
    resolution: ResolutionText
    period: int
    rule: Rule
    direction: Direction
    candle_opened_at: datetime
    candle_closed_at: datetime
    close: float
    hma: float
    detected_at: datetime
    is_late: bool = Field(
        description="Whether it was found late: when missed candles were read, or when Fyers changed its history."
    )
    revision: int = Field(
        description="1 as first found. It grows when the signal is withdrawn, reinstated or gets other values."
    )
    withdrawn_at: datetime | None = Field(
        description="When the signal was withdrawn, because it does not hold on Fyers' changed history; null while it holds."
    )
    withdrawn_reason: WithdrawalReason = Field(
        description="Why, in a sentence for the user; null while it holds."
    )
    history_changed_at: datetime | None = Field(
        description="Set for a signal older than two trading days that differs from Fyers' present history: when that was found."
    )


class SignalsPayload(Payload):
    """Signals, newest candle first."""

    signals: list[SignalPayload]


class WatchOverviewPayload(Payload):
    """A watch with its latest values."""

    watch: WatchPayload
    quote: QuotePayload | None
    quoted_at: datetime | None = Field(description="When Fyers sent the quote; null without a quote.")
    hma: float | None = Field(
        description="The average at the newest closed candle, in INR; null during the warm-up."
    )
    preview: float | None = Field(
        description="The average if the forming candle closed at the last price. It never causes a signal."
    )
    last_signal: SignalPayload | None = Field(description="The newest signal that is not withdrawn.")


class OverviewPayload(Payload):
    """The watchlist with the latest values, which can be old; each one has its time."""

    lines: list[WatchOverviewPayload]
    state: StatePayload
    connection: ConnectionPayload
    is_broker_outage: bool = Field(
        description="Whether Fyers refuses many sessions at once. The cause is at Fyers, not in the user's login."
    )
    at: datetime


@router.get("/overview")
async def overview(user: SignedIn, services: CurrentServices) -> OverviewPayload:
    """Return each watch of the caller with its latest values, oldest watch first."""
    lines = await services.monitoring.overview(user.id)
    states = services.monitoring.line_states(user.id)
    return OverviewPayload(
        lines=[
            WatchOverviewPayload.of(
                line,
                watch=WatchPayload.of_line(line.watch, states[line.watch.id]),
                quote=None if line.quote is None else QuotePayload.of(line.quote),
            )
            for line in lines
            if line.watch.id in states
        ],
        state=_state(services, user.id),
        connection=ConnectionPayload.of(services.connections.connection(user.id)),
        is_broker_outage=services.connections.broker_outage is not None,
        at=services.context.clock.now(),
    )


@router.get("/watches")
async def watches(user: SignedIn, services: CurrentServices) -> WatchesPayload:
    """Return the caller's watchlist."""
    found = await services.monitoring.watches(user.id)
    states = services.monitoring.line_states(user.id)
    return WatchesPayload(watches=[WatchPayload.of_line(watch, states[watch.id]) for watch in found])


@router.post("/watches", status_code=201, responses=problems(409))
async def add_watch(body: WatchBody, user: SignedIn, services: CurrentServices) -> WatchPayload:
    """Add a watch to the caller's watchlist."""
    watch = await services.monitoring.add_watch(
        user.id,
        symbol=Symbol.parse(body.symbol),
        resolution=Resolution.parse(str(body.resolution)),
        period=body.period,
        rule=body.rule,
    )
    return WatchPayload.of_line(watch, services.monitoring.line_states(user.id)[watch.id])


@router.patch("/watches/{watch_id}", responses=problems(409))
async def change_watch(
    watch_id: Id, body: WatchChange, user: SignedIn, services: CurrentServices
) -> WatchPayload:
    """Change a watch. It gives signals only for candles that close after the change."""
    watch = await services.monitoring.change_watch(
        user.id,
        watch_id,
        resolution=None if body.resolution is None else Resolution.parse(str(body.resolution)),
        period=body.period,
        rule=body.rule,
    )
    return WatchPayload.of_line(watch, services.monitoring.line_states(user.id)[watch.id])


@router.delete("/watches/{watch_id}", status_code=204)
async def remove_watch(watch_id: Id, user: SignedIn, services: CurrentServices) -> None:
    """Remove a watch. Its signals are kept."""
    await services.monitoring.remove_watch(user.id, watch_id)


@router.post("/start")
async def start(user: SignedIn, services: CurrentServices) -> StatePayload:
    """Start monitoring. It continues until it is stopped, also after a new login or a restart of the server."""
    await services.monitoring.start(user.id)
    return _state(services, user.id)


@router.post("/stop")
async def stop(user: SignedIn, services: CurrentServices) -> StatePayload:
    """Stop monitoring."""
    await services.monitoring.stop(user.id)
    return _state(services, user.id)


@router.get("/state")
async def state(user: SignedIn, services: CurrentServices) -> StatePayload:
    """Return whether monitoring is wanted and running, and why not."""
    return _state(services, user.id)


def _state(services: Services, user_id: str) -> StatePayload:
    return StatePayload.of(services.monitoring.state(user_id))


@router.get("/signals")
async def signals(
    *,
    user: SignedIn,
    services: CurrentServices,
    symbol: Annotated[str | None, Query(max_length=100)] = None,
    since: Moment | None = None,
    before: Moment | None = None,
    limit: Limit = 100,
) -> SignalsPayload:
    """Return the caller's signals, newest candle first. For the next page, set `before` to the close of the last candle."""
    found = await services.monitoring.signals(
        user.id,
        symbol=None if symbol is None else Symbol.parse(symbol),
        since=since,
        before=before,
        limit=limit,
    )
    return SignalsPayload(signals=[SignalPayload.of(signal) for signal in found])
