"""`hullwatch serve` as a process that keeps the simulator's time."""

from datetime import datetime, timedelta

from journeys.environment import until

OPENS_AT = datetime.fromisoformat("2026-11-25T09:15:00+05:30")


async def test_serve_keeps_the_simulators_time(start_served) -> None:
    """Stopped, advanced and run fast: the market opens and a candle is evaluated at the simulated time."""
    async with start_served(starts_at=OPENS_AT - timedelta(minutes=5)) as served:
        asha = await served.user("Asha", "FY00001", "NSE:SBIN-EQ")
        await asha.watch()
        assert (await asha.get("/api/market/status"))["isOpen"] is False

        await served.advance_to(OPENS_AT + timedelta(minutes=5, seconds=2))
        assert (await asha.get("/api/market/status"))["isOpen"] is True
        assert await served.server.time() == OPENS_AT + timedelta(minutes=5, seconds=2)
        await served.broker.control("POST", "/clock", {"speed": 60})

        async def is_evaluated() -> bool:
            (line,) = (await asha.get("/api/monitoring/watches"))["watches"]
            through = line["evaluatedThrough"]
            return through is not None and datetime.fromisoformat(through) >= OPENS_AT + timedelta(minutes=10)

        await until(is_evaluated, "two candles of the simulated morning")
        assert await served.server.stop() == 0
        assert "Traceback" not in served.server.output
