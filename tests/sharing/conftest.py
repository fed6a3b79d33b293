import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S

from hullwatch.domain.secrets import SecretText
from hullwatch.runtime.clock import SystemClock
from hullwatch.sharing.redis_checks import RedisChecks, RedisLimits
from sharing.redis_process import RedisProcess

SALT = SecretText("a salt that only this installation knows")


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    """Return a real and empty Redis."""
    # Not pytest's own folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="hullwatch-redis-") as folder:
        server = RedisProcess(Path(folder)).start()
        yield server
        server.kill()


class RedisClients:
    """Opens a client for each process and closes all of them after the test."""

    def __init__(self, server: RedisProcess, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    def open(
        self, process: str, *, good_for_s: float = 300.0, clock=None, url: str = "", **limits
    ) -> RedisChecks:
        """Return a client of this Redis or of another address; only a few tests set short limits."""
        limits = {"answer_within_s": ANSWER_LIMIT_S, "free_within_s": ANSWER_LIMIT_S, **limits}
        checks = RedisChecks(
            SecretText(url or self.server.url),
            salt=SALT,
            process=process,
            good_for_s=good_for_s,
            clock=clock or SystemClock(),
            random=Random(1),
            limits=RedisLimits(**limits),
        )
        self._stack.push_async_callback(checks.close)
        return checks


@pytest.fixture
async def clients(redis_server: RedisProcess) -> AsyncIterator[RedisClients]:
    """Return clients of a real Redis."""
    async with AsyncExitStack() as stack:
        yield RedisClients(redis_server, stack)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only the test advances."""
    return FakeClock()
