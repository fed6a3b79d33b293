"""Group commit: what many accounts want stored in the same moment goes into one transaction.

A commit for each account would cost two milliseconds of CPU each; at a candle's close two thousand accounts have something to store.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hullwatch.domain.events import AuditEntry
from hullwatch.domain.signals import Signal
from hullwatch.services.ports import StorePort


@dataclass(slots=True)
class _Batch:
    signals: list[Signal] = field(default_factory=list)
    evaluated_through: dict[str, datetime] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    commit: asyncio.Task[frozenset[tuple[str, datetime]]] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.signals or self.evaluated_through or self.audit)


class Journal:
    """Stores signals, how far watches were judged, and audit lines."""

    def __init__(self, store: StorePort) -> None:
        self._store = store
        self._open = _Batch()
        self._turn = asyncio.Lock()

    def note(self, entry: AuditEntry) -> None:
        """Add an audit line to the next commit."""
        self._open.audit.append(entry)

    async def keep(
        self, signals: Sequence[Signal], evaluated_through: Mapping[str, datetime]
    ) -> list[Signal]:
        """Store these and return the signals that were not stored before; on return they are durable.

        Raises:
            StorageUnavailable: Nothing of the batch was kept; give it again later.
        """
        self._open.signals.extend(signals)
        self._open.evaluated_through.update(evaluated_through)
        new = await self._commit(self._open)
        return [signal for signal in signals if (signal.watch_id, signal.candle_opened_at) in new]

    async def flush(self) -> None:
        """Store what was only noted so far.

        Raises:
            StorageUnavailable: Nothing was kept; it waits for the next commit.
        """
        if not self._open.is_empty:
            await self._commit(self._open)

    async def _commit(self, batch: _Batch) -> frozenset[tuple[str, datetime]]:
        """Commit a batch once for all who share it: the first in turn does it, the others find it done."""
        async with self._turn:
            if batch.commit is None:
                self._open = _Batch()
                batch.commit = asyncio.create_task(self._store_batch(batch), name="journal commit")
            # Not awaited directly: a caller that is cancelled must not cancel the commit of the others.
            await asyncio.wait({batch.commit})
        return batch.commit.result()

    async def _store_batch(self, batch: _Batch) -> frozenset[tuple[str, datetime]]:
        new: list[Signal] = []
        is_kept = False
        try:
            async with self._store.begin() as work:
                if batch.signals:
                    new = await work.watches.add_signals(batch.signals)
                if batch.evaluated_through:
                    await work.watches.advance(batch.evaluated_through)
                if batch.audit:
                    await work.audit.add(batch.audit)
                await work.commit()
            is_kept = True
        finally:
            if not is_kept:
                self._open.audit[:0] = batch.audit  # nobody else remembers these lines
        return frozenset((signal.watch_id, signal.candle_opened_at) for signal in new)
