"""Stores what monitoring produces, for many accounts in one transaction."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.events import SignalsCorrected
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.signals.corrections import Recomputation
from hullwatch.domain.signals.signals import Rule, Signal, is_late
from hullwatch.runtime.retrying_writer import RetryingWriter
from hullwatch.services.context import Context
from hullwatch.services.monitoring.corrections import AppliedCorrections, apply_corrections
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.notices import compose_signal

GATHER_S: Final = 1.0
"""How long an audit entry waits for others."""
_MAX_BATCH: Final = 10_000
"""At a candle's close each of 2,000 accounts has something to store; a commit for each would cost 2 ms of CPU."""

_SignalKey = tuple[str, datetime, Rule, Resolution]


@dataclass(frozen=True, slots=True)
class _Results:
    """Signals and evaluation progress of one account; always stored together."""

    signals: Mapping[_SignalKey, Signal]
    evaluated_through: Mapping[str, datetime]
    """Watch id → close of the last candle that was evaluated."""
    recomputed: Mapping[str, Recomputation] = field(default_factory=dict)
    """Watch id → the signals on fresh history; stored ones are corrected after `signals` were stored."""

    def with_more(self, signals: Iterable[Signal], evaluated_through: Mapping[str, datetime]) -> "_Results":
        progress = dict(self.evaluated_through)
        for watch_id, moment in evaluated_through.items():
            progress[watch_id] = max(moment, progress.get(watch_id, moment))
        added = {(one.watch_id, one.candle_opened_at, one.rule, one.resolution): one for one in signals}
        return replace(self, signals={**self.signals, **added}, evaluated_through=progress)


class Journal:
    """Queues signals, evaluation progress and audit entries until the database has stored them."""

    def __init__(self, context: Context, on_signal_stored: Callable[[Signal], None]) -> None:
        """`on_signal_stored` is called once for each signal that was not stored before."""
        self._store = context.store
        self._clock = context.clock
        self._calendar = context.calendar
        self._hub = context.hub
        self._new_id = context.new_id
        self._on_signal_stored = on_signal_stored
        self._writer: RetryingWriter[AuditEntry | _Results] = RetryingWriter(
            self._write,
            retry_on=StorageUnavailable,
            clock=context.clock,
            random=context.random,
            max_batch=_MAX_BATCH,
            gather_s=GATHER_S,
        )
        self._log = structlog.get_logger(component="MonitoringService")
        self.run = self._writer.run
        self.flush = self._writer.flush
        self.try_flush = self._writer.try_flush

    def add_entry(self, entry: AuditEntry) -> None:
        """Queue an audit entry."""
        self._writer.add(entry)

    def add_results(
        self, user_id: str, signals: Iterable[Signal], evaluated_through: Mapping[str, datetime]
    ) -> None:
        """Queue an account's signals with how far its watches were evaluated, watch id → close."""
        queued = self._writer.queued(user_id)
        before = queued if isinstance(queued, _Results) else _Results({}, {})
        self._writer.add(before.with_more(signals, evaluated_through), key=user_id)

    def add_corrections(self, user_id: str, recomputed: Iterable[Recomputation]) -> None:
        """Queue what an account's watches give on changed history, so that stored signals are made to agree.

        The stored signals are read and compared in the transaction that stores the corrections: a call that
        is repeated, also after a crash, changes nothing the second time. All recomputations of an account
        that are stored together are one correction, with one notice. A newer recomputation of a watch
        replaces a queued one. Await `flush` or `try_flush` to have the corrections stored.
        """
        queued = self._writer.queued(user_id)
        before = queued if isinstance(queued, _Results) else _Results({}, {})
        newer = {one.watch_id: one for one in recomputed}
        self._writer.add(replace(before, recomputed={**before.recomputed, **newer}), key=user_id)

    def has_unsaved(self, user_id: str) -> bool:
        """Whether results of the account are not stored yet."""
        return self._writer.queued(user_id) is not None

    def discard(self, user_id: str) -> None:
        """Drop the results of a removed account."""
        self._writer.discard(user_id)

    async def _write(self, batch: list[AuditEntry | _Results]) -> None:
        now = self._clock.now()
        signals: list[Signal] = []
        evaluated_through: dict[str, datetime] = {}
        recomputed: list[Recomputation] = []
        entries: list[AuditEntry] = []
        for item in batch:
            if isinstance(item, AuditEntry):
                entries.append(item)
                continue
            # What waited for the database reaches its user late, although it was found in time.
            signals += [
                replace(one, is_late=one.is_late or is_late(one.candle_closed_at, now))
                for one in item.signals.values()
            ]
            evaluated_through.update(item.evaluated_through)
            recomputed += item.recomputed.values()
        applied = AppliedCorrections()
        new: list[Signal] = []
        async with self._store.begin() as work:
            if signals:
                new = await work.watches.add_signals(signals)
                await work.notifications.add_carried([compose_signal(signal) for signal in new])
            if recomputed:
                applied = await apply_corrections(
                    work, recomputed, calendar=self._calendar, now=now, new_id=self._new_id
                )
            if evaluated_through:
                await work.watches.advance(evaluated_through)
            if entries:
                await work.audit.add(entries)
            await work.commit()
        for signal in (*new, *applied.added):
            self._on_signal_stored(signal)
        self._publish(applied)

    def _publish(self, applied: AppliedCorrections) -> None:
        updated: dict[str, list[Signal]] = defaultdict(list)
        for signal in applied.updated:
            updated[signal.user_id].append(signal)
        for user_id, signals in updated.items():
            self._hub.publish(user_id, SignalsCorrected(user_id, tuple(signals)))
            withdrawn = sum(signal.withdrawn_at is not None for signal in signals)
            self._log.info("signals.corrected", user_id=user_id, signals=len(signals), withdrawn=withdrawn)
        publish_notices(self._hub, *applied.digests)
