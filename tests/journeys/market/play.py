"""Plays scripted lines to one account with the real services, and compares its signals with the oracle."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from fakes.clock import FakeClock
from services.environment import ALICE, CALENDAR, FIVE, OPENING, Environment

from hullwatch.app.options import ServiceOptions
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import Watch, WatchStatus
from hullwatch.domain.signals.signals import Rule, Signal
from journeys.market.oracle import TrueSignal, Truth, truth_of
from journeys.market.script import STEP, Line, ScriptedBroker, lively_line

READ_AT = timedelta(seconds=1)
"""After a close the candle is read for the first time; what history shows then may not be final."""
CHECK_AT = timedelta(seconds=40)
"""After a close everything that its candle gives is stored, with second readings and rebuilt series."""
VARIATIONS = 30
CANDLES = 20
PERIODS = (4, 5, 9)

Change = Callable[[Line, Sequence[Candle], Random], None]
"""Changes a line; gets the candles that are played."""


@dataclass
class Play:
    """A running market day of one account."""

    env: Environment
    lines: list[Line]
    watches: dict[str, Line] = field(default_factory=dict)
    truths: dict[str, Truth] = field(default_factory=dict)
    """Watch id → what all final candles give."""

    def watch_of(self, watch_id: str) -> Watch:
        """Return a watch as monitoring has it."""
        return self.env.monitoring._scheduler.account(ALICE).watcher.watches[watch_id]

    async def play(
        self,
        closes: Sequence[datetime],
        *,
        read_at: timedelta = READ_AT,
        check_at: timedelta = CHECK_AT,
    ) -> None:
        """Let the candles close one by one, and compare after each of them."""
        for closed_at in closes:
            await self.env.clock.advance_to(closed_at + check_at)
            self.compare(closed_at + read_at)

    def compare(self, read_at: datetime) -> None:
        """Compare the signals that hold with those of the final candles.

        A line counts up to the last close before which history showed every candle as it is in the end, when
        the newest candle was read at `read_at`. Nobody can know more, and everything before it must be right.
        """
        stored = defaultdict(list)
        for signal in self.env.store.tables.signals.values():
            stored[signal.watch_id].append(signal)
        findings = []
        for watch_id, line in self.watches.items():
            through = line.true_through(read_at)
            if through is not None:
                findings += self.differences(watch_id, line, through, stored[watch_id])
        assert findings == [], "\n".join(findings[:10])

    def truth(self, watch_id: str) -> Truth:
        """Return what all final candles of a watch's line give."""
        if watch_id not in self.truths:
            watch, line = self.watch_of(watch_id), self.watches[watch_id]
            self.truths[watch_id] = truth_of(line.final, watch.rule, watch.period, restarts=line.restarts)
        return self.truths[watch_id]

    def differences(
        self, watch_id: str, line: Line, through: datetime, stored_signals: Iterable[Signal]
    ) -> list[str]:
        """Return what is missing, extra, wrong or unexplained among the signals of candles closed up to `through`."""
        watch = self.watch_of(watch_id)
        expected = {
            one.opened_at: one
            for one in self.truth(watch_id).signals
            if watch.signals_from < line.closes[one.opened_at] <= through
        }
        stored = {one.candle_opened_at: one for one in stored_signals if one.candle_closed_at <= through}
        name = f"{line.symbol.text} {watch.rule.value} {watch.period} through {through:%H:%M}"
        findings = [
            f"{name}: missing {one.direction} at {one.opened_at:%d %H:%M}"
            for one in expected.values()
            if not _holds(stored.get(one.opened_at))
        ]
        for opened_at, signal in stored.items():
            if _holds(signal):
                findings += _wrong(name, signal, expected.get(opened_at))
            elif signal.withdrawn_reason is None:
                findings.append(f"{name}: withdrawn without a reason at {opened_at:%d %H:%M}")
        return findings

    async def compare_averages(self) -> None:
        """Compare the averages after the last closed candle with those of the final candles.

        The page and `GET /api/hma` and the chart show the live series' number; the last two are asked for some
        lines only, because each call reads the history again.
        """
        watcher = self.env.monitoring._scheduler.account(ALICE).watcher
        now = self.env.clock.now()
        for number, (watch_id, line) in enumerate(self.watches.items()):
            watch = self.watch_of(watch_id)
            newest = max(opened_at for opened_at, closed_at in line.closes.items() if closed_at <= now)
            average = self.truth(watch_id).hma[newest]
            series = watcher.series(watch_id)
            shown = [None if series is None else series.hma]
            if number % 10 == 0:
                shown += await self._shown_elsewhere(watch)
            assert all(_is_near(value, average) for value in shown), (line.symbol.text, average, shown)

    async def _shown_elsewhere(self, watch: Watch) -> list[float | None]:
        definition = {"period": watch.period, "resolution": watch.resolution}
        reading = await self.env.hma.hma(ALICE, watch.symbol, **definition)
        chart = await self.env.chart.chart(ALICE, watch.symbol, rule=watch.rule, **definition)
        return [reading.current_hma, chart.candles[-1].hma]

    def obstacles(self) -> dict[int, Obstacle]:
        """Return what single lines lack, by their number."""
        lines = self.env.monitoring._scheduler.account(ALICE).watcher.lines()
        numbers = {line.symbol: line.number for line in self.lines}
        return {numbers[one.symbol]: one.obstacle for one in lines if one.obstacle is not None}

    async def restart(self) -> None:
        """Kill the server, and start another one on what is stored."""
        self.env = await self.env.kill()
        await self.env.start()

    def status(self) -> WatchStatus:
        """Return the account's monitoring status."""
        return self.env.monitoring.state(ALICE).status

    def signals(self) -> list[Signal]:
        """Return the stored signals."""
        return self.env.signals(ALICE)


