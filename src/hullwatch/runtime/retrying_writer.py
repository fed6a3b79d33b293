"""A queue whose items are written in order and in batches, and again until the write succeeds."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final, Generic, TypeVar

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.clock import Clock

Item = TypeVar("Item")

RETRY_BACKOFF: Final = Backoff(first_s=0.5, factor=2, max_s=30, jitter=0.25)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item]):
    number: int
    item: Item


class RetryingWriter(Generic[Item]):
    """Writes queued items: one batch at a time, in the order of `add`.

    `add` only queues. A caller that needs the items stored awaits `flush` or `try_flush`. A job that calls
    `run` writes what nobody flushed and retries what failed.

    `write(batch)` stores the whole batch in one transaction or raises. On return the batch counts as
    written and leaves the queue; what follows from a commit, such as publishing, belongs at the end of
    `write`. When it raises, the batch stays queued. `write` runs in a task of its own, so that a cancelled
    caller does not cut a commit short.

    Items with a key are merged: `add` replaces the queued item of the same key, in its place. To keep parts
    of the old item, read it with `queued(key)` and add the merged one. An item that is replaced while it is
    being written stays queued in its new form, so keyed items must be safe to write twice.

    After `retry_on`, `run` waits by `backoff` and tries again; every other exception is a defect, which `run`
    raises. It waits `gather_s` seconds for further items before it writes. `flush` never waits.
    """

    def __init__(
        self,
        write: Callable[[list[Item]], Awaitable[None]],
        *,
        retry_on: type[Exception],
        clock: Clock,
        random: Random,
        max_batch: int = 200,
        backoff: Backoff = RETRY_BACKOFF,
        gather_s: float = 0.0,
    ) -> None:
        if max_batch < 1:
            raise ValueError("a batch holds at least one item")
        self._write = write
        self._retry_on = retry_on
        self._clock = clock
        self._random = random
        self._max_batch = max_batch
        self._backoff = backoff
        self._gather_s = gather_s
        self._queue: dict[Hashable, _Entry[Item]] = {}
        self._last_number = 0
        self._has_items = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """How many items are not written yet, those of a write under way included."""
        return len(self._queue)

    def add(self, item: Item, *, key: Hashable | None = None) -> None:
        """Queue an item, or replace the queued item of the same key."""
        self._last_number += 1
        if key is None:
            key = object()
        queued = self._queue.get(key)
        self._queue[key] = _Entry(queued.number if queued else self._last_number, item)
        self._has_items.set()

    def queued(self, key: Hashable) -> Item | None:
        """Return the item of this key that is not written yet."""
        entry = self._queue.get(key)
        return entry.item if entry else None

    def discard(self, key: Hashable) -> None:
        """Drop the queued item of this key; a write under way may still store it."""
        self._queue.pop(key, None)
        self._rest_if_empty()

    async def flush(self) -> None:
        """Write what is queued now. Items that are added meanwhile do not prolong the call.

        Raises:
            Exception: the failure of `write`, `retry_on` included. What was not written stays queued.
        """
        last_number = self._last_number
        while self._queue and next(iter(self._queue.values())).number <= last_number:
            if self._writing is None:
                self._writing = asyncio.create_task(self._write_batch(), name="retrying writer")
                self._writing.add_done_callback(self._written)
            writing = self._writing
            # Not awaited directly: the cancellation of this caller would cancel the write of all callers.
            await asyncio.wait({writing})
            writing.result()

    async def try_flush(self) -> bool:
        """Write what is queued now; return False when it has to be retried later."""
        try:
            await self.flush()
        except self._retry_on:
            return False
        return True

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Write each item soon after it was added, and retry with backoff, for ever.

        Args:
            heartbeat: called after each attempt that left nothing to retry.
        """
        failures = 0
        while True:
            await self._has_items.wait()
            if self._gather_s:
                await self._clock.sleep(self._gather_s)
            if await self.try_flush():
                failures = 0
                heartbeat()
            else:
                failures += 1
                await self._clock.sleep(self._backoff.delay(failures, self._random))

    async def _write_batch(self) -> None:
        batch = list(islice(self._queue.items(), self._max_batch))
        await self._write([entry.item for _, entry in batch])
        for key, entry in batch:
            if self._queue.get(key) is entry:  # not replaced while it was written
                del self._queue[key]
        self._rest_if_empty()

    def _rest_if_empty(self) -> None:
        if not self._queue:
            self._has_items.clear()

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled():
            task.exception()  # retrieved even when every caller was cancelled
