"""Open incidents: the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

from hullwatch.domain.notifications.incidents import CALENDAR, MASS_REFUSAL, Incident, job_of, job_subject
from storage.samples import NOW, after

OUTBOX = Incident(job_subject("outbox"), "inc_1", NOW, NOW)
OUTAGE = Incident(MASS_REFUSAL, "inc_2", after(1), after(2), after(3))


async def begin(store, *incidents: Incident) -> list[Incident]:
    """Store incidents; return the open incidents of their subjects."""
    async with store.begin() as work:
        found = [await work.incidents.begin(incident) for incident in incidents]
        await work.commit()
    return found


async def all_open(store) -> list[Incident]:
    """Read all."""
    async with store.begin(read_only=True) as work:
        return await work.incidents.all_open()


async def test_incidents_come_back_as_stored(store):
    """By subject, with the optional field empty and filled; an unknown subject has none."""
    assert await begin(store, OUTAGE, OUTBOX) == [OUTAGE, OUTBOX]

    assert await all_open(store) == [OUTBOX, OUTAGE]
    async with store.begin(read_only=True) as work:
        assert await work.incidents.get(MASS_REFUSAL) == OUTAGE
        assert await work.incidents.get(CALENDAR) is None


async def test_a_subject_has_one_open_incident(store):
    """The second caller gets the first incident, in one process or in two."""
    await begin(store, OUTBOX)

    assert await begin(store, replace(OUTBOX, id="inc_9", began_at=after(5))) == [OUTBOX]

    first, second = await asyncio.gather(
        begin(store, OUTAGE), begin(store, replace(OUTAGE, id="inc_9", began_at=after(9)))
    )
    assert first == second
    assert len(await all_open(store)) == 2


async def test_the_last_bad_moment_never_goes_back(store):
    """Two processes note it each in their own time; other incidents stay as they are."""
    await begin(store, OUTAGE, OUTBOX)
    async with store.begin() as work:
        await work.incidents.note_bad(OUTBOX.subject, at=after(5))
        await work.incidents.note_bad(OUTBOX.subject, at=after(4))
        await work.incidents.note_bad("unknown", at=after(4))
        await work.commit()

    assert await all_open(store) == [replace(OUTBOX, bad_at=after(5)), OUTAGE]


async def test_one_process_notifies_and_one_closes_an_incident(store):
    """Of two at the same moment one is first; what was undone did not happen."""
    await begin(store, OUTBOX)

    async def mark(minute: float) -> bool:
        async with store.begin() as work:
            is_first = await work.incidents.mark_notified(OUTBOX.subject, at=after(minute))
            await work.commit()
        return is_first

    async def end() -> bool:
        async with store.begin() as work:
            is_first = await work.incidents.end(OUTBOX.id)
            await work.commit()
        return is_first

    async with store.begin() as work:
        assert await work.incidents.mark_notified(OUTBOX.subject, at=after(1))
    assert await all_open(store) == [OUTBOX]

    assert sorted(await asyncio.gather(mark(2), mark(3))) == [False, True]
    assert sorted(await asyncio.gather(end(), end())) == [False, True]
    assert await all_open(store) == []
    assert await mark(4) is False


def test_a_subject_names_its_job():
    """Other subjects are not those of a job."""
    assert job_of(job_subject("outbox")) == "outbox"
    assert job_of(MASS_REFUSAL) is None
