"""Login links: the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.sessions.login_links import LoginLink
from storage.samples import NOW, add_users, after, pending

LINK = LoginLink("asha", 3, "hullwatch", NOW, after(60))


@pytest.fixture
async def links(store):
    """Return a store with two users and one link."""
    await add_users(store, "asha", "biren")
    async with store.begin() as work:
        assert await work.login_links.add("hash-1", LINK)
        await work.commit()
    return store


async def take(
    store, browser: str, *, value_hash: str = "hash-1", minutes: float = 1, keep: bool = True
) -> LoginLink | None:
    """Take a link for a browser."""
    async with store.begin() as work:
        taken = await work.login_links.use(value_hash, browser_hash=browser, now=after(minutes))
        if keep:
            await work.commit()
        return taken


async def find(store, value_hash: str = "hash-1") -> LoginLink | None:
    """Read a link."""
    async with store.begin(read_only=True) as work:
        return await work.login_links.get(value_hash)


async def test_a_link_comes_back_as_stored(links):
    """With the optional fields empty and filled; an unknown one is none."""
    whole = replace(LINK, requested_by="biren", used_at=after(1), browser_hash="browser")
    async with links.begin() as work:
        assert await work.login_links.add("hash-2", whole)
        await work.commit()

    assert await find(links) == LINK
    assert await find(links, "hash-2") == whole
    assert await find(links, "made up") is None


async def test_the_first_browser_takes_it_and_may_again(links):
    """Another browser gets nothing; the moment of the first time stays."""
    first = await take(links, "phone", minutes=1)

    assert first == replace(LINK, used_at=after(1), browser_hash="phone")
    assert await take(links, "laptop", minutes=2) is None
    assert await take(links, "phone", minutes=3) == first
    assert await find(links) == first


async def test_of_browsers_at_the_same_moment_one_is_first(links):
    """Whatever the database, exactly one of them has it."""
    browsers = [f"browser-{number}" for number in range(6)]

    taken = [link for link in await asyncio.gather(*(take(links, name) for name in browsers)) if link]

    assert len(taken) == 1
    assert await find(links) == taken[0]


async def test_an_expired_or_unknown_link_cannot_be_used(links):
    """It has expired at the moment of its expiry, even for the browser that used it."""
    assert await take(links, "phone", minutes=59) is not None

    assert await take(links, "phone", minutes=60) is None
    assert await take(links, "phone", value_hash="made up") is None


async def test_a_link_is_unused_when_the_transaction_is_undone(links):
    """Leaving without commit gives it back to everybody."""
    assert await take(links, "phone", keep=False) is not None

    assert await take(links, "laptop") is not None


async def test_links_of_unknown_users_are_not_stored(links):
    """A user who was removed meanwhile has no links; the rest of the transaction is kept."""
    async with links.begin() as work:
        assert not await work.login_links.add("hash-2", replace(LINK, user_id="gone"))
        assert await work.login_links.add("hash-3", LINK)
        await work.commit()

    assert await find(links, "hash-2") is None
    assert await find(links, "hash-3") == LINK


async def test_open_links_are_counted_by_requester(links):
    """Only unexpired links of the same requester count."""
    async with links.begin() as work:
        await work.login_links.add("hash-2", replace(LINK, requested_by="asha"))
        await work.login_links.add("hash-3", replace(LINK, requested_by="asha", expires_at=after(5)))
        await work.login_links.add("hash-4", replace(LINK, user_id="biren", requested_by="asha"))
        await work.commit()
        counts = [
            await work.login_links.count_open("asha", requested_by="asha", now=after(minutes))
            for minutes in (1, 5, 60)
        ]

    assert counts == [2, 1, 0]


async def test_old_links_and_those_of_removed_users_go(links):
    """A purge removes links that expired before its moment; a removed user takes its links along."""
    async with links.begin() as work:
        await work.login_links.add("hash-2", replace(LINK, user_id="biren"))
        await work.login_links.purge(expired_before=after(60))
        await work.users.remove("biren")
        await work.commit()
    assert await find(links) == LINK
    assert await find(links, "hash-2") is None

    async with links.begin() as work:
        await work.login_links.purge(expired_before=after(61))
        await work.commit()
    assert await find(links) is None


async def test_all_links_of_one_user_go(links):
    """A new password makes them void; those of other users stay."""
    async with links.begin() as work:
        await work.login_links.add("hash-2", replace(LINK, user_id="biren"))
        await work.login_links.remove_of("asha")
        await work.commit()

    assert await find(links) is None
    assert await find(links, "hash-2") is not None


async def test_a_pending_login_knows_the_link_it_was_begun_with(links):
    """The generation of the link comes back with it."""
    by_link = pending(link_generation=3)
    async with links.begin() as work:
        await work.connections.add_pending("state", by_link)
        taken = await work.connections.take_pending("state")

    assert taken == by_link
    assert taken.is_by_link
    assert not pending().is_by_link
