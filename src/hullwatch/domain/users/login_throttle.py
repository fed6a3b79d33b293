"""Limits for login attempts: growing locks for an e-mail address and for a network address.

An attempt on an e-mail address counts as failed when it starts and is taken back when it succeeds, so that many attempts at the same moment
cannot all pass before the first has failed. A network address counts only failed attempts, because a whole office can log in at once from one.
A lock does not concern users who are signed in. Times are seconds of a monotonic clock.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ThrottlePolicy:
    """How many attempts are free, and how the lock grows after them."""

    free_attempts: int
    first_lock_s: float
    longest_lock_s: float
    forgotten_after_s: float = 3600.0
    """A key without attempts for this long starts at zero."""

    def lock_s(self, attempts: int) -> float:
        """Return the lock after this number of failed attempts; each attempt doubles it."""
        beyond = attempts - self.free_attempts
        if beyond < 0:
            return 0.0
        return min(self.longest_lock_s, self.first_lock_s * 2.0 ** min(beyond, 32))


PER_EMAIL: Final = ThrottlePolicy(free_attempts=5, first_lock_s=15.0, longest_lock_s=900.0)
PER_ADDRESS: Final = ThrottlePolicy(free_attempts=30, first_lock_s=15.0, longest_lock_s=900.0)
"""Looser than per e-mail: an office or a mobile network shares one address."""
MOST_KEYS: Final = 10_000
"""Stored keys of each kind; about 2 MB. When full, the key with the oldest attempt is removed."""


@dataclass(slots=True)
class _Record:
    attempts: int
    locked_until: float
    last_at: float


class _Counter:
    """Attempts by key, in bounded memory."""

    def __init__(self, policy: ThrottlePolicy, most_keys: int) -> None:
        self._policy = policy
        self._most_keys = most_keys
        self._records: OrderedDict[Hashable, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def wait_s(self, key: Hashable, now: float) -> float:
        record = self._records.get(key)
        if record is None:
            return 0.0
        if now - record.last_at > self._policy.forgotten_after_s:
            del self._records[key]
            return 0.0
        return max(0.0, record.locked_until - now)

    def count(self, key: Hashable, now: float) -> None:
        record = self._records.setdefault(key, _Record(0, now, now))
        record.attempts += 1
        record.last_at = now
        record.locked_until = now + self._policy.lock_s(record.attempts)
        self._records.move_to_end(key)
        if len(self._records) > self._most_keys:
            self._records.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        self._records.pop(key, None)


class LoginThrottle:
    """Decides whether a login can be tried now; stores only counts."""

    def __init__(
        self,
        *,
        per_email: ThrottlePolicy = PER_EMAIL,
        per_address: ThrottlePolicy = PER_ADDRESS,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._emails = _Counter(per_email, most_keys)
        self._addresses = _Counter(per_address, most_keys)

    def begin(self, email: str, address: str, now: float) -> float:
        """Count an attempt on the e-mail address and return 0, or count nothing and return the seconds to wait."""
        wait_s = max(self._emails.wait_s(email, now), self._addresses.wait_s(network_of(address), now))
        if wait_s == 0:
            self._emails.count(email, now)
        return wait_s

    def failed(self, address: str, now: float) -> None:
        """Count a failed attempt of the network address; the e-mail address was counted at the start."""
        self._addresses.count(network_of(address), now)

    def succeeded(self, email: str) -> None:
        """Forget the attempts on the e-mail address."""
        self._emails.forget(email)

    def __len__(self) -> int:
        """Return the number of stored keys."""
        return len(self._emails) + len(self._addresses)


def network_of(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 network of one IPv6 subscriber."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
