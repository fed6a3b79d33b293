"""The clock that follows a simulator's, against a server whose answers the test chooses."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from hullwatch.app.followed_clock import FollowedClock, following_clock
from hullwatch.settings import SettingsRefused

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Source:
    """A clock's address. Each request takes `takes_s` seconds of the test's real time."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.answer: Any = {"now": NOON.isoformat(), "speed": 0}
        self.real_s = 100.0
        self.takes_s = 0.0
        self.requests = 0

    def monotonic(self) -> float:
        """Return the test's real time."""
        return self.real_s

    async def respond(self, _: web.Request) -> web.Response:
        """Answer a request in the middle of its time."""
        self.requests += 1
        self.real_s += self.takes_s
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """Return a clock's address on this machine."""
    made = Source()
    application = web.Application()
    application.router.add_get("/clock", made.respond)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/clock"
    yield made
    await runner.cleanup()


@pytest.fixture
async def clock(source: Source) -> AsyncIterator[FollowedClock]:
    """Return a clock that has read noon, and runs on the test's real time."""
    async with aiohttp.ClientSession() as http:
        made = FollowedClock(source.url, http, source.monotonic)
        await made.read()
        yield made


async def test_it_has_the_time_and_the_speed(source: Source, clock: FollowedClock) -> None:
    """Between two readings it runs on at that speed; a speed of 0 stops it."""
    source.real_s += 10
    stopped = clock.now()
    source.answer = {"now": "2026-11-23T17:30:00+05:30", "speed": 60}
    await clock.read()
    source.real_s += 10

    assert stopped == NOON
    assert clock.now() == NOON + timedelta(minutes=10)


async def test_a_jump_moves_both_scales_and_not_the_machines(source: Source, clock: FollowedClock) -> None:
    """A jump forward wakes sleepers; a jump back leaves the monotonic scale where it is."""
    began_s = clock.monotonic()
    source.answer = {"now": (NOON + timedelta(days=1)).isoformat(), "speed": 0}
    await clock.read()
    forward = (clock.now(), clock.monotonic() - began_s)
    source.answer = {"now": NOON.isoformat(), "speed": 0}
    await clock.read()

    assert forward == (NOON + timedelta(days=1), 86_400)
    assert (clock.now(), clock.monotonic() - began_s) == (NOON, 86_400)
    assert clock.real is not clock
    assert abs(clock.real.now() - datetime.now(UTC)) < timedelta(hours=1)


async def test_slow_answers_do_not_move_it(source: Source, clock: FollowedClock) -> None:
    """A reading that is possible within the request's duration changes nothing."""
    source.answer = {"now": NOON.isoformat(), "speed": 60}
    await clock.read()
    began_s, source.takes_s = clock.monotonic(), 2.0
    for _ in range(5):
        source.answer["now"] = (clock.now() + timedelta(seconds=50)).isoformat()
        await clock.read()

    assert clock.now() == NOON + timedelta(minutes=10)
    assert clock.monotonic() - began_s == 600


async def test_it_goes_on_while_the_address_does_not_respond(source: Source) -> None:
    """The failure and the recovery are logged once each."""
    source.answer["speed"] = 1
    with capture_logs() as log:
        async with following_clock(source.url) as clock:
            before = clock.now()
            source.status = 503
            await _until(lambda: not clock.is_responding)
            since = source.requests
            await _until(lambda: source.requests > since + 2)
            after = clock.now()
            source.status = 200
            await _until(lambda: clock.is_responding)

    assert before < after < NOON + timedelta(hours=1)
    assert [line["event"] for line in log] == ["clock.failed", "clock.recovered"]


async def _until(check: Any) -> None:
    while not check():  # noqa: ASYNC110 - the clock has no event for it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "answer",
    [
        {}, [], "noon", {"now": NOON.isoformat()}, {"now": "2026-11-23T12:00:00", "speed": 1}, {"now": 5, "speed": 1},
        {"now": NOON.isoformat(), "speed": -1}, {"now": NOON.isoformat(), "speed": "nan"},
        {"now": NOON.isoformat(), "speed": None},
    ],
)  # fmt: skip
async def test_an_address_without_a_time_is_refused_at_the_start(source: Source, answer: Any) -> None:
    """The sentence names the setting and the address."""
    source.answer = answer

    with pytest.raises(SettingsRefused, match=f"^HULLWATCH_CLOCK_URL .*{source.url}"):
        async with following_clock(source.url):
            pass


async def test_an_address_that_does_not_respond_is_refused_at_the_start() -> None:
    """The sentence says what to do."""
    with pytest.raises(SettingsRefused, match="Start the simulator first"):
        async with following_clock("http://127.0.0.1:9/simulator/clock"):
            pass
