"""Bounds of Fyers' clock, from the ``Date`` headers of its answers."""

from calendar import timegm
from collections import deque
from dataclasses import dataclass
from email.utils import parsedate
from typing import Final

from hullwatch.domain.market.clock_offset import ClockOffset

KEPT_FOR_S: Final = 300.0
"""Answers that are older say nothing any more: clocks drift and are corrected."""
PART_S: Final = 30.0
"""Answers are kept as one intersection for each part of this length."""
DRIFT_S: Final = 0.05
"""How far two clocks may drift apart within `KEPT_FOR_S` (160 ppm; a computer has 20 to 100)."""
FAR_FROM_S: Final = 600.0
"""A ``Date`` that is further from this server's clock can be the nonsense of a proxy, or the clock is wrong."""
FAR_SPAN_S: Final = 10.0
"""For so long such answers have to agree with each other before they are used."""
FIRST_ANSWERS: Final = 3
"""Answers that agree before an offset is given."""
STEP_ANSWERS: Final = 3
"""Answers that agree with each other, but not with the bounds, before they replace the bounds."""
STEP_SPAN_S: Final = 2.0
"""The least time between the first and the last of them: a cached ``Date`` agrees with itself for a second."""
STEP_SHARE: Final = 0.25
"""The least share of such answers among all since the first of them."""


@dataclass(slots=True)
class _Bounds:
    """Fyers' time minus the monotonic time of this server, in seconds; from answers since `since_s`."""

    since_s: float
    lowest: float
    highest: float
    answers: int = 1
    others: int = 0
    """Answers meanwhile that did not agree."""

    def agrees_with(self, lowest: float, highest: float) -> bool:
        return lowest <= self.highest + DRIFT_S and self.lowest - DRIFT_S <= highest

    def add(self, lowest: float, highest: float) -> None:
        self.lowest, self.highest = max(self.lowest, lowest), min(self.highest, highest)
        self.answers += 1


class FyersClock:
    """The intersection of what the recent answers say about Fyers' clock.

    ``Date`` names a whole second (RFC 9110, section 6.6.1). At some moment between the sending and the
    answer Fyers' time was in [Date, Date + 1 s). Monotonic time is used, so that a correction of this
    server's clock changes nothing.
    """

    def __init__(self) -> None:
        self._parts: deque[_Bounds] = deque()
        self._all: _Bounds | None = None
        """The intersection of all parts."""
        self._step: _Bounds | None = None
        self._last_date = ("", 0)

    def record(self, date: str, *, sent_s: float, received_s: float, now: float) -> None:
        """Record an answer, sent and received in monotonic seconds; `now` is the receipt in epoch seconds."""
        second = self._read(date)
        if second is None or received_s < sent_s:
            return
        lowest, highest = second - received_s, second + 1 - sent_s
        is_far = abs(second - now) > FAR_FROM_S + received_s - sent_s
        bounds = self._bounds(received_s)
        # What agrees with earlier answers is not far: then this server's clock was set meanwhile.
        if not is_far if bounds is None else bounds.agrees_with(lowest, highest):
            self._add(received_s, lowest, highest)
            if self._step is not None:
                self._step.others += 1
        else:
            self._record_contradiction(received_s, lowest, highest, FAR_SPAN_S if is_far else STEP_SPAN_S)

    def offset(self, *, now_s: float, now: float) -> ClockOffset | None:
        """Return the offset from this server's clock, which shows `now` at `now_s`; `None` if unknown."""
        bounds = self._bounds(now_s)
        if bounds is None or bounds.answers < FIRST_ANSWERS:
            return None
        shown = now - now_s
        lowest, highest = sorted((bounds.lowest, bounds.highest))  # they can cross by the drift
        return ClockOffset(lowest - DRIFT_S - shown, highest + DRIFT_S - shown)

    def _add(self, now_s: float, lowest: float, highest: float) -> None:
        if self._parts and now_s - self._parts[-1].since_s < PART_S:
            self._parts[-1].add(lowest, highest)
        else:
            self._parts.append(_Bounds(now_s, lowest, highest))
        if self._all is None:
            self._intersect()
        else:
            self._all.add(lowest, highest)

    def _record_contradiction(self, now_s: float, lowest: float, highest: float, span_s: float) -> None:
        step = self._step
        if step is None or now_s - step.since_s > PART_S or not step.agrees_with(lowest, highest):
            self._step = _Bounds(now_s, lowest, highest)
            return
        step.add(lowest, highest)
        is_step = step.answers >= max(STEP_ANSWERS, STEP_SHARE * (step.answers + step.others))
        if is_step and now_s - step.since_s >= span_s:
            step.since_s = now_s
            self._parts, self._step = deque([step]), None
            self._intersect()

    def _bounds(self, now_s: float) -> _Bounds | None:
        parts = self._parts
        if parts and now_s - parts[0].since_s > KEPT_FOR_S:
            while parts and now_s - parts[0].since_s > KEPT_FOR_S:
                parts.popleft()
            self._intersect()
        return self._all

    def _intersect(self) -> None:
        parts = self._parts
        self._all = None
        if parts:
            self._all = _Bounds(
                parts[0].since_s,
                max(part.lowest for part in parts),
                min(part.highest for part in parts),
                sum(part.answers for part in parts),
            )

    def _read(self, date: str) -> int | None:
        # Thousands of answers share a second.
        if date != self._last_date[0]:
            try:
                parsed = parsedate(date)
                self._last_date = (date, timegm(parsed) if parsed is not None else 0)
            except (ValueError, OverflowError, TypeError):
                self._last_date = (date, 0)
        return self._last_date[1] or None
