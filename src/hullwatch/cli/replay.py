"""``hullwatch replay``: the signals of a file of candles, by the rules of live monitoring."""

import csv
import os
import secrets
import sys
from collections.abc import Callable
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from hullwatch.cli.output import (
    CommandFailed,
    iso,
    print_json,
    print_line,
    print_note,
    print_table,
    time_cell,
)
from hullwatch.domain.failures import InvalidInput

if TYPE_CHECKING:
    from hullwatch.candle_files import CandleFile
    from hullwatch.domain.market.instruments import Resolution, Symbol
    from hullwatch.domain.signals.replay import ReplayReport
    from hullwatch.domain.signals.replay_summary import RuleSummary
    from hullwatch.domain.signals.signals import Rule

T = TypeVar("T")

_MOST_SHOWN: Final = 10
"""Unusable rows that are printed; the others are counted."""
_PICTURE_ENDINGS: Final = frozenset({".png", ".svg", ".pdf"})
_CSV_COLUMNS: Final = (
    "symbol",
    "resolution",
    "period",
    "rule",
    "direction",
    "candle_opened_at",
    "candle_closed_at",
    "close",
    "hma",
)


class RuleChoice(StrEnum):
    """The rules that `--rule` accepts."""

    CROSS = "cross"
    TURN = "turn"
    BOTH = "both"


def parse_picture(text: str) -> Path:
    """Read the name of the picture file from the command line."""
    path = Path(text)
    if path.suffix.lower() not in _PICTURE_ENDINGS:
        raise typer.BadParameter("the file name must end in .png, .svg or .pdf")
    return path


def parse_zone(text: str) -> tzinfo:
    """Read a time zone from the command line."""
    from hullwatch.candle_files import parse_timezone

    return _usable(parse_timezone, text, "--timezone")


