"""Control calls for prices and candles."""

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.call import ControlCall, Given
from hullwatch.simulator.control.input import (
    ControlInput,
    ControlOutput,
    Done,
    InvalidRequest,
    IsoTime,
    Moment,
    Text,
)
from hullwatch.simulator.market.calendar import to_ist
from hullwatch.simulator.market.candle_changes import ActiveChange, CandleChangeInput, NoTrades, Split
from hullwatch.simulator.market.price_path import Point

GivenPrice = Annotated[float, Field(ge=1e-9, le=1e9)]


class PointInput(ControlInput):
    """A price at a moment of the simulated time."""

    model_config = ConfigDict(extra="forbid")

    price: GivenPrice
    at: Moment | None = None
    after_seconds: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Simulated seconds from the call, in place of `at`."""
    gap: bool = False
    """Whether the price jumps here; otherwise it gets here in a straight line."""

    @model_validator(mode="after")
    def _has_time(self) -> "PointInput":
        if (self.at is None) == (self.after_seconds is None):
            raise ValueError("each point takes at or afterSeconds")
        return self


class PriceInput(ControlInput):
    """A price from now on, or a path of prices."""

    model_config = ConfigDict(extra="forbid")

    symbol: Text
    price: GivenPrice | None = None
    path: Annotated[list[PointInput], Field(min_length=1, max_length=10_000)] | None = None
    """Points in order of time. Points in the past change the candles of the past."""
    then: Literal["hold", "follow"] = "hold"
    """After the last point the price stays, or it follows the market's own changes."""

    @model_validator(mode="after")
    def _has_one_form(self) -> "PriceInput":
        if (self.price is None) == (self.path is None):
            raise ValueError("give price or path")
        return self


class PriceOutput(ControlOutput):
    """The last price of a symbol now."""

    symbol: str
    ltp: float


class PriceList(ControlOutput):
    """The symbols whose prices are given."""

    prices: list[PriceOutput]


class ChangeOutput(ControlOutput):
    """An active change of candles; `endsAt` is null without an end."""

    id: str
    kind: str
    symbol: str | None
    begins_at: IsoTime
    ends_at: IsoTime | None
    body: dict[str, Any]


class ChangeList(ControlOutput):
    """The changes of candles, oldest first."""

    changes: list[ChangeOutput]


def _set_price(broker: Broker, given: Given) -> PriceOutput:
    wanted: PriceInput = given.body
    _require_own_prices(broker, wanted.symbol)
    now = math.floor(broker.clock.epoch())  # quotes show whole seconds
    points = [Point(now, wanted.price, is_gap=True)] if wanted.price is not None else _points(wanted, now)
    if any(later.at <= earlier.at for earlier, later in pairwise(points)):
        raise InvalidRequest(422, "path: the points must be in order of time", "path")
    factor = None
    if wanted.then == "follow":
        factor = points[-1].price / broker.source.own_price(wanted.symbol, points[-1].at)
    broker.changes.add_path(wanted.symbol, points, factor_after=factor)
    broker.market.forget()
    return _price_of(broker, wanted.symbol)


def _points(wanted: PriceInput, now: float) -> list[Point]:
    return [
        Point(
            now + (each.after_seconds or 0.0) if each.at is None else each.at.timestamp(),
            each.price,
            each.gap,
        )
        for each in wanted.path or ()
    ]


def _require_listed(broker: Broker, symbol: str) -> None:
    if broker.market.listed(symbol, broker.clock.epoch()) is None:
        raise InvalidRequest(422, "symbol: there is no such symbol", "symbol")


def _require_own_prices(broker: Broker, symbol: str) -> None:
    """Refuse contracts and BSE shares, whose prices are made from those of another symbol."""
    _require_listed(broker, symbol)
    if symbol not in broker.source.instruments:
        origin = broker.market.instruments[symbol].underlying
        message = f"symbol: the prices of {symbol} follow {origin}; change those"
        raise InvalidRequest(422, message, "symbol")


def _price_of(broker: Broker, symbol: str) -> PriceOutput:
    return PriceOutput(symbol=symbol, ltp=broker.market.snapshot(symbol, broker.clock.epoch()).ltp)


def _prices(broker: Broker, _given: Given) -> PriceList:
    return PriceList(prices=[_price_of(broker, symbol) for symbol in broker.changes.paths])


def _clear_prices(broker: Broker, given: Given) -> Done:
    broker.changes.remove_paths(given.query.get("symbol") or None)
    broker.market.forget()
    return Done()


