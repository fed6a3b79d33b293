"""A market whose history is scripted: what Fyers answers about each candle depends on the time of the call."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from random import Random

from fakes.broker import FakeBroker
from services.environment import CLOSING, OPENING, candles_of

from hullwatch.domain.failures import Answered, BrokerFailure, BrokerResult, BrokerService
from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import Arranged, Candle, arrange_candles
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.sessions.connection import Credential

STEP = timedelta(minutes=5)
TICK = 0.05
RECOVERY = timedelta(minutes=8)
"""After a fault of one symbol: its calls are up to five minutes apart, with jitter, and the answer is then compared."""


@dataclass
class Span:
    """A stretch of time with a fault of one symbol."""

    begins_at: datetime
    ends_at: datetime
    failure: BrokerFailure | None = None
    """The answer meanwhile; without one history is empty."""

    def has(self, moment: datetime) -> bool:
        """Return whether the fault is on."""
        return self.begins_at <= moment < self.ends_at


@dataclass
class Line:
    """The history of one symbol: final candles, and what was to be seen of each before it was final."""

    number: int
    final: list[Candle]
    versions: dict[datetime, list[tuple[datetime, Candle | None]]] = field(default_factory=dict)
    """Opening → moments from which this is what history shows; the first one replaces the usual close."""
    faults: list[Span] = field(default_factory=list)
    quote_faults: list[Span] = field(default_factory=list)
    restarts: list[datetime] = field(default_factory=list)
    """Openings of unexplained jumps."""
    phantoms: list[tuple[Span, Candle]] = field(default_factory=list)
    """Candles that history shows for some time although they are not there in the end."""
    step: timedelta = STEP
    quote_factor: float = 1.0

    @property
    def symbol(self) -> Symbol:
        """The symbol, made of the number."""
        return Symbol(f"NSE:LINE{self.number:02d}-EQ")

    def __post_init__(self) -> None:
        self.use(self.final)

    def use(self, final: list[Candle]) -> None:
        """Replace the final candles."""
        self.final = final
        self._openings = [candle.opened_at for candle in final]
        self._closes = {
            candle.opened_at: min(
                candle.opened_at + self.step, candle.opened_at.replace(hour=CLOSING.hour, minute=0)
            )
            for candle in final
        }
        self._totals: list[int] = []
        """The day's volume up to the end of each candle."""
        self._previous_closes: list[float | None] = []
        """The close of the day before, for each candle."""
        for before, candle in zip([None, *final], final, strict=False):
            is_first = before is None or ist_date(before.opened_at) != ist_date(candle.opened_at)
            self._totals.append(candle.volume + (0 if is_first else self._totals[-1]))
            known = None if before is None else before.close
            self._previous_closes.append(known if is_first else self._previous_closes[-1])

    @property
    def closes(self) -> dict[datetime, datetime]:
        """Opening → close of each candle; the market close shortens the last one of a day."""
        return self._closes

    def shown(self, candle: Candle, now: datetime) -> Candle | None:
        """Return what history shows of a final candle at a moment, `None` if nothing."""
        if now < candle.opened_at:
            return None
        versions = self.versions.get(candle.opened_at)
        if versions is not None:
            index = bisect_right(versions, now, key=itemgetter(0))
            if index:
                return versions[index - 1][1]
        if now < self._closes[candle.opened_at]:
            return replace(candle, high=candle.open, low=candle.open, close=candle.open)
        return candle

    def history(self, now: datetime, start: datetime, end: datetime) -> list[Candle]:
        """Return what a history call shows."""
        first, last = bisect_left(self._openings, start), bisect_right(self._openings, end)
        phantoms = [one for span, one in self.phantoms if span.has(now) and start <= one.opened_at <= end]
        shown = [one for candle in self.final[first:last] if (one := self.shown(candle, now)) is not None]
        return [*shown, *phantoms]

    def true_through(self, now: datetime) -> datetime | None:
        """Return the close up to which all closed candles are shown as they are in the end."""
        if any(fault.begins_at <= now < fault.ends_at + RECOVERY for fault in self.faults):
            return None
        shown = [one.opened_at for span, one in self.phantoms if span.has(now)]
        through = None
        for candle in self.final:
            closed_at = self._closes[candle.opened_at]
            is_wrong = candle.opened_at in self.versions and self.shown(candle, now) != candle
            if closed_at > now or is_wrong or (shown and candle.opened_at >= min(shown)):
                break
            through = closed_at
        return through

    def quote(self, now: datetime) -> Quote:
        """Return the quote: the price goes straight from open to close; the volume is that of the day so far."""
        index = bisect_right(self._openings, now) - 1
        candle = self.final[max(0, index)]
        share = min(1.0, max(0.0, (now - candle.opened_at) / self.step))
        return Quote(
            self.symbol,
            (candle.open + round((candle.close - candle.open) * share, 2)) * self.quote_factor,
            previous_close=self._previous_closes[index],
            volume=self._totals[index] - int(candle.volume * (1 - share)),
            traded_at=min(now, self._closes[candle.opened_at]),
        )


