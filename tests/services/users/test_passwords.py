"""Password hashes; `hullwatch.services.users.passwords`. The settings are cheap, since argon2 has its own tests."""

from argon2 import PasswordHasher

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