def _described(change: ActiveChange) -> ChangeOutput:
    given = change.given
    ends_at = None if change.ends_at == float("inf") else to_ist(change.ends_at).isoformat()
    body = given.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return ChangeOutput(
        id=change.id, kind=given.kind, symbol=given.symbol, begins_at=to_ist(change.begins_at).isoformat(),
        ends_at=ends_at, body=body,
    )  # fmt: skip


def _add_change(broker: Broker, given: Given) -> ChangeOutput:
    wanted = given.body.root
    if wanted.symbol is not None:
        check = _require_own_prices if isinstance(wanted, Split | NoTrades) else _require_listed
        check(broker, wanted.symbol)
    change = broker.changes.add(wanted, broker.clock.epoch())
    broker.market.forget()
    return _described(change)


def _changes(broker: Broker, _given: Given) -> ChangeList:
    return ChangeList(changes=[_described(change) for change in broker.changes])


def _clear_changes(broker: Broker, _given: Given) -> Done:
    broker.changes.clear_candles()
    broker.market.forget()
    return Done()


def _remove_change(broker: Broker, given: Given) -> Done:
    if not broker.changes.remove(given.path["id"]):
        raise InvalidRequest(404, "there is no such change", "id")
    broker.market.forget()
    return Done()


_SBIN = {"symbol": "NSE:SBIN-EQ"}
_CANDLE = {"candle": "2026-11-25T10:05:00+05:30", "resolution": "5"}
_PRICE_EXAMPLES = (
    {**_SBIN, "price": 900},
    {
        **_SBIN,
        "path": [{"afterSeconds": 60, "price": 905.5}, {"afterSeconds": 300, "price": 912}],
        "then": "follow",
    },
    {
        **_SBIN,
        "path": [
            {"at": "2026-11-25T10:05:00+05:30", "price": 900},
            {"at": "2026-11-25T10:09:00+05:30", "price": 880, "gap": True},
        ],
    },
)
_CHANGE_EXAMPLES = (
    {"kind": "revise", **_SBIN, **_CANDLE, "close": 905.5},
    {"kind": "revise", **_SBIN, "from": "2026-11-25T09:15:00+05:30", "factor": 1.01, "afterSeconds": 60},
    {"kind": "withhold", **_SBIN, **_CANDLE, "seconds": 70},
    {"kind": "withhold", **_SBIN, **_CANDLE, "successors": 2},
    {"kind": "withhold", **_SBIN, **_CANDLE},
    {"kind": "delay_close", **_SBIN, "seconds": 3, "earlierSeconds": 20},
    {"kind": "delay_close", "seconds": 2},
    {"kind": "empty", **_SBIN, "from": "2026-11-25T00:00:00+05:30", "secondsActive": 600},
    {"kind": "zero", **_SBIN, "from": "2026-11-25T10:00:00+05:30"},
    {"kind": "off_grid", **_SBIN, "seconds": 60},
    {"kind": "no_trades", **_SBIN, "from": "2026-11-25T10:10:00+05:30", "to": "2026-11-25T10:15:00+05:30"},
    {"kind": "split", **_SBIN, "ratio": 2, "day": "2026-11-25"},
    {"kind": "split", **_SBIN, "ratio": 2, "day": "2026-11-25", "rescalesPast": False},
)

CALLS = (
    ControlCall("GET", "/simulator/prices", "List the symbols whose prices are given.", PriceList, _prices),
    ControlCall(
        "POST", "/simulator/prices", "Set a price from now on, or give a path of prices.", PriceOutput, _set_price,
        PriceInput, _PRICE_EXAMPLES,
    ),
    ControlCall(
        "DELETE", "/simulator/prices", "Give symbols their own prices back, in the past too.", Done, _clear_prices,
        query={"symbol": "This symbol only."},
    ),
    ControlCall("GET", "/simulator/candles", "List the changes of candles.", ChangeList, _changes),
    ControlCall(
        "POST", "/simulator/candles", "Change candles: revise, withhold, delay, empty, zero, off-grid, no trades, split.",
        ChangeOutput, _add_change, CandleChangeInput, _CHANGE_EXAMPLES,
    ),
    ControlCall("DELETE", "/simulator/candles", "End all changes of candles.", Done, _clear_changes),
    ControlCall("DELETE", "/simulator/candles/{id}", "End one change of candles.", Done, _remove_change),
)  # fmt: skip
