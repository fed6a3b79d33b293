"""An index, a future and an option are watched as they trade: the index until 15:30, its contracts until 15:40."""

from datetime import datetime, timedelta

from journeys.environment import until
from journeys.market.script import STEP
from journeys.market.test_served import MONDAY, StartServed, journey

INDEX, FUTURE, OPTION = "NSE:NIFTY50-INDEX", "NSE:NIFTY26DECFUT", "NSE:NIFTY26DEC27000CE"
AFTERNOON = MONDAY.replace(hour=15, minute=18)
CLOSE = MONDAY.replace(hour=15, minute=40)


async def test_an_index_a_future_and_an_option_are_watched(start_served: StartServed):
    """The signals of each are those of its final candles. Commodities and currencies are refused with a sentence."""
    async with journey(start_served, INDEX, FUTURE, OPTION, starts_at=AFTERNOON) as on:
        refusals = [
            await on.user.request(
                "POST",
                "/api/monitoring/watches",
                {"symbol": symbol, "resolution": "5", "period": 4, "rule": "cross"},
            )
            for symbol in ("MCX:CRUDEOIL26DECFUT", "NSE:USDINR26DECFUT")
        ]
        await on.close_candles(4, FUTURE, OPTION, first=CLOSE - 4 * STEP)

        async def are_evaluated() -> bool:
            await on.served.advance(1)
            through = {
                line["symbol"]: datetime.fromisoformat(line["evaluatedThrough"])
                for line in (await on.user.get("/api/monitoring/watches"))["watches"]
            }
            return through[FUTURE] == through[OPTION] == CLOSE and through[INDEX] >= CLOSE - timedelta(
                minutes=25
            )

        await until(are_evaluated, "the last candles of the derivatives")
        await on.become_right(FUTURE, OPTION)
        assert [refusal.status for refusal in refusals] == [422, 422]
        assert all("commodities and currencies" in refusal.json["detail"] for refusal in refusals)