def replay(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", help="Candles, as Fyers, Kite, TradingView or yfinance export them."
        ),
    ],
    symbol: Annotated[str, typer.Option(help="Symbol of the candles, such as NSE:SBIN-EQ.")],
    period: Annotated[int, typer.Option(min=2, max=1000, help="HMA period in candles.")] = 55,
    resolution: Annotated[str, typer.Option(help="Resolution of the candles: minutes, or 1D.")] = "5",
    rule: Annotated[RuleChoice, typer.Option(help="Rules to apply.")] = RuleChoice.BOTH,
    csv_out: Annotated[
        Path | None, typer.Option("--csv", metavar="OUT", help="Also write the signals to this file.")
    ] = None,
    plot_out: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="OUT.png",
            parser=parse_picture,
            help="Draw the candles, the HMA and the signals.",
        ),
    ] = None,
    timezone: Annotated[
        tzinfo | None,
        typer.Option(parser=parse_zone, metavar="ZONE", help="Zone of times that have none; IST by default."),
    ] = None,
    allow_gaps: Annotated[
        bool,
        typer.Option(
            "--allow-gaps", help="Replay in spite of missing sessions or rows of another resolution."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the signals that a file of closed candles would have given."""
    for out in (csv_out, plot_out):
        if out is not None and out.resolve() == file.resolve():
            raise typer.BadParameter("this is the file of candles; choose another file for the result")
    draw = _load_drawing() if plot_out else None
    known_symbol, known_resolution, rules = _request(symbol, resolution, rule)
    candles = _read(file, known_resolution, timezone)
    _check(candles, known_symbol, known_resolution, allow_gaps=allow_gaps)
    report, summaries = _replay(candles, known_symbol, period, known_resolution, rules)
    if csv_out:
        _write_whole(csv_out, lambda path: _write_csv(path, report))
    if plot_out and draw:
        _write_whole(plot_out, lambda path: draw(report, path))
    if as_json:
        print_json(_as_json(report, summaries))
    else:
        _print(report, summaries)


def _request(symbol: str, resolution: str, rule: RuleChoice) -> "tuple[Symbol, Resolution, tuple[Rule, ...]]":
    from hullwatch.domain.market.instruments import Resolution, Symbol
    from hullwatch.domain.signals.signals import Rule

    known_symbol = _usable(Symbol.parse, symbol, "--symbol")
    known_resolution = _usable(Resolution.parse, resolution, "--resolution")
    return known_symbol, known_resolution, tuple(Rule) if rule is RuleChoice.BOTH else (Rule(rule.value),)


def _replay(
    file: "CandleFile", symbol: "Symbol", period: int, resolution: "Resolution", rules: "tuple[Rule, ...]"
) -> "tuple[ReplayReport, tuple[RuleSummary, ...]]":
    from hullwatch.domain.signals.replay import replay as replay_candles
    from hullwatch.domain.signals.replay_summary import summarise

    report = replay_candles(file.candles, symbol, period, resolution, rules)
    return report, summarise(report, rules)


def _usable(parse: Callable[[Any], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except InvalidInput as refusal:
        raise typer.BadParameter(str(refusal), param_hint=option) from None


def _read(file: Path, resolution: "Resolution", timezone: tzinfo | None) -> "CandleFile":
    """Return the candles of a file. An unusable row refuses it, because signals across a gap would be wrong."""
    from hullwatch.candle_files import read_candle_file
    from hullwatch.domain.market.calendar import IST

    if sys.stderr.isatty():
        print_note(f"Reading {file} …")
    try:
        found = read_candle_file(file, resolution.length, timezone or IST)
    except InvalidInput as refusal:
        raise CommandFailed(f"{file} cannot be used. {refusal}") from None
    if found.refused:
        for row in found.refused[:_MOST_SHOWN]:
            print_note(f"line {row.line}: {row.sentence}")
        if len(found.refused) > _MOST_SHOWN:
            print_note(f"… and {len(found.refused) - _MOST_SHOWN} more")
        many = len(found.refused)
        raise CommandFailed(
            f"{many} row{'s' if many > 1 else ''} of {file} cannot be used. Nothing was replayed or written."
        )
    if not found.candles:
        raise CommandFailed(f"{file} contains no candles.")
    return found


def _check(file: "CandleFile", symbol: "Symbol", resolution: "Resolution", *, allow_gaps: bool) -> None:
    """Print what does not match the calendar, and refuse a file with gaps unless they are allowed."""
    from hullwatch.candle_files import check_candles
    from hullwatch.domain.market.calendar import nse_calendar

    check = check_candles(file, resolution.length, nse_calendar().for_symbol(symbol))
    for sentence in (*file.notes, *check.notes, *(check.reasons if allow_gaps else ())):
        print_note(f"Note: {sentence}")
    if check.reasons and not allow_gaps:
        raise CommandFailed(
            f"{' '.join(check.reasons)} Nothing was replayed. --allow-gaps replays it anyway."
        )


def _print(report: "ReplayReport", summaries: "tuple[RuleSummary, ...]") -> None:
    rows = [
        (
            time_cell(signal.candle_opened_at),
            time_cell(signal.candle_closed_at),
            signal.rule.value,
            signal.direction.value,
            f"{signal.close:.2f}",
            f"{signal.hma:.4f}",
        )
        for signal in report.signals
    ]
    print_table(("Candle opened", "Candle closed", "Rule", "Direction", "Close", "HMA"), rows)
    print_line(
        f"{report.symbol}, resolution {report.resolution}, HMA {report.period}: "
        f"{len(report.rows)} candles, {len(report.signals)} signals."
    )
    for summary in summaries:
        print_line(_summary_line(summary))
    for sentence in report.notes:
        print_note(f"Note: {sentence}")


def _summary_line(summary: "RuleSummary") -> str:
    """Return the figures of one rule in one line."""
    from hullwatch.domain.signals.replay_summary import MOVE_CANDLES, WHIPSAW_CANDLES

    moves = ", ".join(
        f"{_percent(move)} after {candles} candles"
        for candles, move in zip(MOVE_CANDLES, summary.median_moves, strict=True)
    )
    return (
        f"  {summary.rule.value}: {summary.signals_per_day:.1f} signals a day over {summary.days} day{'' if summary.days == 1 else 's'}; "
        f"{summary.whipsaws} of {summary.signals} reversed within {WHIPSAW_CANDLES} candles; "
        f"median move in the signal's direction {moves}."
    )


def _percent(move: float | None) -> str:
    return "none" if move is None else f"{round(move, 2) + 0.0:+.2f} %"  # + 0.0 turns -0.0 into 0.0


def _summary_json(summary: "RuleSummary") -> dict[str, Any]:
    from hullwatch.domain.signals.replay_summary import MOVE_CANDLES

    moves = zip(MOVE_CANDLES, summary.median_moves, strict=True)
    return {
        "rule": summary.rule.value,
        "signals": summary.signals,
        "days": summary.days,
        "signalsPerDay": round(summary.signals_per_day, 2),
        "whipsaws": summary.whipsaws,
        "medianMovePercent": {str(candles): move for candles, move in moves},
    }


def _as_json(report: "ReplayReport", summaries: "tuple[RuleSummary, ...]") -> dict[str, Any]:
    return {
        "symbol": report.symbol.text,
        "resolution": report.resolution.code,
        "period": report.period,
        "candles": len(report.rows),
        "signals": [
            {
                "rule": signal.rule.value,
                "direction": signal.direction.value,
                "candleOpenedAt": iso(signal.candle_opened_at),
                "candleClosedAt": iso(signal.candle_closed_at),
                "close": signal.close,
                "hma": signal.hma,
            }
            for signal in report.signals
        ],
        "summary": [_summary_json(summary) for summary in summaries],
        "notes": list(report.notes),
    }


def _write_csv(path: Path, report: "ReplayReport") -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_CSV_COLUMNS)
        for signal in report.signals:
            writer.writerow(
                (
                    signal.symbol.text,
                    signal.resolution.code,
                    signal.period,
                    signal.rule.value,
                    signal.direction.value,
                    iso(signal.candle_opened_at),
                    iso(signal.candle_closed_at),
                    repr(signal.close),
                    repr(signal.hma),
                )
            )


def _load_drawing() -> "Callable[[ReplayReport, Path], None]":
    """Return the drawing function.

    Raises:
        CommandFailed: matplotlib is not installed.
    """
    try:
        from hullwatch.cli.replay_chart import draw
    except ImportError:
        raise CommandFailed(
            "Drawing needs matplotlib. "
            "Install it into the same environment with pip install 'hullwatch[plot]'."
        ) from None
    return draw


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file completely or not at all: to a draft in the same folder, which is then renamed."""
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        write(draft)
        os.replace(draft, path)  # noqa: PTH105 - the same as Path.replace, with both names in its errors
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
