"""What several processes share: in memory, and in a real Redis."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.secrets import SecretText
from hullwatch.runtime.clock import SystemClock
from hullwatch.sharing.redis_checks import RedisChecks
from sharing.redis_process import RedisProcess

SALT = SecretText("a salt that only this installation knows")


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    """A real Redis with nothing in it."""
    # Not pytest's own folder: a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="hullwatch-redis-") as folder:
        server = RedisProcess(Path(folder)).start()
        yield server
        server.kill()


class Doors:
    """Opens processes' doors to one Redis and closes them in the end."""

    def __init__(self, server: RedisProcess, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    def open(
        self, process: str, *, good_for_s: float = 300.0, wire_clock=None, url: str = "", **limits
    ) -> RedisChecks:
        """Return a door, to this Redis or to another address."""
        checks = RedisChecks(
            SecretText(url or self.server.url),
            salt=SALT,
            process=process,
            good_for_s=good_for_s,
            wire_clock=wire_clock or SystemClock(),
            random=Random(1),
            **limits,
        )
        self._stack.push_async_callback(checks.close)
        return checks


@pytest.fixture
async def doors(redis_server: RedisProcess) -> AsyncIterator[Doors]:
    """Doors to a real Redis."""
    async with AsyncExitStack() as stack:
        yield Doors(redis_server, stack)


@pytest.fixture
def clock() -> FakeClock:
    """Time under the test's control."""
    return FakeClock()
