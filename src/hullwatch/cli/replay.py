"""``hullwatch replay``: the signals of a file of candles, by the rules of live monitoring."""

import csv
import os
import secrets
import sys
from collections.abc import Callable
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
    from hullwatch.domain.market.candles import Candle
    from hullwatch.domain.signals.replay import ReplayReport

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


def replay(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Columns timestamp,open,high,low,close,volume.")
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the signals that a file of closed candles would have given."""
    for out in (csv_out, plot_out):
        if out is not None and out.resolve() == file.resolve():
            raise typer.BadParameter("this is the file of candles; choose another file for the result")
    draw = _load_drawing() if plot_out else None
    report = _replay(file, symbol, period, resolution, rule)
    if csv_out:
        _write_whole(csv_out, lambda path: _write_csv(path, report))
    if plot_out and draw:
        _write_whole(plot_out, lambda path: draw(report, path))
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)


def _replay(file: Path, symbol: str, period: int, resolution: str, rule: RuleChoice) -> "ReplayReport":
    from hullwatch.domain.market.instruments import Resolution, Symbol
    from hullwatch.domain.signals.replay import replay as replay_candles
    from hullwatch.domain.signals.signals import Rule

    known_symbol = _usable(Symbol.parse, symbol, "--symbol")
    known_resolution = _usable(Resolution.parse, resolution, "--resolution")
    rules = tuple(Rule) if rule is RuleChoice.BOTH else (Rule(rule.value),)
    if sys.stderr.isatty():
        print_note(f"Reading {file} …")
    return replay_candles(_read(file), known_symbol, period, known_resolution, rules)


def _usable(parse: Callable[[object], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except InvalidInput as refusal:
        raise typer.BadParameter(str(refusal), param_hint=option) from None


def _read(file: Path) -> "tuple[Candle, ...]":
    """Return the candles of a file. An unusable row refuses it, because signals across a gap would be wrong."""
    from hullwatch.domain.signals.replay import read_candle_file

    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = read_candle_file(line.rstrip("\r\n") for line in lines)
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not UTF-8 text.") from None
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
    return found.candles


def _print(report: "ReplayReport") -> None:
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
    for sentence in report.notes:
        print_note(f"Note: {sentence}")


def _as_json(report: "ReplayReport") -> dict[str, Any]:
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
