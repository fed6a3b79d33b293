"""Group commit: what many accounts want stored in the same moment goes into one transaction.

A commit for each account would cost two milliseconds of CPU each; at a candle's close two thousand accounts have something to store.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.signals.signals import Signal
from hullwatch.runtime.clock import Clock
from hullwatch.services.ports import StorePort
from hullwatch.services.texts.notices import compose_signal

GATHER_S: Final = 1.0
"""How long a note waits for others."""


@dataclass(slots=True)
class _Batch:
    signals: list[Signal] = field(default_factory=list)
    evaluated_through: dict[str, datetime] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    commit: asyncio.Task[None] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.signals or self.evaluated_through or self.audit)


class Journal:
    """Stores signals, how far watches were judged, and audit lines; announces each signal that it stored first."""

    def __init__(self, store: StorePort, announce: Callable[[Signal], None]) -> None:
        self._store = store
        self._announce = announce
        self._open = _Batch()
        self._turn = asyncio.Lock()
        self._commits: set[asyncio.Task[None]] = set()
        self._has_notes = asyncio.Event()

    def note(self, entry: AuditEntry) -> None:
        """Add an audit line to the next commit."""
        self._open.audit.append(entry)
        self._has_notes.set()

    async def run(self, clock: Clock, heartbeat: Callable[[], None]) -> None:
        """Store what is noted soon after it was, for ever; what a database does not take is given to it again."""
        while True:
            await self._has_notes.wait()
            await clock.sleep(GATHER_S)
            self._has_notes.clear()
            try:
                await self.flush()
            except StorageUnavailable:
                self._has_notes.set()
            heartbeat()

    async def keep(self, signals: Sequence[Signal], evaluated_through: Mapping[str, datetime]) -> None:
        """Store these; on return they are durable, and those that had not been stored before are announced.

        Raises:
            StorageUnavailable: Nothing of the batch was kept; give it again later.
        """
        self._open.signals.extend(signals)
        for watch_id, moment in evaluated_through.items():
            known = self._open.evaluated_through.get(watch_id)
            self._open.evaluated_through[watch_id] = moment if known is None else max(known, moment)
        await self._commit(self._open)

    async def flush(self) -> None:
        """Store what was only noted so far.

        Raises:
            StorageUnavailable: Nothing was kept; it waits for the next commit.
        """
        if not self._open.is_empty:
            await self._commit(self._open)

    async def _commit(self, batch: _Batch) -> None:
        """Commit a batch once for all who share it; until its turn comes more may join."""
        if batch.commit is None:
            batch.commit = asyncio.create_task(self._store_in_turn(batch), name="journal commit")
            self._commits.add(batch.commit)
            batch.commit.add_done_callback(self._committed)
        # Not awaited directly: a caller that is cancelled must not cancel the commit of the others.
        await asyncio.wait({batch.commit})
        batch.commit.result()

    def _committed(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when everybody who waited for it has left

    async def _store_in_turn(self, batch: _Batch) -> None:
        async with self._turn:
            self._open = _Batch()
            is_kept = False
            try:
                new = await self._store_batch(batch)
                is_kept = True
            finally:
                if not is_kept:
                    self._open.audit[:0] = batch.audit  # nobody else remembers these lines
            for signal in new:
                self._announce(signal)

    async def _store_batch(self, batch: _Batch) -> list[Signal]:
        new: list[Signal] = []
        async with self._store.begin() as work:
            if batch.signals:
                new = await work.watches.add_signals(batch.signals)
                await work.notifications.add_carried([compose_signal(signal) for signal in new])
            if batch.evaluated_through:
                await work.watches.advance(batch.evaluated_through)
            if batch.audit:
                await work.audit.add(batch.audit)
            await work.commit()
        return new
