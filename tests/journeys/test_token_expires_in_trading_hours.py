"""A trading day on real candles: one access token expires, one is revoked, one stays valid."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from journeys.environment import Environment
from journeys.trading_day import TradingDay, at

EXPIRES_AT = at("09:42:00")


async def test_an_expired_session_does_not_affect_other_users(
    start_environment: Callable[..., AbstractAsyncContextManager[Environment]], market_data: Path
) -> None:
    """The connected user misses no cycle. The others miss no candle and no signal after they log in again."""
    candles = market_data / "5min"
    async with start_environment(candles=candles, starts_at=at("09:16:01")) as environment:
        day = await TradingDay.begin(environment, candles, expires_at=EXPIRES_AT)
        await day.run_cycles_until(at("09:27:01"))
        await day.revoke_session_of_meena()
        await day.run_cycles_until(at("09:41:56"))
        await day.let_session_of_ravi_expire(EXPIRES_AT)
        await environment.step(1, day.present)
        day.steps += 1
        await day.run_cycles_until(at("10:05:11"))
        await day.log_in_again("Meena")
        await day.run_cycles_until(at("10:10:11"))
        await day.log_in_again("Ravi")
        await day.run_cycles_until(at("10:20:11"))
        await day.assert_asha_is_unaffected()
        await day.run_candles_until(at("15:25:11"))
        await day.close_market()

        for name in day.traders:
            await day.assert_all_candles_and_signals(name)
        await day.assert_coverage_shows_absences()
        late = [
            signal
            for name in ("Ravi", "Meena")
            for signal in await day[name].browser.signals()
            if signal["isLate"]
        ]
        assert len(late) > 10
        assert not any(signal["isLate"] for signal in await day["Asha"].browser.signals())
