"""Limits for attempts that guess a secret: growing locks for an e-mail address and for a network address.

An attempt is charged when its check begins. A success takes the charge back. A failure keeps it, and after some failures each one starts a lock.
An attempt that was not checked costs nothing. A lock does not concern users who are signed in. Times are seconds of a monotonic clock.
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
"""Stored keys of each kind; about 2 MB."""


@dataclass(slots=True)
class _Record:
    last_at: float
    failed: int = 0
    checking: int = 0
    locked_until: float = 0.0


class AttemptCounter:
    """Attempts by key, in bounded memory."""

    def __init__(self, policy: ThrottlePolicy, most_keys: int = MOST_KEYS) -> None:
        self._policy = policy
        self._most_keys = most_keys
        self._records: OrderedDict[Hashable, _Record] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of stored keys."""
        return len(self._records)

    def wait_s(self, key: Hashable, now: float) -> float:
        """Return the seconds until an attempt may begin."""
        record = self._records.get(key)
        if record is None:
            return 0.0
        if record.checking:
            # As if all of them failed: attempts at the same moment must not all pass before the first one has failed.
            expected_s = self._policy.lock_s(record.failed + record.checking)
            return max(expected_s, record.locked_until - now)
        if now - record.last_at > self._policy.forgotten_after_s:
            del self._records[key]
            return 0.0
        return max(0.0, record.locked_until - now)

    def begin(self, key: Hashable, now: float) -> None:
        """Charge an attempt whose check begins; `fail`, `withdraw` or `succeed` ends it."""
        self._record(key, now).checking += 1

    def fail(self, key: Hashable, now: float) -> None:
        """Keep the charge of an attempt."""
        record = self._record(key, now)
        record.checking = max(0, record.checking - 1)
        record.failed += 1
        record.locked_until = now + self._policy.lock_s(record.failed)

    def count(self, key: Hashable, now: float) -> None:
        """Count an attempt that begins and ends at this moment."""
        self.begin(key, now)
        self.fail(key, now)

    def withdraw(self, key: Hashable) -> None:
        """Take back the charge of an attempt; earlier failures stay."""
        record = self._records.get(key)
        if record is None:
            return
        record.checking = max(0, record.checking - 1)
        if not record.checking and not record.failed:
            del self._records[key]

    def succeed(self, key: Hashable) -> None:
        """Take back the charge of an attempt, and forget the failures before it."""
        if (record := self._records.get(key)) is not None:
            record.failed, record.locked_until = 0, 0.0
            self.withdraw(key)

    def _record(self, key: Hashable, now: float) -> _Record:
        record = self._records.get(key)
        if record is None:
            self._remove_one_if_full(now)
            record = self._records[key] = _Record(now)
        record.last_at = now
        self._records.move_to_end(key)
        return record

    def _remove_one_if_full(self, now: float) -> None:
        if len(self._records) < self._most_keys:
            return
        # A flood of other keys must not end a lock, so locked keys are removed only if there are no others.
        unlocked = (
            key for key, record in self._records.items() if record.locked_until <= now and not record.checking
        )
        del self._records[next(unlocked, next(iter(self._records)))]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password check that has begun."""

    email: str
    network: str
    email_key: Hashable


class LoginThrottle:
    """Decides whether a password can be checked now; stores only counts and addresses.

    A network address from which a user signed in before has a count of its own for this user's e-mail address. Attackers at other addresses
    can lock the e-mail address, but they cannot keep the user at the usual address out.
    """

    def __init__(
        self,
        *,
        per_email: ThrottlePolicy = PER_EMAIL,
        per_address: ThrottlePolicy = PER_ADDRESS,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._emails = AttemptCounter(per_email, most_keys)
        self._addresses = AttemptCounter(per_address, most_keys)
        self._most_keys = most_keys
        self._signed_in: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, email: str, address: str, now: float) -> float:
        """Return the seconds until an attempt may begin."""
        network = network_of(address)
        return max(
            self._emails.wait_s(self._email_key(email, network), now), self._addresses.wait_s(network, now)
        )

    def begin(self, email: str, address: str, now: float) -> Attempt:
        """Charge an attempt that may begin, as `wait_s` reported."""
        network = network_of(address)
        attempt = Attempt(email, network, self._email_key(email, network))
        self._emails.begin(attempt.email_key, now)
        self._addresses.begin(network, now)
        return attempt

    def end(self, attempt: Attempt, *, is_success: bool | None, now: float) -> None:
        """Record the result of an attempt; `None` means that nothing was checked."""
        if is_success is False:
            self._emails.fail(attempt.email_key, now)
            self._addresses.fail(attempt.network, now)
            return
        self._addresses.withdraw(attempt.network)
        if is_success is None:
            self._emails.withdraw(attempt.email_key)
            return
        self._emails.succeed(attempt.email_key)
        self._signed_in[attempt.email, attempt.network] = None
        self._signed_in.move_to_end((attempt.email, attempt.network))
        if len(self._signed_in) > self._most_keys:
            self._signed_in.popitem(last=False)

    def __len__(self) -> int:
        """Return the number of stored keys."""
        return len(self._emails) + len(self._addresses) + len(self._signed_in)

    def _email_key(self, email: str, network: str) -> Hashable:
        return (email, network) if (email, network) in self._signed_in else email


def network_of(address: str, *, ipv6_bits: int = 64) -> str:
    """Return what counts as one caller: an IPv4 address, or the network of one IPv6 subscriber."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), ipv6_bits), strict=False))
