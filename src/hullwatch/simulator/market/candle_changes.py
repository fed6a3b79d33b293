"""What control calls change in the market: prices, trades, and what history shows of them.

Prices, splits and missing trades change the market itself, so quotes, depth and history agree. The other changes
concern history alone, as of the moment of a call: the market has the true prices.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, RootModel, StringConstraints, model_validator

from hullwatch.simulator.control.input import ControlInput, Moment, Text
from hullwatch.simulator.market.calendar import from_date
from hullwatch.simulator.market.candles import Row
from hullwatch.simulator.market.price_path import Point, PricePath

Price = Annotated[float, Field(ge=0, le=1e9)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Resolution = Annotated[str, StringConstraints(pattern="^([0-9]{1,3}S?|1?D)$")]


class _Change(ControlInput):
    """A change of some candles of one symbol, or of every symbol."""

    model_config = ConfigDict(extra="forbid")

    symbol: Text | None = None
    """Without it, every symbol."""
    resolution: Resolution | None = None
    """As in a history call; without it, candles of every resolution. Weeks and months follow their days."""
    candle: Moment | None = None
    """The opening of the one candle that is changed, as history shows it."""
    from_: Annotated[Moment | None, Field(alias="from")] = None
    """Candles that open here or later."""
    to: Moment | None = None
    """Candles that open before this."""
    after_seconds: Seconds = 0.0
    """Simulated seconds until the change is seen."""
    seconds_active: Seconds | None = None
    """Simulated seconds for which it is seen; by default until it is deleted."""

    @model_validator(mode="after")
    def _has_one_form(self) -> "_Change":
        if self.candle is not None and (self.from_ is not None or self.to is not None):
            raise ValueError("give candle, or from and to, not both")
        return self

    def concerns(self, start: float) -> bool:
        """Return whether a candle that opens at `start` is changed."""
        if self.candle is not None:
            return self.candle.timestamp() == start
        is_late_enough = self.from_ is None or start >= self.from_.timestamp()
        return is_late_enough and (self.to is None or start < self.to.timestamp())


class Revise(_Change):
    """Show other values, from now on. `factor` and `shift` change the prices that are not given."""

    kind: Literal["revise"]
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    close: Price | None = None
    volume: Annotated[int, Field(ge=0, le=10**12)] | None = None
    factor: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    shift: Annotated[float, Field(ge=-1e9, le=1e9)] = 0.0

    @model_validator(mode="after")
    def _has_change(self) -> "Revise":
        values = {"open", "high", "low", "close", "volume", "factor", "shift"}
        if not values & self.model_fields_set:
            raise ValueError("give a value to change: open, high, low, close, volume, factor or shift")
        return self

    def revised(self, row: Row) -> Row:
        """Return the candle with its other values; high and low contain open and close unless they are given."""
        opened, high, low, close = (round(price * self.factor + self.shift, 4) for price in row[1:5])
        opened = opened if self.open is None else self.open
        close = close if self.close is None else self.close
        high = max(high, opened, close) if self.high is None else self.high
        low = min(low, opened, close) if self.low is None else self.low
        return Row(row.start, opened, high, low, close, row.volume if self.volume is None else self.volume)


class Withhold(_Change):
    """Do not show candles: for `seconds` after their close, until so many successors have closed, or for ever."""

    kind: Literal["withhold"]
    seconds: Seconds | None = None
    successors: Annotated[int, Field(ge=1, le=1_000)] | None = None

    def is_hidden(self, end: float, length_s: int, now: float) -> bool:
        """Return whether a candle that closes at `end` is hidden at `now`."""
        if self.seconds is None and self.successors is None:
            return True
        shown_at = end + (self.seconds or 0.0) + (self.successors or 0) * length_s
        return now < shown_at


class DelayClose(_Change):
    """Until `seconds` after a candle's close, show it as it was `earlierSeconds` before its close."""

    kind: Literal["delay_close"]
    seconds: Seconds
    earlier_seconds: Annotated[float, Field(gt=0, le=86_400)] = 20.0


class Empty(_Change):
    """Answer no_data, although the symbol trades; with `from` or `to` only these candles are missing."""

    kind: Literal["empty"]


class Zero(_Change):
    """Show candles whose prices are all 0."""

    kind: Literal["zero"]


