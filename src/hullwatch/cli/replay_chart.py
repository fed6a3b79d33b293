"""The picture of a replay: candles, HMA and signals. Needs matplotlib, which is an optional extra."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
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
_LABELS: Final = 10
_CANDLES_IN_PANEL: Final = 400
"""At 4 pixels each; with many more, neighbours look alike."""
_MOST_PANELS: Final = 40
"""Beyond 16,000 candles the panels become denser, because a picture cannot be higher than 65,535 pixels."""


def draw(report: ReplayReport, path: Path) -> None:
    """Draw a replay into a new file: panels of about 400 candles each, one below the other, oldest first.

    Candles are side by side, without gaps for the closed market.
    """
    count = len(report.rows)
    panels = min(_MOST_PANELS, max(1, -(-count // _CANDLES_IN_PANEL)))
    size = max(1, -(-count // panels))
    figure = Figure(figsize=(16, 1 + (6 if panels == 1 else 4.4) * panels), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(panels, squeeze=False)[:, 0]
    all_axes[0].set_title(f"{report.symbol}   resolution {report.resolution}   {len(report.signals)} signals")
    all_axes[-1].set_xlabel("candle opened, IST")
    for number, axes in enumerate(all_axes):
        _draw_panel(axes, report, range(number * size, min(count, (number + 1) * size)))
    handles = {label: handle for axes in all_axes for handle, label in _legend_of(axes)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(handles) or 1)
    figure.savefig(path, format=path.suffix[1:].lower())


def _legend_of(axes: Any) -> Iterator[tuple[Any, str]]:
    yield from zip(*axes.get_legend_handles_labels(), strict=True)


def _draw_panel(axes: Any, report: ReplayReport, shown: range) -> None:
    rows = report.rows
    _draw_candles(axes, report, shown)
    hma = [(index, value) for index in shown if (value := rows[index].hma) is not None]
    axes.plot(
        [index for index, _ in hma],
        [value for _, value in hma],
        color=_AVERAGE,
        linewidth=1.4,
        label=f"HMA {report.period}",
        zorder=3,
    )
    _draw_signals(axes, report, shown)
    _label_times(axes, rows, shown)
    axes.set_ylabel("INR")
    axes.grid(visible=True, axis="y", color="#e0e3eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.005)


def _draw_candles(axes: Any, report: ReplayReport, shown: range) -> None:
    candles = [(index, report.rows[index].candle) for index in shown]
    colours = [_RISING if candle.close >= candle.open else _FALLING for _, candle in candles]
    wicks = [((index, candle.low), (index, candle.high)) for index, candle in candles]
    bodies = []
    for index, candle in candles:
        left, right, low, high = index - _HALF_WIDTH, index + _HALF_WIDTH, candle.open, candle.close
        bodies.append(((left, low), (left, high), (right, high), (right, low)))
    axes.add_collection(LineCollection(wicks, colors=colours, linewidths=0.7, zorder=1))
    axes.add_collection(
        PolyCollection(bodies, facecolors=colours, edgecolors=colours, linewidths=0.7, zorder=2)
    )
    axes.autoscale_view()


def _draw_signals(axes: Any, report: ReplayReport, shown: range) -> None:
    index_of = {report.rows[index].candle.opened_at: index for index in shown}
    visible = [signal for signal in report.signals if signal.candle_opened_at in index_of]
    low, high = axes.get_ylim()
    distance = (high - low) * 0.015
    for (rule, direction), (marker, colour, name) in _MARKERS.items():
        found = [signal for signal in visible if signal.rule is rule and signal.direction is direction]
        if not found:
            continue
        # A crossing is marked above or below its candle, a turn on the HMA.
        prices = []
        for signal in found:
            candle = report.rows[index_of[signal.candle_opened_at]].candle
            beyond = candle.low - distance if direction is Direction.UP else candle.high + distance
            prices.append(beyond if rule is Rule.CROSS else signal.hma)
        axes.scatter(
            [index_of[signal.candle_opened_at] for signal in found],
            prices,
            marker=marker,
            s=46 if rule is Rule.CROSS else 26,
            color=colour,
            edgecolors="white",
            linewidths=0.6,
            label=f"{name} ({_count(report, rule, direction)})",
            zorder=4,
        )


def _count(report: ReplayReport, rule: Rule, direction: Direction) -> int:
    return sum(signal.rule is rule and signal.direction is direction for signal in report.signals)


def _label_times(axes: Any, rows: Sequence[ReplayRow], shown: range) -> None:
    """Label the first candle of each day, or about ten candles where there are more or fewer days; IST."""
    opened = [rows[index].candle.opened_at.astimezone(IST) for index in shown]
    starts = [
        index
        for index, (earlier, later) in zip(shown[1:], pairwise(opened), strict=True)
        if earlier.date() != later.date()
    ]
    if 2 <= len(starts) <= 2 * _LABELS:
        for start in starts:
            axes.axvline(start - 0.5, color="#c8ccd6", linewidth=0.8, zorder=0)
        labelled = starts
    else:
        labelled = list(shown[:: max(1, len(shown) // _LABELS)])
    names = [f"{rows[index].candle.opened_at.astimezone(IST):%d %b %y\n%H:%M}" for index in labelled]
    axes.set_xticks(labelled, names)