def _is_near(value: float | None, other: float | None) -> bool:
    return value == other if value is None or other is None else abs(value - other) < 1e-9


def _holds(signal: Signal | None) -> bool:
    return signal is not None and signal.withdrawn_at is None


def _wrong(name: str, signal: Signal, expected: TrueSignal | None) -> list[str]:
    at = f"{signal.candle_opened_at:%d %H:%M}"
    if expected is None:
        return [f"{name}: extra {signal.direction.value} at {at}"]
    is_same = (
        signal.direction.value == expected.direction
        and signal.close == expected.close
        and abs(signal.hma - expected.hma) < 1e-9
    )
    if is_same:
        return []
    found = f"{signal.direction.value} {signal.close} {signal.hma}"
    return [f"{name}: {found} at {at} instead of {expected.direction} {expected.close} {expected.hma}"]


async def begin(
    change: Change,
    *,
    seed: int,
    starts_at: datetime = OPENING - timedelta(minutes=10),
    days: int = 1,
    candles: int = CANDLES,
    calendar: MarketCalendar = CALENDAR,
    resolution: Resolution = FIVE,
    interval_s: float = 30.0,
) -> Play:
    """Return an account with one line for each variation, on a Monday; `change` gets each line before it is played.

    Args:
        change: Makes what is wrong with the line.
        seed: Of all randomness.
        starts_at: When the account begins to watch.
        days: Trading days in the script.
        candles: The number of candles to be played, from the first one that opens after the start.
        calendar: The trading days of the product.
        resolution: Of all candles.
        interval_s: Between two cycles, so between quotes; candles are read when they close.
    """
    random = Random(seed)
    clock = FakeClock(starts_at)
    broker = ScriptedBroker(clock)
    env = Environment(
        clock=clock,
        broker=broker,
        seed=seed,
        calendar=calendar,
        options=ServiceOptions(monitor_interval_s=interval_s),
    )
    await env.with_sessions(ALICE)
    await env.start()
    play = Play(env, [])
    for number in range(VARIATIONS):
        line = lively_line(number, random, days=days, step=resolution.length)
        played = [candle for candle in line.final if candle.opened_at >= starts_at]
        change(line, played[:candles], random)
        broker.lines[line.symbol] = line
        play.lines.append(line)
        rule = (Rule.CROSS, Rule.TURN)[number % 2]
        period = random.choice(PERIODS)
        watch = await env.monitoring.add_watch(
            ALICE, symbol=line.symbol, resolution=resolution, period=period, rule=rule
        )
        play.watches[watch.id] = line
    await env.monitoring.start(ALICE)
    await clock.settle()
    return play


def closes_after(moment: datetime, count: int) -> list[datetime]:
    """Return the closes of the first candles from a moment on that is a step of the grid."""
    return [moment + STEP * (number + 1) for number in range(count)]
