"""One piece of work for all who ask for the same thing at once. Remembering its result is a cache's work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[V]):
    __slots__ = ("task", "waiters")

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiters = 0


class SingleFlight(Generic[K, V]):
    """Callers of one key share one running task; a call that comes after its end starts a new one."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}
        self._abandoned: set[asyncio.Task[V]] = set()  # the loop alone would not keep them alive

    def __len__(self) -> int:
        """How many keys are being worked on."""
        return len(self._flights)

    async def run(self, key: K, coroutine_function: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the work for this key gives, joining it if it is already under way.

        A caller that is cancelled leaves the work to the others; when the last has left, it is cancelled.

        Raises:
            Exception: whatever the work raised, to everyone who waited for it.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._take_off(key, coroutine_function)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._abandon(key, flight)

    def _take_off(self, key: K, coroutine_function: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        flight = self._flights[key] = _Flight(
            asyncio.create_task(coroutine_function(), name=f"flight {key!r}")
        )

        def land(task: asyncio.Task[V]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            self._abandoned.discard(task)
            if not task.cancelled():
                task.exception()  # seen, even when everyone who would have received it has left

        flight.task.add_done_callback(land)
        return flight

    def _abandon(self, key: K, flight: _Flight[V]) -> None:
        # The key is free at once: whoever comes next must not join work that is being cancelled.
        if self._flights.get(key) is flight:
            del self._flights[key]
        self._abandoned.add(flight.task)
        flight.task.cancel()
