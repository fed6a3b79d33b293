"""Reads candles from CSV files, for ``hullwatch replay`` and for the simulator's ``--candles``."""

from hullwatch.candle_files.cells import parse_timezone
from hullwatch.candle_files.checks import FileCheck, check_candles
from hullwatch.candle_files.reader import CandleFile, RefusedLine, read_candle_file, read_candles

__all__ = [
    "CandleFile",
    "FileCheck",
    "RefusedLine",
    "check_candles",
    "parse_timezone",
    "read_candle_file",
    "read_candles",
]
