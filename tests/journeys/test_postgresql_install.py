"""The same story on PostgreSQL, shortened: what an install with many users runs on."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from storage.conftest import postgres_server

from journeys.town import Town
from journeys.trading_day import TradingDay, at

__all__ = ["postgres_server"]

RUNS_OUT_AT = at("09:57:00")


@pytest.mark.postgres
async def test_the_story_on_postgresql(
    open_here: Callable[..., AbstractAsyncContextManager[Town]], market_data: Path, postgres_server: str
) -> None:
    """On PostgreSQL too the living go on, the others come back, and nothing is missing; also across a restart."""
    candles = market_data / "5min"
    async with open_here(candles=candles, starts_at=at("09:46:01"), database_url=postgres_server) as town:
        day = await TradingDay.begin(town, candles, runs_out_at=RUNS_OUT_AT)
        await day.pass_to(at("09:51:01"))
        await day.meena_is_revoked()
        await day.pass_to(at("09:56:56"))
        await day.ravi_runs_out(RUNS_OUT_AT)
        await town.step(1, day.present)
        day.steps += 1
        await day.pass_to(at("10:00:01"))
        await day.hurry_to(at("11:00:01"))
        await day.comes_back("Meena")
        await day.comes_back("Ravi")
        await day.hurry_to(at("12:30:01"))

        for name in day.players:
            await day.nothing_is_missing(name)
        await day.asha_never_noticed()
        before = {name: await day[name].browser.signals() for name in day.players}
        await town.stop_house()
        await town.start_house()
        assert {name: await day[name].browser.signals() for name in day.players} == before
