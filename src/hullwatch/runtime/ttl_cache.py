"""A cache with a time limit and a size limit."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from hullwatch.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CachedItem(NamedTuple, Generic[K, V]):
    """A cached value and the seconds since it was put."""

    key: K
    value: V
    age_s: float


class TtlCache(Generic[K, V]):
    """A map whose entries expire `ttl_s` seconds after they were put; when it is full, the oldest is dropped.

    Attributes:
        hits: `get` calls that found a value.
        misses: `get` calls that did not.
    """

    def __init__(self, clock: Clock, ttl_s: float, max_entries: int) -> None:
        if ttl_s <= 0 or max_entries < 1:
            raise ValueError("a cache needs room for one entry and a time above 0")
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        # All entries have the same lifetime, so they expire in the order of `put`.
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: K) -> V | None:
        """Return the value of the key; None when there is none or it has expired."""
        self._drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Cache the value from now on."""
        self._drop_expired()
        self._entries.pop(key, None)
        if len(self._entries) >= self._max_entries:
            self._entries.popitem(last=False)
        self._entries[key] = (self._clock.monotonic(), value)

    def discard(self, key: K) -> None:
        """Remove the key, if it is there."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove everything; hits and misses keep their counts."""
        self._entries.clear()

    def items(self) -> tuple[CachedItem[K, V], ...]:
        """Return the present entries, oldest first; this counts as neither hit nor miss."""
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
        """Drop expired entries from the old end, in constant time on average."""
        expired_before = self._clock.monotonic() - self._ttl_s
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key][0] > expired_before:
                return
            del self._entries[key]
