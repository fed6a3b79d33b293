"""A database that another process locks, and one whose pages are overwritten, while the server runs."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

from channels.receivers import http_receiver

from journeys.browser import Browser
from journeys.environment import until


async def database(anyone: Browser) -> tuple[int, dict]:
    """Return the status of `/readyz` and what it shows of the database."""
    reply = await anyone.request("GET", "/readyz")
    [found] = [one for one in reply.json["dependencies"] if one["name"] == "database"]
    return reply.status, found


async def wait_for_database(anyone: Browser, is_met: Callable[[int, dict], bool], what: str) -> None:
    """Wait until `/readyz` is as expected."""

    async def check() -> bool:
        return is_met(*await database(anyone))

    await until(check, what)


async def test_an_unusable_database_makes_the_server_unready(start_served, tmp_path) -> None:
    """An admin is notified while nothing can be stored. When the lock is gone the server is ready by itself."""
    async with http_receiver() as receiver, start_served(HULLWATCH_NOTIFY_PRIVATE_ADDRESSES="true") as served:
        admin = await served.user("Asha", "FY00001")
        body = {"kind": "webhook", "label": "pager", "kinds": ["job_restarting"], "address": receiver.url}
        await admin.call("POST", "/api/notifications/channels", body)
        served.server.kill()
        await served.server.start()  # it reads the channels

        async def has_read_channels() -> bool:
            jobs = (await admin.get("/api/admin/jobs"))["jobs"]
            return any(one["name"] == "storage-alerts" and one["lastSuccessAt"] for one in jobs)

        await until(has_read_channels, "the channels are read")
        file = tmp_path / "data" / "hullwatch.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await wait_for_database(
                admin,
                lambda status, found: (
                    status == 503 and found["detail"].startswith("Another program has locked")
                ),
                "the server is unready",
            )

            async def has_arrived() -> bool:
                return bool(receiver.requests)

            await until(has_arrived, "the notice without the database")
            other.execute("ROLLBACK")
        await wait_for_database(
            admin, lambda status, found: (status, found["detail"]) == (200, ""), "the server is ready again"
        )
        assert [json.loads(sent)["kind"] for _, sent in receiver.requests] == ["storage_unavailable"]

        with closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with file.open("r+b") as opened:
            opened.write(b"\xaa" * file.stat().st_size)
        await wait_for_database(
            admin,
            lambda status, found: status == 503 and found["detail"].startswith("The database is damaged."),
            "the damage is found",
        )
        assert (await admin.request("GET", "/healthz")).status == 200
