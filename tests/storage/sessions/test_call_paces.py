"""How much of Fyers' rate limits accounts have used: the same in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import date

from hullwatch.domain.market.call_pace import CallPace
from storage.samples import NOW, after

DAY, NEXT_DAY = date(2026, 11, 23), date(2026, 11, 24)
ASHA = CallPace("APP-100", "XA00001", DAY, 10, 0, None, 10, NOW)
LOGIN = CallPace("APP-100", "", DAY, 2, 1, after(9), 2, NOW)


async def test_calls_of_a_day_are_added(store):
    """Each process adds its own; the newest values replace the others, and a new day begins anew."""
    more = replace(ASHA, calls=5, limits=2, paused_until=after(30), recent_calls=7, stored_at=after(1))
    async with store.begin() as work:
        await work.call_paces.add([ASHA, LOGIN])
        await work.call_paces.add([more])
        await work.commit()
    async with store.begin() as work:
        assert await work.call_paces.list_all() == [LOGIN, replace(more, calls=15)]
        await work.call_paces.add([replace(ASHA, day=NEXT_DAY, calls=3)])
        await work.commit()
    async with store.begin(read_only=True) as work:
        assert await work.call_paces.list_all() == [LOGIN, replace(ASHA, day=NEXT_DAY, calls=3)]


async def test_paces_of_earlier_days_are_removed(store):
    """They are of no use."""
    async with store.begin() as work:
        await work.call_paces.add([])
        await work.call_paces.add([ASHA, replace(LOGIN, day=NEXT_DAY)])
        await work.call_paces.purge(before=NEXT_DAY)
        await work.commit()
    async with store.begin(read_only=True) as work:
        assert await work.call_paces.list_all() == [replace(LOGIN, day=NEXT_DAY)]
