"""Reset links: the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.users.password_resets import PasswordReset
from storage.samples import NOW, add_users, after

RESET = PasswordReset("asha", "boss", NOW, after(60))


@pytest.fixture
async def resets(store):
    """Return a store with two users and three links."""
    await add_users(store, "asha", "biren")
    async with store.begin() as work:
        await work.password_resets.add("hash-1", RESET)
        await work.password_resets.add("hash-2", replace(RESET, requested_by=None, expires_at=after(5)))
        await work.password_resets.add("hash-3", replace(RESET, user_id="biren"))
        await work.commit()
    return store


async def found(store, *, minutes: float = 1) -> list[PasswordReset | None]:
    """Return the three links as they are at that moment."""
    async with store.begin(read_only=True) as work:
        return [await work.password_resets.get(f"hash-{number}", now=after(minutes)) for number in (1, 2, 3)]


async def test_a_link_comes_back_until_it_expires(resets):
    """Also one that no admin created."""
    assert await found(resets) == [
        RESET,
        replace(RESET, requested_by=None, expires_at=after(5)),
        replace(RESET, user_id="biren"),
    ]
    assert await found(resets, minutes=5) == [RESET, None, replace(RESET, user_id="biren")]
    assert await found(resets, minutes=60) == [None, None, None]


async def test_of_many_at_the_same_moment_one_takes_a_link(resets):
    """An expired one is taken by nobody."""

    async def take(value_hash: str, minutes: float = 1) -> PasswordReset | None:
        async with resets.begin() as work:
            taken = await work.password_resets.take(value_hash, now=after(minutes))
            await work.commit()
            return taken

    results = await asyncio.gather(*(take("hash-1") for _ in range(5)))

    assert [result for result in results if result is not None] == [RESET]
    assert await take("hash-2", minutes=5) is None


async def test_links_are_removed_with_the_others_of_a_user(resets):
    """By a new password, with the user, and after their expiry."""
    async with resets.begin() as work:
        await work.password_resets.remove_of("asha")
        await work.commit()
    assert [one is not None for one in await found(resets)] == [False, False, True]

    async with resets.begin() as work:
        await work.password_resets.add("hash-1", RESET)
        await work.users.remove("biren")
        await work.password_resets.purge(now=after(59))
        await work.commit()
    assert [one is not None for one in await found(resets)] == [True, False, False]

    async with resets.begin() as work:
        await work.password_resets.purge(now=after(60))
        await work.commit()
    assert await found(resets, minutes=-10) == [None, None, None]
