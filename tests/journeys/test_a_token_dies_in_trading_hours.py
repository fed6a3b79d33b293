"""One access token runs out in trading hours, one is revoked, one lives: on real candles of a real day, cycle by cycle."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from journeys.town import Town
from journeys.trading_day import TradingDay, at

RUNS_OUT_AT = at("09:42:00")


async def test_the_living_go_on_and_the_others_come_back(
    open_here: Callable[..., AbstractAsyncContextManager[Town]], market_data: Path
) -> None:
    """Nobody's end costs another one a cycle or a candle; who comes back has missed no candle and no signal."""
    candles = market_data / "5min"
    async with open_here(candles=candles, starts_at=at("09:16:01")) as town:
        day = await TradingDay.begin(town, candles, runs_out_at=RUNS_OUT_AT)
        await day.pass_to(at("09:27:01"))
        await day.meena_is_revoked()
        await day.pass_to(at("09:41:56"))
        await day.ravi_runs_out(RUNS_OUT_AT)
        await town.step(1, day.present)
        day.steps += 1
        await day.pass_to(at("10:05:01"))
        await day.comes_back("Meena")
        await day.pass_to(at("10:10:01"))
        await day.comes_back("Ravi")
        await day.pass_to(at("10:20:01"))
        await day.asha_never_noticed()
        await day.hurry_to(at("15:30:01"))

        for name in day.players:
            await day.nothing_is_missing(name)
        await day.asha_never_noticed()
        await day.absences_are_told()
        late = [
            signal
            for name in ("Ravi", "Meena")
            for signal in await day[name].browser.signals()
            if signal["isLate"]
        ]
        assert len(late) > 10
        assert not any(signal["isLate"] for signal in await day["Asha"].browser.signals())