class ScriptedBroker(FakeBroker):
    """The fake broker with the history and the quotes of a script."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.lines: dict[Symbol, Line] = {}

    async def quotes(
        self, credential: Credential, symbols: Sequence[Symbol], *, priority: CallPriority = ORDINARY_CALL
    ) -> BrokerResult[tuple[Quote, ...]]:
        """Return the quotes of the script, or the failure of one of the symbols."""
        now = self.clock.now()
        for symbol in symbols:
            line = self.lines.get(symbol)
            for fault in line.quote_faults if line else ():
                if fault.failure is not None and fault.has(now):
                    self.symbol_failures[symbol] = fault.failure
        self.serve_quotes([self.lines[one].quote(now) for one in symbols if one in self.lines])
        answer = await super().quotes(credential, symbols, priority=priority)
        self.symbol_failures.clear()
        return answer

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
        """Return the history of the script at the time of the call."""
        failure = await self._call(
            "candles",
            BrokerService.HISTORY,
            credential,
            symbols=(symbol,),
            start=start,
            end=end,
            priority=priority,
        )
        if failure is not None:
            return failure
        line, now = self.lines.get(symbol), self.clock.now()
        if line is None:
            return Answered(arrange_candles([]))
        for fault in line.faults:
            if fault.has(now):
                return fault.failure or Answered(arrange_candles([]))
        return Answered(arrange_candles(line.history(now, start, end)))


def lively_line(number: int, random: Random, *, days: int = 1, step: timedelta = STEP) -> Line:
    """Return a line whose price crosses its average often; nothing of it is wrong yet."""
    around = random.choice((60.0, 100.0, 400.0))
    days_before = 2 if step == STEP else 6
    five = candles_of(seed=random.randrange(10**6), days_before=days_before, days=days, around=around)
    volumes = [replace(candle, volume=random.randrange(2, 4000)) for candle in five]
    return Line(number, _joined(volumes, step), step=step)


def _joined(candles: Sequence[Candle], step: timedelta) -> list[Candle]:
    """Return longer candles, counted from the market open of each day."""
    parts: dict[datetime, list[Candle]] = {}
    for candle in candles:
        opens_at = candle.opened_at.replace(hour=OPENING.hour, minute=OPENING.minute)
        parts.setdefault(opens_at + (candle.opened_at - opens_at) // step * step, []).append(candle)
    return [
        Candle(
            opened_at,
            part[0].open,
            max(one.high for one in part),
            min(one.low for one in part),
            part[-1].close,
            sum(one.volume for one in part),
        )
        for opened_at, part in parts.items()
    ]


def other_close(candle: Candle, random: Random) -> Candle:
    """Return a candle with a close that differs by one to six ticks."""
    moved = random.choice((-1, 1)) * random.randrange(1, 7) * TICK
    close = round(max(TICK, candle.close + moved), 2)
    return replace(candle, close=close, high=max(candle.high, close), low=min(candle.low, close))
