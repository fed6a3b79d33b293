"""A simulator in this process whose time stands still until a test moves it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hullwatch.simulator.server import SimulatorConfig, SimulatorServer

APP = "HULLWATCH-100"
MONDAY = datetime.fromisoformat("2026-11-23T10:07:30+05:30")
"""Half-way through the 10:05 candle of an ordinary trading day."""


class ManualTime:
    """Real time that passes only when a test advances it."""

    def __init__(self) -> None:
        self.value = 1000.0

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self.value


@dataclass
class Driver:
    """A client of one simulator."""

    server: SimulatorServer
    http: aiohttp.ClientSession
    time: ManualTime
    tokens: dict[str, str] = field(default_factory=dict)

    async def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make a control call; return status and parsed answer."""
        async with self.http.request(method, f"/simulator{path}", json=body) as response:
            return response.status, await response.json()

    async def person(self, fyers_id: str = "XA00001", **token: Any) -> str:
        """Make an account with a session and return its access token."""
        await self.control("POST", "/accounts", {"fyersId": fyers_id, "name": "Asha"})
        status, answer = await self.control("POST", f"/accounts/{fyers_id}/token", token)
        assert status == 200, answer
        self.tokens[fyers_id] = answer["accessToken"]
        return str(answer["accessToken"])

    async def call(
        self, path: str, token: str | None = None, method: str = "GET", **options: Any
    ) -> tuple[int, Any]:
        """Call the broker; JSON is parsed, anything else comes as text."""
        headers = {"Authorization": f"{APP}:{token}"} if token else {}
        async with self.http.request(
            method, path, headers=headers, allow_redirects=False, **options
        ) as response:
            if response.content_type == "application/json" and await response.read():
                return response.status, await response.json()
            return response.status, await response.text()

    async def quote(self, token: str, symbol: str = "NSE:SBIN-EQ") -> dict[str, Any]:
        """Return the values of one quote."""
        status, answer = await self.call("/data/quotes", token, params={"symbols": symbol})
        assert status == 200, answer
        return answer["d"][0]["v"]

    async def candles(self, token: str, day: str, resolution: str = "5", **more: str) -> list[list[float]]:
        """Return the candles of one date, of `NSE:SBIN-EQ` by default."""
        params = {
            "symbol": "NSE:SBIN-EQ", "resolution": resolution, "date_format": "1", "range_from": day, "range_to": day,
            **more,
        }  # fmt: skip
        status, answer = await self.call("/data/history", token, params=params)
        assert status == 200, answer
        return answer["candles"]


async def drive(config: SimulatorConfig) -> AsyncIterator[Driver]:
    """Run a simulator for one test."""
    time = ManualTime()
    async with (
        SimulatorServer(config, monotonic=time, beat_s=0.01) as server,
        aiohttp.ClientSession(server.base_url) as http,
    ):
        yield Driver(server, http, time)


@pytest.fixture
async def simulator() -> AsyncIterator[Driver]:
    """Return a synthetic market on a Monday morning."""
    async for driver in drive(SimulatorConfig(port=0, starts_at=MONDAY)):
        yield driver


CANDLES = """timestamp,open,high,low,close,volume
2026-06-17T09:15:00+05:30,100.0,101.0,99.5,100.5,1000
2026-06-17T09:20:00+05:30,100.5,100.6,100.1,100.2,500
2026-06-17T09:30:00+05:30,100.2,102.0,100.2,101.9,700
2026-06-18T09:15:00+05:30,103.0,104.0,102.0,102.5,1200
2026-06-18T09:20:00+05:30,102.5,103.0,102.5,103.0,800
2026-06-19T09:15:00+05:30,101.0,101.5,100.0,100.05,2000
"""


@pytest.fixture
def candle_folder(tmp_path: Path) -> Path:
    """Return a folder with three short days of one stock, generated for these tests."""
    (tmp_path / "ACME_5min_2026.csv").write_text(CANDLES)
    return tmp_path


@pytest.fixture
async def replay(candle_folder: Path) -> AsyncIterator[Driver]:
    """Return a simulator that replays those three days."""
    async for driver in drive(SimulatorConfig(port=0, candles=candle_folder, allow_gaps=True)):
        yield driver


@pytest.fixture
async def early_replay(candle_folder: Path) -> AsyncIterator[Driver]:
    """Return a simulator that was started more than two weeks before its first candle."""
    start = datetime.fromisoformat("2026-06-01T10:00:00+05:30")
    async for driver in drive(
        SimulatorConfig(port=0, candles=candle_folder, starts_at=start, allow_gaps=True)
    ):
        yield driver
