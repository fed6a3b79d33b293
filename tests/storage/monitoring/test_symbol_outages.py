"""Times in which single symbols were not monitored: the same in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace

from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.outages import SymbolOutage
from storage.samples import NOW, SBIN, add_users, after

FIRST = SymbolOutage("out_1", "asha", SBIN, Obstacle.NO_HISTORY, NOW)
WHOLE = SymbolOutage("out_2", "asha", None, Obstacle.NOT_PERMITTED, after(5), after(6), after(6))
OTHER = SymbolOutage("out_3", "ravi", SBIN, Obstacle.SYMBOL_UNAVAILABLE, after(1))


async def test_outages_come_back_as_stored(store):
    """Open ones for all users; those of one user by the time in which they lasted."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as work:
        for outage in (FIRST, WHOLE, OTHER, FIRST):
            await work.symbol_outages.add(outage)
        await work.commit()
    async with store.begin(read_only=True) as work:
        assert await work.symbol_outages.all_open() == [FIRST, OTHER]
        assert await work.symbol_outages.of_user("asha", since=NOW, before=after(9)) == [FIRST, WHOLE]
        assert await work.symbol_outages.of_user("asha", since=after(6), before=after(9)) == [FIRST]
        assert await work.symbol_outages.of_user("asha", since=NOW, before=after(5)) == [FIRST]


async def test_an_outage_ends_and_its_notice_is_noted(store):
    """A removed user takes them along."""
    await add_users(store, "asha", "ravi")
    ended = replace(FIRST, ended_at=after(3), notified_at=after(2))
    async with store.begin() as work:
        await work.symbol_outages.add(FIRST)
        await work.symbol_outages.update(ended)
        await work.symbol_outages.update(OTHER)
        await work.commit()
    async with store.begin() as work:
        assert await work.symbol_outages.all_open() == []
        assert await work.symbol_outages.of_user("asha", since=NOW, before=after(9)) == [ended]
        await work.users.remove("asha")
        assert await work.symbol_outages.of_user("asha", since=NOW, before=after(9)) == []


async def test_only_outages_that_ended_long_ago_are_removed(store):
    """One that lasts is kept however old it is."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as work:
        for outage in (FIRST, WHOLE, replace(OTHER, ended_at=after(9))):
            await work.symbol_outages.add(outage)
        await work.symbol_outages.purge(ended_before=after(9))
        await work.commit()
    async with store.begin(read_only=True) as work:
        kept = [
            one.id
            for user_id in ("asha", "ravi")
            for one in await work.symbol_outages.of_user(user_id, since=NOW, before=after(20))
        ]
    assert kept == ["out_1", "out_3"]
