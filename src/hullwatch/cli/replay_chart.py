"""The picture of a replay: candles, HMA and signals. Needs matplotlib, which is an optional extra."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.replay import ReplayReport, ReplayRow
from hullwatch.domain.signals.signals import Direction, Rule

_RISING: Final = "#26a69a"
_FALLING: Final = "#ef5350"
_AVERAGE: Final = "#2962ff"
_MARKERS: Final = {
    (Rule.CROSS, Direction.UP): ("^", _RISING, "crossed up"),
    (Rule.CROSS, Direction.DOWN): ("v", _FALLING, "crossed down"),
    (Rule.TURN, Direction.UP): ("o", "#00897b", "turned up"),
    (Rule.TURN, Direction.DOWN): ("o", "#ad1457", "turned down"),
}
_HALF_WIDTH: Final = 0.35
_TICKS: Final = 10


def draw(report: ReplayReport, path: Path) -> None:
    """Draw a replay into a new file. Candles are side by side, without gaps for the closed market."""
    rows = report.rows
    width = min(32.0, max(12.0, len(rows) / 45))  # inches; very long replays become denser, not endless
    figure = Figure(figsize=(width, 8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_candles(axes, rows)
    hma = [(index, row.hma) for index, row in enumerate(rows) if row.hma is not None]
    axes.plot(
        [index for index, _ in hma],
        [value for _, value in hma],
        color=_AVERAGE,
        linewidth=1.4,
        label=f"HMA {report.period}",
        zorder=3,
    )
    _draw_signals(axes, report)
    _label_times(axes, rows)
    axes.set_title(f"{report.symbol}   resolution {report.resolution}   {len(report.signals)} signals")
    axes.set_ylabel("INR")
    axes.grid(visible=True, color="#e0e3eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", framealpha=0.9)
    axes.margins(x=0.01)
    figure.savefig(path, format=path.suffix[1:].lower())


def _draw_candles(axes: Any, rows: Sequence[ReplayRow]) -> None:
    colours = [_RISING if row.candle.close >= row.candle.open else _FALLING for row in rows]
    wicks = [((index, row.candle.low), (index, row.candle.high)) for index, row in enumerate(rows)]
    bodies = []
    for index, row in enumerate(rows):
        left, right, low, high = index - _HALF_WIDTH, index + _HALF_WIDTH, row.candle.open, row.candle.close
        bodies.append(((left, low), (left, high), (right, high), (right, low)))
    axes.add_collection(LineCollection(wicks, colors=colours, linewidths=0.7, zorder=1))
    axes.add_collection(
        PolyCollection(bodies, facecolors=colours, edgecolors=colours, linewidths=0.7, zorder=2)
    )
    axes.autoscale_view()


def _draw_signals(axes: Any, report: ReplayReport) -> None:
    index_of = {row.candle.opened_at: index for index, row in enumerate(report.rows)}
    for (rule, direction), (marker, colour, name) in _MARKERS.items():
        found = [signal for signal in report.signals if signal.rule is rule and signal.direction is direction]
        if not found:
            continue
        # A crossing is marked above or below its candle, a turn on the HMA.
        prices = []
        for signal in found:
            candle = report.rows[index_of[signal.candle_opened_at]].candle
            beyond = candle.low * 0.9985 if direction is Direction.UP else candle.high * 1.0015
            prices.append(beyond if rule is Rule.CROSS else signal.hma)
        axes.scatter(
            [index_of[signal.candle_opened_at] for signal in found],
            prices,
            marker=marker,
            s=46 if rule is Rule.CROSS else 26,
            color=colour,
            edgecolors="white",
            linewidths=0.6,
            label=f"{name} ({len(found)})",
            zorder=4,
        )


def _label_times(axes: Any, rows: Sequence[ReplayRow]) -> None:
    """Label about ten candles with their opening time, IST."""
    step = max(1, len(rows) // _TICKS)
    labelled = range(0, len(rows), step)
    names = [f"{rows[index].candle.opened_at.astimezone(IST):%d %b %y\n%H:%M}" for index in labelled]
    axes.set_xticks(labelled, names)
    axes.set_xlabel("candle opened, IST")
