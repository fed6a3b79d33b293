"""The trading day on PostgreSQL."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from storage.conftest import postgres_server

from journeys.environment import Environment
from journeys.trading_day import TradingDay, at

__all__ = ["postgres_server"]

EXPIRES_AT = at("09:57:00")


@pytest.mark.postgres
async def test_a_trading_day_on_postgresql(
    start_environment: Callable[..., AbstractAsyncContextManager[Environment]],
    market_data: Path,
    postgres_server: str,
) -> None:
    """A shorter day with the same checks, and a restart that keeps every signal."""
    candles = market_data / "5min"
    async with start_environment(
        candles=candles, starts_at=at("09:46:01"), database_url=postgres_server
    ) as environment:
        day = await TradingDay.begin(environment, candles, expires_at=EXPIRES_AT)
        await day.run_cycles_until(at("09:51:01"))
        await day.revoke_session_of_meena()
        await day.run_cycles_until(at("09:56:56"))
        await day.let_session_of_ravi_expire(EXPIRES_AT)
        await environment.step(1, day.present)
        day.steps += 1
        await day.run_cycles_until(at("10:00:11"))
        await day.run_candles_until(at("11:00:11"))
        await day.log_in_again("Meena")
        await day.log_in_again("Ravi")
        await day.run_candles_until(at("12:30:11"))

        for name in day.traders:
            await day.assert_all_candles_and_signals(name)
        await day.assert_asha_is_unaffected()
        before = {name: await day[name].browser.signals() for name in day.traders}
        await environment.stop_server()
        await environment.start_server()
        assert {name: await day[name].browser.signals() for name in day.traders} == before
