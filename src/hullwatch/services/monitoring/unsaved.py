"""What came of one account's cycles and is not stored yet: signals, and how far watches were judged; one never without the other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.signals.signals import Rule, Signal, is_late
from hullwatch.services.monitoring.journal import Journal

_SignalKey = tuple[str, datetime, Rule, Resolution]


@dataclass(slots=True)
class Unsaved:
    """What waits for the database."""

    _signals: dict[_SignalKey, Signal] = field(default_factory=dict)
    _evaluated_through: dict[str, datetime] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether all is stored."""
        return not (self._signals or self._evaluated_through)

    def add(self, signals: Iterable[Signal], evaluated_through: Mapping[str, datetime]) -> None:
        """Have these stored with the next `save`."""
        for signal in signals:
            self._signals[signal.watch_id, signal.candle_opened_at, signal.rule, signal.resolution] = signal
        self._evaluated_through.update(evaluated_through)

    async def save(self, journal: Journal, *, now: datetime) -> None:
        """Store everything; where the database does not answer, or this is cut short, it stays for the next time."""
        if self.is_empty:
            return
        signals = {
            # What the database would not take at the time is announced only now.
            key: replace(signal, is_late=signal.is_late or is_late(signal.candle_closed_at, now))
            for key, signal in self._signals.items()
        }
        evaluated_through = dict(self._evaluated_through)
        try:
            await journal.keep(list(signals.values()), evaluated_through)
        except StorageUnavailable:
            return
        # Only what was stored is forgotten: more may have come meanwhile.
        for key in signals:
            self._signals.pop(key, None)
        for watch_id, moment in evaluated_through.items():
            if self._evaluated_through.get(watch_id) == moment:
                del self._evaluated_through[watch_id]
