"""The queue for password hashes; `hullwatch.services.users.hash_queue`."""

import asyncio

import pytest
from fakes.hasher import FakeHasher

from hullwatch.domain.failures import TooManyAttempts
from hullwatch.services.users.hash_queue import HashQueue


class Visits:
    """Requests of several addresses that use slots one after another, as the test lets them."""

    def __init__(self, queue: HashQueue) -> None:
        self.queue = queue
        self.order: list[str] = []
        self.most_at_once = self._inside = 0
        self.may_leave = asyncio.Event()

    def come(self, address: str) -> asyncio.Task[None]:
        """Start a request."""
        return asyncio.create_task(self._visit(address))

    async def _visit(self, address: str) -> None:
        async with self.queue.slot(address):
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
            self.order.append(address)
            await self.may_leave.wait()
            self._inside -= 1


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_few_hashes_run_at_once():
    """Each takes a core and 64 MiB."""
    visits = Visits(HashQueue(FakeHasher(), at_once=2))
    tasks = [visits.come("10.0.0.1") for _ in range(6)]
    await settle()
    waiting = len(visits.order)
    visits.may_leave.set()
    await asyncio.gather(*tasks)

    assert (waiting, visits.most_at_once, len(visits.order)) == (2, 2, 6)


async def test_addresses_get_slots_alternately():
    """One address with a hundred requests delays another one by one request."""
    visits = Visits(HashQueue(FakeHasher(), at_once=1))
    tasks = [visits.come("10.0.0.1") for _ in range(100)]
    await settle()
    tasks += [visits.come("10.0.0.2") for _ in range(2)]
    await settle()
    visits.may_leave.set()
    await asyncio.gather(*tasks)

    assert visits.order[:5] == ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]


async def test_a_full_queue_refuses_the_address_with_the_most():
    """Its newest request makes room for the other address; the sentence has a time to retry."""
    visits = Visits(HashQueue(FakeHasher(), at_once=1, most_waiting=4))
    flood = [visits.come("10.0.0.1") for _ in range(5)]
    await settle()
    other = visits.come("10.0.0.2")
    await settle()
    visits.may_leave.set()
    results = await asyncio.gather(*flood, other, return_exceptions=True)

    assert [isinstance(result, TooManyAttempts) for result in results] == [False] * 4 + [True, False]
    assert results[4].retry_after_s > 0


async def test_an_ipv6_site_has_one_share():
    """A site can have a /48 with 65,536 networks of the size that the locks count."""
    visits = Visits(HashQueue(FakeHasher(), at_once=1))
    tasks = [visits.come(f"2001:db8:1:{number:x}::1") for number in range(20)]
    await settle()
    tasks.append(visits.come("2001:db8:2::1"))
    await settle()
    visits.may_leave.set()
    await asyncio.gather(*tasks)

    assert visits.order.index("2001:db8:2::1") == 2


async def test_many_addresses_keep_their_order():
    """When the queue is full of addresses with one request each, the one that comes last is refused."""
    visits = Visits(HashQueue(FakeHasher(), at_once=1, most_waiting=4))
    tasks = [visits.come(f"10.0.0.{number}") for number in range(6)]
    await settle()
    visits.may_leave.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results[5], TooManyAttempts)
    assert visits.order == [f"10.0.0.{number}" for number in range(5)]


@pytest.mark.parametrize("moment", ["waiting", "slot given", "refused"])
async def test_a_cancelled_request_neither_keeps_nor_adds_a_slot(moment):
    """A slot that is kept is missing until a restart; one that is added lets more hashes run at once."""
    visits = Visits(HashQueue(FakeHasher(), at_once=1, most_waiting=1))
    first, cancelled = visits.come("10.0.0.1"), visits.come("10.0.0.2")
    await settle()
    if moment == "slot given":
        visits.may_leave.set()
        await asyncio.sleep(0)  # the first one leaves; the second one has the slot and has not run yet
    elif moment == "refused":
        cancelled = visits.come("10.0.0.3")
        await asyncio.sleep(0)  # it is refused, and has not run yet
    cancelled.cancel()
    await settle()
    visits.may_leave.set()
    await settle()
    visits.may_leave.clear()
    last = [visits.come("10.0.0.4") for _ in range(2)]
    await settle()

    assert first.done()
    assert cancelled.cancelled() or isinstance(cancelled.exception(), TooManyAttempts)
    assert visits.order.count("10.0.0.4") == 1
    visits.may_leave.set()
    await asyncio.gather(*last)


async def test_an_error_gives_the_slot_back():
    """A hash can fail, as for lack of memory."""
    queue = HashQueue(FakeHasher(), at_once=1)

    for _ in range(3):
        with pytest.raises(MemoryError):
            async with queue.slot("10.0.0.1"):
                raise MemoryError

    async with queue.slot("10.0.0.2") as hasher:
        assert await hasher.hash("now again")
