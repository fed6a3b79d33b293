"""More connections than the server has descriptors; monitoring goes on, and new clients are answered."""

import asyncio
from contextlib import suppress

import pytest

from journeys.environment import until

DESCRIPTORS = 256


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: 127"], ids=["idle", "half"])
async def test_connections_that_send_no_request_harm_nobody(start_served, sent: bytes) -> None:
    """They are more than the process may open. Neither database nor Fyers lacks a descriptor."""
    launcher = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    async with start_served(launcher=launcher) as served:
        user = await served.user("Asha", "FY00001", "NSE:SBIN-EQ")
        await user.watch()
        opened = []
        host, port = served.server.url.removeprefix("http://").split(":")
        for _ in range(2 * DESCRIPTORS):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            opened.append(writer)
        cycles = (await user.state())["cycles"]

        async def goes_on() -> bool:
            await served.advance(5)
            return (await user.state())["cycles"] > cycles + 2

        await until(goes_on, "monitoring goes on")
        assert (await user.request("GET", "/healthz")).status == 200
        assert await user.add_watch("NSE:TCS-EQ")  # stored
        for writer in opened:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert (
            served.server.output.count("no_descriptor") <= 1
        )  # for a moment, while many are accepted at once
