"""What the parts in virtual time share: the real services over the tests' fakes, in short runs with seeds of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from services.environment import Environment

T = TypeVar("T")


def seeds(seed: int) -> Iterator[int]:
    """Yield the seeds of the short runs of one part; those of two parts' seeds differ."""
    number = seed * 1_000_000
    while True:
        yield number
        number += 1


async def run_once(seed: int, experiment: Callable[[int], Awaitable[T]]) -> T:
    """Run one short experiment and end all tasks that it began."""
    own = asyncio.current_task()
    try:
        return await experiment(seed)
    finally:
        while begun := [task for task in asyncio.all_tasks() if task is not own]:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)


async def end_tasks(env: Environment) -> None:
    """End all tasks of the services while they can still run, and not when their memory is freed."""
    await env.kill()
    await env.clock.settle()


def run(seed: int, experiment: Callable[[int], Awaitable[T]]) -> T:
    """Run one short experiment in an event loop of its own."""
    return asyncio.run(run_once(seed, experiment))


def names(count: int) -> tuple[str, ...]:
    """Return the ids of so many users."""
    return tuple(f"usr_p{number:02d}" for number in range(count))
