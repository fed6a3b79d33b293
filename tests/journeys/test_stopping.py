"""A server that is stopped while something hangs: its webhook's receiver, its open tabs, or its database."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from aiohttp.web import Response
from channels.receivers import Receiver, http_receiver

from hullwatch.app.application import LAST_SAVE_S
from hullwatch.cli.server import REQUESTS_END_WITHIN_S, STOP_WITHIN_S
from journeys.browser import Browser
from journeys.environment import until
from journeys.served import Served


@asynccontextmanager
async def hanging_receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that accepts every request and never answers."""
    released = asyncio.Event()

    async def hang(_: object) -> Response:
        await released.wait()
        return Response()

    async with http_receiver() as receiver:
        receiver.answers = [hang] * 20
        try:
            yield receiver
        finally:
            released.set()


async def send_to_hanging_webhook(user: Browser, receiver: Receiver) -> None:
    """Let a message be under way to the receiver."""
    body = {"kind": "webhook", "label": "pager", "kinds": ["session_disconnected"], "address": receiver.url}
    channel = (await user.call("POST", "/api/notifications/channels", body))["channel"]
    await user.call("POST", f"/api/notifications/channels/{channel['id']}/test")

    async def is_under_way() -> bool:
        return bool(receiver.requests)

    await until(is_under_way, "the receiver has the message")


def events(served: Served) -> list[dict[str, object]]:
    """Return the log lines of the last stop."""
    lines = [json.loads(line) for line in served.server.output.splitlines() if line.startswith("{")]
    began = max(number for number, line in enumerate(lines) if line["event"] == "stop.began")
    return lines[began:]


@pytest.mark.parametrize("tabs", [0, 3])
async def test_a_hanging_webhook_ends_in_order(start_served, tmp_path, tabs: int) -> None:
    """The jobs after the outbox end by themselves, and the last save runs."""
    async with (
        hanging_receiver() as receiver,
        start_served(HULLWATCH_NOTIFY_PRIVATE_ADDRESSES="true", HULLWATCH_LOG_FORMAT="json") as served,
    ):
        user = await served.user("Asha", "FY00001", "NSE:SBIN-EQ")
        await user.watch()
        await send_to_hanging_webhook(user, receiver)
        for _ in range(tabs):
            await user.open_tab()

        assert await served.server.stop() == 0

        stop = events(served)
        jobs = {str(line["job"]): line for line in stop if line["event"] == "job.stopped"}
        assert jobs["outbox"]["cancelled"]
        assert [name for name, line in jobs.items() if line["cancelled"] or line["ignored"]] == ["outbox"]
        assert stop[-1]["event"] == "stop.done"
        assert stop[-1]["inOrder"]
        assert "stop.observations_not_stored" not in {line["event"] for line in stop}

        with closing(sqlite3.connect(tmp_path / "data" / "hullwatch.db")) as stored:
            query = "SELECT count(*) FROM audit_events WHERE kind = 'server.stopped'"
            assert stored.execute(query).fetchone() == (1,)


async def test_a_locked_database_ends_in_order(start_served, tmp_path) -> None:
    """The last save is tried, and the log says that it failed."""
    async with start_served(HULLWATCH_LOG_FORMAT="json") as served:
        user = await served.user("Asha", "FY00001", "NSE:SBIN-EQ")
        await user.watch()
        with closing(sqlite3.connect(tmp_path / "data" / "hullwatch.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert await served.server.stop() == 0
            other.execute("ROLLBACK")

        stop = events(served)
        assert "stop.observations_not_stored" in {line["event"] for line in stop}
        assert stop[-1]["event"] == "stop.done"
        assert stop[-1]["inOrder"]


def test_the_limits_of_a_stop_leave_time_for_the_last_save() -> None:
    """Service managers kill after ten seconds; open requests may use three of them."""
    assert STOP_WITHIN_S < 10
    assert STOP_WITHIN_S - REQUESTS_END_WITHIN_S > 2 * LAST_SAVE_S
