import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.single_flight import SingleFlight


class Work:
    """A task that waits for its release and counts its starts and cancellations."""

    def __init__(self, result="done"):
        self.release = asyncio.Event()
        self.result = result
        self.started = 0
        self.cancelled = 0

    async def __call__(self):
        """Wait for the release, then return or raise the result."""
        self.started += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def settle():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_of_one_key_share_one_run():
    """Ten concurrent callers start the task once and all get its result."""
    flight, work = SingleFlight[str, str](), Work()
    callers = [asyncio.create_task(flight.run("key", work)) for _ in range(10)]
    await settle()

    work.release.set()

    assert await asyncio.gather(*callers) == ["done"] * 10
    assert work.started == 1
    assert len(flight) == 0


async def test_keys_do_not_share_a_task():
    """A result of one account must not reach another."""
    flight, one, two = SingleFlight[int, str](), Work("one"), Work("two")
    one.release.set()
    two.release.set()

    assert await asyncio.gather(flight.run(1, one), flight.run(2, two)) == ["one", "two"]


async def test_a_later_caller_starts_a_new_task():
    """A result is not cached after the task has ended."""
    flight, work = SingleFlight[str, str](), Work()
    work.release.set()

    await flight.run("key", work)
    await flight.run("key", work)

    assert work.started == 2


async def test_an_error_reaches_all_callers():
    """The key is free again afterwards."""
    flight, work = SingleFlight[str, str](), Work(KeyError("no"))
    callers = [asyncio.create_task(flight.run("key", work)) for _ in range(3)]
    await settle()

    work.release.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(result) for result in results] == [KeyError] * 3
    assert len(flight) == 0


async def test_a_cancelled_caller_does_not_cancel_the_task():
    """The caller that started the task may leave; the others still get the result."""
    flight, work = SingleFlight[str, str](), Work()
    first, second = (asyncio.create_task(flight.run("key", work)) for _ in range(2))
    await settle()

    first.cancel()
    await settle()
    work.release.set()

    assert await second == "done"
    assert first.cancelled()
    assert work.cancelled == 0


async def test_a_task_without_callers_is_cancelled():
    """The next caller starts a new one."""
    flight, work = SingleFlight[str, str](), Work()
    callers = [asyncio.create_task(flight.run("key", work)) for _ in range(2)]
    await settle()

    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert len(flight) == 0
    work.release.set()

    assert await flight.run("key", work) == "done"
    assert (work.started, work.cancelled) == (2, 1)


@given(st.lists(st.tuples(st.sampled_from(["ask", "leave", "finish"]), st.integers(0, 2)), max_size=30))
def test_no_key_leaks_and_no_task_runs_twice(steps):
    """This holds for any order of calls, cancellations and results."""

    async def play():
        flight = SingleFlight[int, str]()
        current, callers, runs = {}, {0: [], 1: [], 2: []}, []
        for step, key in steps:
            if step == "ask":
                if key not in current:
                    current[key] = Work()
                    runs.append(current[key])
                callers[key].append(asyncio.create_task(flight.run(key, current[key])))
            elif step == "leave" and callers[key]:
                callers[key].pop().cancel()
                if not callers[key]:
                    current.pop(key, None)
            elif step == "finish" and key in current:
                current.pop(key).release.set()
                await settle()
                assert {caller.result() for caller in callers[key]} == {"done"}
                callers[key].clear()
            await settle()
            assert len(flight) == len(current)
        assert all(run.started <= 1 for run in runs)
        left = [caller for waiting in callers.values() for caller in waiting]
        for caller in left:
            caller.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await settle()
        assert len(flight) == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(play())
