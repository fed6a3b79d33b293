"""Answers remembered for a while, in bounded memory. What may be remembered is the caller's judgement."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from hullwatch.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CachedItem(NamedTuple, Generic[K, V]):
    """One remembered value and the seconds since it was put."""

    key: K
    value: V
    age_s: float


class TtlCache(Generic[K, V]):
    """A map whose entries are gone `ttl_s` seconds after they were put; when full, the oldest makes room.

    Attributes:
        hits: how many `get` calls found a value.
        misses: how many did not.
    """

    def __init__(self, clock: Clock, ttl_s: float, max_entries: int) -> None:
        if ttl_s <= 0 or max_entries < 1:
            raise ValueError("a cache keeps at least one entry for some time")
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        # All entries live equally long, so the order of putting is the order of expiry.
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: K) -> V | None:
        """Return the value put under the key, or None when there is none or it has expired."""
        self._drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Remember the value from now on."""
        self._drop_expired()
        self._entries.pop(key, None)
        if len(self._entries) >= self._max_entries:
            self._entries.popitem(last=False)
        self._entries[key] = (self._clock.monotonic(), value)

    def discard(self, key: K) -> None:
        """Forget the key, if it is there."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything; hits and misses go on counting."""
        self._entries.clear()

    def items(self) -> tuple[CachedItem[K, V], ...]:
        """Return what is remembered now, oldest first, without counting as a look."""
        self._drop_expired()
        now = self._clock.monotonic()
        return tuple(CachedItem(key, value, now - put_at) for key, (put_at, value) in self._entries.items())

    def __len__(self) -> int:
        self._drop_expired()
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        self._drop_expired()
        return iter(tuple(self._entries))

    def _drop_expired(self) -> None:
        """Drop from the old end; every entry is dropped once, so the cost a call is constant on average."""
        expired_before = self._clock.monotonic() - self._ttl_s
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key][0] > expired_before:
                return
            del self._entries[key]
