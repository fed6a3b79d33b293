"""Runs the real server with a simulator and its clock: ``server_process.py PORT DATA_DIR SIMULATOR_URL``."""

import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from hullwatch.app import open_application
from hullwatch.cli.server import listen_on, serve_application
from hullwatch.runtime.clock import ScaledClock
from hullwatch.runtime.logs import configure_logging
from hullwatch.settings import read_settings

SYNCHRONISE_EVERY_S = 0.3


async def read_clock(http: aiohttp.ClientSession, url: str) -> tuple[datetime, float]:
    """Return the simulator's time and speed."""
    while True:
        try:
            async with http.get(f"{url}/simulator/clock") as response:
                answer = await response.json()
            break
        except aiohttp.ClientConnectionError:  # the simulator is still starting
            await asyncio.sleep(0.05)
    return datetime.fromisoformat(answer["now"]).astimezone(UTC), float(answer["speed"])


async def keep_time(http: aiohttp.ClientSession, url: str, clock: ScaledClock) -> None:
    """Synchronise with the simulator's clock until cancelled."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            clock.synchronise(*await read_clock(http, url))
        await asyncio.sleep(SYNCHRONISE_EVERY_S)


async def main(port: int, data_dir: Path, simulator_url: str) -> None:
    """Serve until SIGTERM."""
    settings = read_settings(
        data_dir=data_dir,
        database_url="",
        encryption_keys="",
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        registration="open",
        fyers_base_url=f"{simulator_url}/api/v3",
        fyers_data_url=f"{simulator_url}/data",
        fyers_public_url=simulator_url,
        dashboard_check_minutes=0.05,
        notify_private_addresses=True,
    )
    with listen_on("127.0.0.1", port) as sock:
        async with aiohttp.ClientSession() as http:
            now, speed = await read_clock(http, simulator_url)
            clock = ScaledClock(speed=speed, starts_at=now)
            time_task = asyncio.create_task(keep_time(http, simulator_url, clock))
            async with open_application(settings, clock=clock) as application:
                await application.start()
                await serve_application(
                    application, application.web(application.web_config()), sock, within_s=5
                )
            time_task.cancel()


if __name__ == "__main__":
    data = Path(sys.argv[2])
    with (data / "server.log").open("a", encoding="utf-8") as log:
        configure_logging(json=True, level="INFO", stream=log)
        asyncio.run(main(int(sys.argv[1]), data, sys.argv[3]))
