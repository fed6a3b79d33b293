"""Password hashes; `hullwatch.services.users.passwords`. The settings are cheap, since argon2 has its own tests."""

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from hullwatch.domain.failures import TooManyAttempts
from hullwatch.services.users.passwords import ArgonHasher


def cheap(**settings) -> PasswordHasher:
    """Return settings that cost nothing."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, **settings)


async def test_password_fits_its_own_hash_only():
    """A password fits the hash made of it; others, nonsense hashes and no hash fit nothing."""
    hasher = ArgonHasher(cheap())
    password_hash = await hasher.hash("correct horse")

    assert await hasher.is_match("correct horse", password_hash)
    assert not await hasher.is_match("wrong horse", password_hash)
    assert not await hasher.is_match("correct horse", "not a hash")
    assert not await hasher.is_match("correct horse", None)
    assert "correct horse" not in password_hash


async def test_odd_characters_are_passwords_too():
    """NUL and half a character are no reason to crash."""
    hasher = ArgonHasher(cheap())

    for password in ("nul\x00nul", "half \ud800", "हिंदी पासवर्ड"):
        assert await hasher.is_match(password, await hasher.hash(password))
    assert not await hasher.is_match("nul\x00", await hasher.hash("nul\x00nul"))


async def test_weaker_settings_are_noticed():
    """A hash made with other settings than today's is outdated."""
    old = await ArgonHasher(cheap()).hash("correct horse")

    assert ArgonHasher(cheap(hash_len=24)).is_outdated(old)
    assert not ArgonHasher(cheap()).is_outdated(old)


class Counting(PasswordHasher):
    """Counts how many checks run at once; each waits until the test lets it go."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.lock = threading.Lock()
        self.may_end = threading.Event()
        self.running = self.most = 0

    def hash(self, password, *, salt=None):
        """Wait to be let go, then hash."""
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.may_end.wait(10)
        with self.lock:
            self.running -= 1
        return super().hash(password, salt=salt)


async def test_few_at_once_and_the_queue_is_bounded():
    """Two are hashed at once, a few wait, and further ones are refused."""
    argon = Counting()
    hasher = ArgonHasher(argon, at_once=2, most_waiting=3)
    waiting = [asyncio.create_task(hasher.hash("correct horse")) for _ in range(5)]
    while argon.running < 2:  # noqa: ASYNC110 - the hashing threads know no event of this loop
        await asyncio.sleep(0)

    with pytest.raises(TooManyAttempts) as refused:
        await hasher.hash("one too many")
    argon.may_end.set()
    await asyncio.gather(*waiting)

    assert argon.most == 2
    assert refused.value.retry_after_s > 0
    assert await hasher.hash("now again")
