"""The candles that a series was built from, and how a later answer differs from them."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import HistoryChange

OVERLAP: Final = 6
"""Candles that each fetch reads again: half an hour of the usual resolution, for the price of no further call."""
_SAME_FACTOR: Final = 0.002
"""Closes of a re-scaled history are rounded to paise, so their factors differ a little."""


class UsedCandles:
    """Openings (epoch seconds) and closes, oldest first; 12 bytes a candle, because a server keeps millions of them."""

    __slots__ = ("_closes", "_openings", "_since")

    def __init__(self) -> None:
        self._openings = array("I")
        self._closes = array("d")
        self._since = 0
        """From when every candle is known, epoch seconds; a candle may come later that is older than the first one."""

    def __len__(self) -> int:
        return len(self._openings)

    def __iter__(self) -> Iterator[tuple[datetime, float]]:
        for opening, close in zip(self._openings, self._closes, strict=True):
            yield datetime.fromtimestamp(opening, UTC), close

    @property
    def last_opened_at(self) -> datetime | None:
        """Opening of the newest candle."""
        return datetime.fromtimestamp(self._openings[-1], UTC) if self._openings else None

    @property
    def last_close(self) -> float | None:
        """Close of the newest candle, INR."""
        return self._closes[-1] if self._closes else None

    @property
    def overlap_start(self) -> datetime | None:
        """Opening of the candle that the next fetch begins with; `None` before the first."""
        if not self._openings:
            return None
        return datetime.fromtimestamp(self._openings[max(0, len(self._openings) - OVERLAP)], UTC)

    def has_opening(self, start: datetime, end: datetime) -> bool:
        """Whether a candle opened in [start, end)."""
        at = bisect_left(self._openings, int(start.timestamp()))
        return at < len(self._openings) and self._openings[at] < end.timestamp()

    def append(self, candle: Candle) -> None:
        """Add a candle that is newer than all others."""
        self._openings.append(int(candle.opened_at.timestamp()))
        self._closes.append(candle.close)

    def replace(self, candles: Sequence[Candle], since: datetime) -> None:
        """Keep these candles instead, oldest first; they are all that opened at `since` or later."""
        self._since = int(since.timestamp())
        self._openings = array("I", [int(candle.opened_at.timestamp()) for candle in candles])
        self._closes = array("d", [candle.close for candle in candles])

    def replace_last_close(self, close: float) -> None:
        """Give the newest candle another close."""
        self._closes[-1] = close

    def trim(self, count: int) -> None:
        """Drop the oldest candles beyond `count`."""
        del self._openings[:-count]
        del self._closes[:-count]
        self._since = max(self._since, self._openings[0])

    def difference(self, candles: Sequence[Candle], start: datetime | None = None) -> HistoryChange | None:
        """Return how an answer differs from the candles in the range that both have.

        An answer without any candle of the range is no evidence of a change: Fyers may have no history at the moment.

        Args:
            candles: Oldest first, each from `start` to the newest used one, or later ones too.
            start: What the range of the call began with; `None` for a call that may reach less far back than the
                used candles.
        """
        used, found = self._in_common(candles, start)
        return None if found == used or not found else _kind(used, found)

    def differs_only_in_last_close(self, candles: Sequence[Candle], start: datetime) -> bool:
        """Whether an answer has the same candles, and another close of the newest one alone."""
        used, found = self._in_common(candles, start)
        if not used or used.keys() != found.keys():
            return False
        return [opening for opening in used if used[opening] != found[opening]] == [self._openings[-1]]

    def _in_common(
        self, candles: Sequence[Candle], start: datetime | None
    ) -> tuple[dict[int, float], dict[int, float]]:
        """Return the used candles and those of an answer in the range that both have, opening → close."""
        if not self._openings or not candles:
            return {}, {}
        first = int((start or candles[0].opened_at).timestamp())
        first, last = max(self._since, first), self._openings[-1]
        at = bisect_left(self._openings, first)
        found = ((int(candle.opened_at.timestamp()), candle.close) for candle in candles)
        return dict(zip(self._openings[at:], self._closes[at:], strict=True)), {
            opening: close for opening, close in found if first <= opening <= last
        }


def _kind(used: dict[int, float], found: dict[int, float]) -> HistoryChange:
    changed = [
        (used[opening], close) for opening, close in found.items() if used.get(opening, close) != close
    ]
    if used.keys() == found.keys():
        factors = [after / before for before, after in changed]
        is_rescaled = len(factors) > 1 and max(factors) - min(factors) <= _SAME_FACTOR * max(factors)
        return HistoryChange.RESCALED if is_rescaled else HistoryChange.CANDLE_CORRECTED
    if not changed and used.keys() < found.keys():
        return HistoryChange.CANDLE_ADDED
    if not changed and used.keys() > found.keys():
        return HistoryChange.CANDLE_REMOVED
    return HistoryChange.OTHER
