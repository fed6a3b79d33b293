import asyncio
from random import Random

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.retrying_writer import RetryingWriter


class UnavailableError(Exception):
    """The database of these tests does not answer."""


class Database:
    """Stores batches; can be unavailable, broken or slow."""

    def __init__(self):
        self.batches = []
        self.failure = None
        self.attempts = 0
        self.on_attempt = lambda: None
        self.opened = asyncio.Event()
        self.opened.set()

    @property
    def stored(self):
        """All stored items in order."""
        return [item for batch in self.batches for item in batch]

    async def write(self, batch):
        """Store a batch once the opened is open."""
        self.attempts += 1
        self.on_attempt()
        failure = self.failure
        await self.opened.wait()
        if failure is not None:
            raise failure
        self.batches.append(batch)


@pytest.fixture
def clock():
    """Return a clock that only the test advances."""
    return FakeClock()


@pytest.fixture
def database():
    """Return a database that answers."""
    return Database()


def writer_of(database, clock, **options):
    """Return a writer to the database whose backoff has no jitter."""
    backoff = Backoff(first_s=1, factor=2, max_s=4, jitter=0)
    return RetryingWriter(
        database.write, retry_on=UnavailableError, clock=clock, random=Random(1), backoff=backoff, **options
    )


async def started(coroutine, clock):
    """Return a task that has run as far as it can."""
    task = asyncio.create_task(coroutine)
    await clock.settle()
    return task


async def stopped(task):
    """Cancel a job and wait for its end."""
    task.cancel()
    await asyncio.wait({task})


@given(st.integers(0, 12), st.integers(1, 5))
async def test_items_are_written_in_order_and_in_batches(count, max_batch):
    """No batch is larger than the limit, and none is smaller than it could be."""
    database = Database()
    writer = writer_of(database, FakeClock(), max_batch=max_batch)
    for item in range(count):
        writer.add(item)

    await writer.flush()

    assert database.stored == list(range(count))
    assert len(database.batches) == -(-count // max_batch)
    assert writer.pending == 0


async def test_a_failed_batch_stays_queued(database, clock):
    """The caller that needs the items stored gets the failure; the next flush stores them in their order."""
    writer = writer_of(database, clock)
    writer.add("first")
    database.failure = UnavailableError()

    with pytest.raises(UnavailableError):
        await writer.flush()

    assert writer.pending == 1
    writer.add("second")
    database.failure = None
    await writer.flush()
    assert database.stored == ["first", "second"]


async def test_try_flush_returns_false_on_a_failure_to_retry(database, clock):
    """A caller that can leave the items to the job needs no `except`."""
    writer = writer_of(database, clock)
    writer.add("item")
    database.failure = UnavailableError()

    assert await writer.try_flush() is False

    database.failure = None
    assert await writer.try_flush() is True
    assert database.stored == ["item"]


async def test_a_defect_is_raised_and_loses_nothing(database, clock):
    """Only `retry_on` means try again later; the supervisor has to see everything else."""
    writer = writer_of(database, clock)
    writer.add("item")
    database.failure = ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await writer.try_flush()
    with pytest.raises(ValueError, match="a defect"):
        await writer.run(lambda: None)

    assert writer.pending == 1


async def test_callers_share_one_write_at_a_time(database, clock):
    """Two transactions at once could store a later change before an earlier one."""
    writer = writer_of(database, clock)
    database.opened.clear()
    writer.add("first")
    first = await started(writer.flush(), clock)
    writer.add("second")
    second = await started(writer.flush(), clock)
    third = await started(writer.flush(), clock)
    assert database.attempts == 1

    database.opened.set()
    await asyncio.gather(first, second, third)

    assert database.batches == [["first"], ["second"]]


async def test_later_items_do_not_prolong_a_flush(database, clock):
    """Accounts that always have something to store must not keep another account waiting."""
    writer = writer_of(database, clock)
    database.opened.clear()
    writer.add("mine")
    flush = await started(writer.flush(), clock)
    writer.add("another's")

    database.opened.set()
    await flush

    assert writer.pending == 1


async def test_a_cancelled_caller_does_not_cut_a_write_short(database, clock):
    """A browser that closes its request must not undo what other callers wait for."""
    writer = writer_of(database, clock)
    database.opened.clear()
    writer.add("item")
    flush = await started(writer.flush(), clock)

    await stopped(flush)
    database.opened.set()
    await clock.settle()

    assert database.stored == ["item"]
    assert writer.pending == 0


async def test_a_failure_after_all_callers_left_is_not_lost_as_an_error(database, clock):
    """Nobody retrieves the exception then, and asyncio must not complain about that."""
    writer = writer_of(database, clock)
    database.opened.clear()
    database.failure = UnavailableError()
    writer.add("item")
    flush = await started(writer.flush(), clock)

    await stopped(flush)
    database.opened.set()
    await clock.settle()

    assert writer.pending == 1


async def test_run_retries_with_backoff_until_the_write_succeeds(database, clock):
    """Each failure doubles the wait up to the limit. A failed attempt is no success of the job."""
    writer = writer_of(database, clock)
    attempts, beats = [], []
    database.on_attempt = lambda: attempts.append(clock.monotonic())
    job = await started(writer.run(lambda: beats.append(clock.monotonic())), clock)
    database.failure = UnavailableError()
    writer.add("item")
    await clock.advance(11)
    assert beats == []

    database.failure = None
    await clock.advance(4)

    assert attempts == [0, 1, 3, 7, 11, 15]
    assert beats == [15]
    assert database.stored == ["item"]
    await stopped(job)


async def test_run_gathers_items_before_it_writes(database, clock):
    """One transaction stores what many accounts add in the same second."""
    writer = writer_of(database, clock, gather_s=1)
    job = await started(writer.run(lambda: None), clock)
    writer.add("first")
    await clock.advance(0.5)
    writer.add("second")

    await clock.advance(0.5)

    assert database.batches == [["first", "second"]]
    await stopped(job)


async def test_run_waits_while_nothing_is_queued(database, clock):
    """An idle writer must not use the processor, also after its only item was discarded."""
    writer = writer_of(database, clock)
    writer.add("item", key="user")
    writer.discard("user")
    beats = []

    job = await started(writer.run(lambda: beats.append(None)), clock)

    assert not beats
    assert database.attempts == 0
    await stopped(job)


async def test_an_item_replaces_the_queued_one_of_its_key(database, clock):
    """During an outage of the database the queue of one account does not grow; its place stays."""
    writer = writer_of(database, clock)
    writer.add(1, key="a")
    writer.add(10, key="b")
    writer.add((writer.queued("a") or 0) + 2, key="a")

    await writer.flush()

    assert database.stored == [3, 10]
    assert writer.queued("a") is None


async def test_an_item_replaced_during_its_write_is_written_again(database, clock):
    """The old form is stored, the new one is not: it must stay queued."""
    writer = writer_of(database, clock)
    database.opened.clear()
    writer.add("old", key="a")
    flush = await started(writer.flush(), clock)
    writer.add("new", key="a")

    database.opened.set()
    await flush

    assert database.stored == ["old", "new"]
    assert writer.pending == 0


async def test_a_discarded_item_is_not_written(database, clock):
    """What belongs to a removed user must not block the queue."""
    writer = writer_of(database, clock)
    writer.add("gone", key="a")
    writer.add("kept")

    writer.discard("a")
    await writer.flush()

    assert database.stored == ["kept"]


def test_a_batch_holds_at_least_one_item(database, clock):
    """A batch of none would be written for ever."""
    with pytest.raises(ValueError, match="at least one"):
        writer_of(database, clock, max_batch=0)
