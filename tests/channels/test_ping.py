"""Pings against a real HTTP receiver; `hullwatch.channels.ping`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from hullwatch.channels.ping import HttpPing
from hullwatch.domain.monitoring.health import PingAccepted, PingFailed
from hullwatch.domain.secrets import SecretText

CANARY = "canary-of-the-address"


class Receiver:
    """Answers with a status that the test chooses, or not at all."""

    def __init__(self) -> None:
        self.status = 200
        self.is_hanging = False
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Record the request and answer it."""
        self.asked.append((request.method, request.path))
        if self.is_hanging:
            await asyncio.Event().wait()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a receiver on this machine."""
    one = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{CANARY}"
    yield one
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, PingAccepted()),
        (204, PingAccepted()),
        (302, PingFailed("http_302")),
        (404, PingFailed("http_404")),
        (500, PingFailed("http_500")),
    ],
)
async def test_a_ping_is_accepted_or_not(
    receiver: Receiver, status: int, expected: PingAccepted | PingFailed
) -> None:
    """Each ping is one GET, and a redirect is not followed."""
    receiver.status = status

    assert await HttpPing(SecretText(receiver.url)).ping() == expected
    assert receiver.asked == [("GET", f"/{CANARY}")]


async def test_a_hanging_receiver_is_a_timeout(receiver: Receiver) -> None:
    """A receiver that hangs costs the time limit and no more."""
    receiver.is_hanging = True

    assert await HttpPing(SecretText(receiver.url), within_s=0.05).ping() == PingFailed("timeout")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x", "http://[::1/x"])
async def test_a_failure_does_not_show_the_address(url: str) -> None:
    """The address is a secret, so neither the outcome nor the adapter shows it."""
    ping = HttpPing(SecretText(url + CANARY))

    outcome = await ping.ping()

    assert outcome == PingFailed("connection")
    assert CANARY not in repr((outcome, ping, vars(ping)))