class OffGrid(_Change):
    """Count intraday candles from so many seconds after 09:15, so that they open at odd times."""

    kind: Literal["off_grid"]
    seconds: Annotated[int, Field(ge=60, le=3_600, multiple_of=60)] = 60


class NoTrades(ControlInput):
    """Let nothing trade in a time: no candles, and the quote stands still."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["no_trades"]
    symbol: Text
    from_: Annotated[Moment, Field(alias="from")]
    to: Moment

    def concerns(self, start: float) -> bool:
        """Return whether nothing trades at a moment."""
        return self.from_.timestamp() <= start < self.to.timestamp()


class Split(ControlInput):
    """Divide prices by `ratio` from a day on, as a split or a bonus does."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["split"]
    symbol: Text
    ratio: Annotated[float, Field(ge=0.001, le=1_000)]
    """2 for two shares in place of one."""
    day: date = Field(strict=False)
    """The first day at the new price."""
    rescales_past: bool = True
    """Whether history divides earlier candles too, from the call on or from that day on."""
    changes_prices: bool = True
    """Whether the market trades at divided prices; false for candle files that have the split already."""
    after_seconds: Seconds = 0.0
    """More simulated seconds until history re-scales earlier candles."""

    @property
    def day_number(self) -> int:
        """The day as the simulator counts them."""
        return from_date(self.day)


Change = Revise | Withhold | DelayClose | Empty | Zero | OffGrid | NoTrades | Split


class CandleChangeInput(RootModel[Annotated[Change, Field(discriminator="kind")]]):
    """A change of candles, by its kind."""


@dataclass(frozen=True, slots=True)
class ActiveChange:
    """A change, seen from `begins_at` to `ends_at`."""

    id: str
    given: Change
    begins_at: float
    ends_at: float


class CandleChanges:
    """All changes by control calls, by symbol."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._by_symbol: dict[str | None, list[ActiveChange]] = {}
        self._paths: dict[str, PricePath] = {}
        self.version = 0
        """Grows with every change, so that computed days can be dropped."""

    def __iter__(self) -> Iterator[ActiveChange]:
        """Iterate over the changes of candles, oldest first."""
        return iter(sorted(itertools.chain(*self._by_symbol.values()), key=lambda one: int(one.id[7:])))

    def add(self, given: Change, now: float) -> ActiveChange:
        """Add a change of candles."""
        self.version += 1
        begins_at = now + (0.0 if isinstance(given, NoTrades) else given.after_seconds)
        seconds = given.seconds_active if isinstance(given, _Change) else None
        ends_at = float("inf") if seconds is None else begins_at + seconds
        change = ActiveChange(f"change-{next(self._numbers)}", given, begins_at, ends_at)
        self._by_symbol.setdefault(given.symbol, []).append(change)
        return change

    def remove(self, change_id: str) -> bool:
        """End one change; return whether it was there."""
        self.version += 1
        for symbol, changes in self._by_symbol.items():
            left = [change for change in changes if change.id != change_id]
            if len(left) < len(changes):
                self._by_symbol[symbol] = left
                if not left:
                    del self._by_symbol[symbol]
                return True
        return False

    def clear_candles(self) -> None:
        """End all changes of candles."""
        self.version += 1
        self._by_symbol.clear()

    def clear(self) -> None:
        """End all changes and remove all given prices."""
        self.clear_candles()
        self._paths.clear()

    @property
    def paths(self) -> Mapping[str, PricePath]:
        """The given prices by symbol."""
        return self._paths

    def add_path(self, symbol: str, points: Sequence[Point], *, factor_after: float | None) -> None:
        """Give a symbol prices from the first point on."""
        self.version += 1
        self._paths.setdefault(symbol, PricePath()).add(points, factor_after=factor_after)

    def remove_paths(self, symbol: str | None) -> None:
        """Give a symbol, or all, their own prices back, in the past too."""
        self.version += 1
        for known in [one for one in self._paths if symbol in {None, one}]:
            del self._paths[known]

    def of(self, symbol: str) -> list[Change]:
        """Return the changes of a symbol, whenever they are seen."""
        return [change.given for change in self._by_symbol.get(symbol, ())]

    def seen(self, symbol: str, now: float) -> list[ActiveChange]:
        """Return the changes of a symbol that are seen at a moment."""
        if not self._by_symbol:
            return []
        found = [*self._by_symbol.get(None, ()), *self._by_symbol.get(symbol, ())]
        return [one for one in found if one.begins_at <= now < one.ends_at]
