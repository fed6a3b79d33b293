"""Reads the times and numbers in the cells of a candle file."""

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.calendar import IST

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}(?:\.[0-9]*)?", re.ASCII)
"""1,234.50 and, as written in India, 1,23,456.50."""
_DECIMAL_COMMA: Final = re.compile(r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+),[0-9]+", re.ASCII)
_EPOCH: Final = re.compile(r"([0-9]{9,10}|[0-9]{12,13})(?:\.0*)?", re.ASCII)
NUMERIC_DATE: Final = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.][0-9]{4}", re.ASCII)
_DAY_FIRST: Final = ("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y")
_MONTH_FIRST: Final = ("%m-%d-%Y %H:%M:%S", "%m-%d-%Y %H:%M", "%m-%d-%Y")
_OTHERS: Final = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y %H:%M",
    "%d-%b-%Y",
    "%a %b %d %Y %H:%M:%S GMT%z",
)
"""Forms that `datetime.fromisoformat` does not read; the last one is what Kite's charts export."""


def parse_timezone(name: str) -> tzinfo:
    """Return the zone of a name such as ``Asia/Kolkata``, ``IST`` or ``UTC``.

    Raises:
        InvalidInput: no such zone is known.
    """
    if name.strip().upper() == "IST":
        return IST
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            "This time zone is not known. Use a name such as Asia/Kolkata, UTC or America/New_York.",
            field="timezone",
        ) from None


def parse_number(text: str, separator: str) -> int | float | None:
    """Return the number in a cell, or `None`.

    A comma is the decimal mark where another character separates the columns, else it groups thousands.
    """
    if "," in text:
        if separator == ",":
            text = text.replace(",", "") if _GROUPED.fullmatch(text) else text
        elif _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.isdigit() else float(text)


class TimeReader:
    """Reads the times of one file. Dates such as 03/04/2024 need the other dates of the file.

    Args:
        times: All time cells of the file.
        zone: The zone of times that have none.
    """

    def __init__(self, times: Iterable[str], zone: tzinfo) -> None:
        self._zone = zone
        dates = [match for text in times if (match := NUMERIC_DATE.match(text))]
        day_first = any(int(date[1]) > 12 for date in dates)
        month_first = any(int(date[2]) > 12 for date in dates)
        self.is_ambiguous = bool(dates) and day_first == month_first
        """Whether the order of day and month cannot be known."""
        self._formats: tuple[str, ...] = (*(_MONTH_FIRST if month_first else _DAY_FIRST), *_OTHERS)

    def read(self, text: str) -> tuple[datetime, bool] | None:
        """Return the aware moment in a cell and whether the cell shows its zone, or `None`.

        Whole numbers are epoch seconds or milliseconds.
        """
        epoch = _EPOCH.fullmatch(text)
        try:
            if epoch:
                divisor = 1000 if len(epoch[1]) > 10 else 1
                return datetime.fromtimestamp(int(epoch[1]) / divisor, IST), True
            moment = self._parse(text)
            if moment is None:
                return None
            has_zone = moment.tzinfo is not None
            if not has_zone:
                moment = moment.replace(tzinfo=self._zone)
            moment.timestamp()
        except (ValueError, OverflowError):
            return None
        return moment, has_zone

    def _parse(self, text: str) -> datetime | None:
        if NUMERIC_DATE.match(text) and self.is_ambiguous:
            return None
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
        text = re.sub(r"[/.](?=[0-9]{1,4}[-/. ]|[0-9]{4}$)", "-", text.partition(" (")[0])
        for index, known in enumerate(self._formats):
            try:
                moment = datetime.strptime(text, known)  # noqa: DTZ007 - the caller adds the zone
            except ValueError:
                continue
            if index:  # the other lines have the same form; trying ten forms for each line is slow
                self._formats = (known, *self._formats[:index], *self._formats[index + 1 :])
            return moment
        return None
