"""Runs a task once for all concurrent callers of the same key."""

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
    """Callers of one key share one running task; a call after its end starts a new one."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}
        self._abandoned: set[asyncio.Task[V]] = set()  # the event loop keeps only weak references

    def __len__(self) -> int:
        """Return the number of keys with a running task."""
        return len(self._flights)

    async def run(self, key: K, coroutine_function: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the task for this key; start the task unless it is running.

        The task is cancelled when all of its callers were cancelled.

        Raises:
            Exception: what the task raised, for all of its callers.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._start(key, coroutine_function)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._cancel(key, flight)

    def _start(self, key: K, coroutine_function: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        flight = self._flights[key] = _Flight(
            asyncio.create_task(coroutine_function(), name=f"flight {key!r}")
        )

        def finished(task: asyncio.Task[V]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            self._abandoned.discard(task)
            if not task.cancelled():
                task.exception()  # retrieved even when all callers were cancelled

        flight.task.add_done_callback(finished)
        return flight

    def _cancel(self, key: K, flight: _Flight[V]) -> None:
        # The key is free at once: the next caller must not join a task that is being cancelled.
        if self._flights.get(key) is flight:
            del self._flights[key]
        self._abandoned.add(flight.task)
        flight.task.cancel()
