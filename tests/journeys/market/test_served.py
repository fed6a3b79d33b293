"""One journey for each group of kinds: `hullwatch serve` as a process against the simulator's control calls."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hullwatch.domain.market.calendar import IST
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import Rule
from journeys.broker import APP_ID
from journeys.browser import Browser
from journeys.environment import until
from journeys.market.oracle import true_signals
from journeys.market.script import STEP
from journeys.served import Served

StartServed = Callable[..., AbstractAsyncContextManager[Served]]
PERIOD = 4
ACCOUNT, OBSERVER = "FY00001", "FY00002"
MONDAY = datetime(2026, 11, 23, 9, 10, tzinfo=IST)
OPENING = MONDAY.replace(minute=15)
SBIN, TCS, INFY, ITC, RELIANCE, LT = (
    f"NSE:{name}-EQ" for name in ("SBIN", "TCS", "INFY", "ITC", "RELIANCE", "LT")
)
LONGEST_DAY = 60
"""Candles that a journey plays, and those before that its averages need."""
LONGEST_CORRECTION_S = 90
"""Simulated seconds after a close until everything that its candle gives is stored."""


@dataclass
class Journey:
    """A server process, its user, and an observer at Fyers who reads the final candles."""

    served: Served
    user: Browser
    authorization: str
    restarts: dict[str, datetime] = field(default_factory=dict)
    """Symbol → the opening of an unexplained jump."""

    async def is_watching(self, moment: datetime) -> None:
        """Move to a moment in trading hours, and wait for a cycle there; without one the next candle is late."""
        await self.served.advance_to(moment)

        async def is_watching() -> bool:
            await self.served.advance(0.5)  # calls of a cycle wait for each other, on this clock
            state = await self.user.state()
            return state["status"] == "watching" and state["cycles"] > 0

        await until(is_watching, "the watchlist is watched")

    async def control(self, path: str, **body: Any) -> None:
        """Make a control call."""
        await self.served.broker.control("POST", path, body)

    async def change(self, kind: str, symbol: str, **options: Any) -> None:
        """Change the candles of a symbol."""
        await self.control("/candles", kind=kind, symbol=symbol, **options)

    async def candles(self, symbol: str) -> list[Candle]:
        """Return the closed candles that Fyers' history shows now."""
        now, _ = await self.served.broker.now()
        query = {
            "symbol": symbol,
            "resolution": "5",
            "date_format": "0",
            "range_from": str(int((now - timedelta(days=6)).timestamp())),
            "range_to": str(int(now.timestamp())),
            "cont_flag": "1",
        }
        url = f"{self.served.simulator.base_url}/data/history?" + "&".join(
            f"{name}={value}" for name, value in query.items()
        )
        rows = (await self.user.request("GET", url, Authorization=self.authorization)).json["candles"]
        found = [Candle(datetime.fromtimestamp(row[0], UTC), *row[1:6]) for row in rows]
        return [candle for candle in found if candle.opened_at + STEP <= now]

    async def differences(self, *symbols: str) -> list[str]:
        """Return where the signals that hold differ from those of the history that Fyers shows now."""
        stored = await self.signals()
        findings = []
        for watch in (await self.user.get("/api/monitoring/watches"))["watches"]:
            symbol = watch["symbol"]
            if symbol not in symbols:
                continue
            watched_from = datetime.fromisoformat(watch["createdAt"])
            restarts = [self.restarts[symbol]] if symbol in self.restarts else []
            expected = {
                (one.opened_at, one.direction, one.close, round(one.hma, 8))
                for one in true_signals(
                    (await self.candles(symbol))[-LONGEST_DAY:], Rule.CROSS, PERIOD, restarts=restarts
                )
                if one.opened_at + STEP > watched_from
            }
            found = {
                (
                    datetime.fromisoformat(one["candleOpenedAt"]),
                    one["direction"],
                    one["close"],
                    round(one["hma"], 8),
                )
                for one in stored
                if one["symbol"] == symbol and one["withdrawnAt"] is None
            }
            findings += [f"{symbol} missing {one}" for one in expected - found]
            findings += [f"{symbol} extra {one}" for one in found - expected]
        findings += [
            f"{one['symbol']} withdrawn without a reason"
            for one in stored
            if one["withdrawnAt"] is not None and one["withdrawnReason"] is None
        ]
        return findings

    async def signals(self) -> list[dict[str, Any]]:
        """Return all stored signals."""
        return await self.user.signals()

    async def become_right(self, *symbols: str, within_s: int = LONGEST_CORRECTION_S) -> None:
        """Let time pass in small steps until the signals are the true ones."""
        findings = await self.differences(*symbols)
        for _ in range(within_s // 2):
            if not findings:
                return
            await self.served.advance(2)
            findings = await self.differences(*symbols)
        raise AssertionError("\n".join(findings[:10]))

    async def close_candles(self, count: int, *symbols: str, first: datetime) -> None:
        """Let candles close, and wait after each for the true signals of these symbols."""
        for number in range(1, count + 1):
            closed_at = first + number * STEP
            await self.served.advance_to(closed_at + timedelta(seconds=1.5))
            for seconds in (2, 2, 2):
                await self.served.advance(seconds)
            await self.become_right(*symbols)


@asynccontextmanager
async def journey(
    start_served: StartServed, *symbols: str, starts_at: datetime = MONDAY
) -> AsyncIterator[Journey]:
    """Open a journey in which a user watches these symbols."""
    async with start_served(starts_at=starts_at) as served:
        user = await served.user("Asha", ACCOUNT, *symbols)
        for symbol in symbols:
            await user.add_watch(symbol, period=PERIOD)
        await user.call("POST", "/api/monitoring/start")
        await served.broker.add_account(OBSERVER)
        token = await served.broker.control("POST", f"/accounts/{OBSERVER}/token", {"lifetimeSeconds": 10**6})
        opened = Journey(served, user, f"{APP_ID}:{token['accessToken']}")
        await opened.is_watching(max(starts_at, OPENING) + timedelta(seconds=6))
        yield opened


async def test_history_that_changes_is_followed(start_served: StartServed):
    """Late final closes, a revised candle, and one that comes after its successors."""
    symbols = (SBIN, TCS, INFY, ITC, RELIANCE)
    async with journey(start_served, *symbols) as on:
        await on.change("delay_close", SBIN, seconds=2, earlierSeconds=40)
        await on.change("delay_close", TCS, seconds=25, earlierSeconds=40)
        revised = (OPENING + 2 * STEP).isoformat()
        await on.change("revise", INFY, candle=revised, shift=-1.5, resolution="5", secondsActive=1400)
        await on.change(
            "withhold", ITC, candle=(OPENING + 3 * STEP).isoformat(), resolution="5", successors=2
        )

        await on.close_candles(8, SBIN, RELIANCE, first=OPENING)

        await on.become_right(*symbols)
        signals = await on.signals()
        assert not any(one["withdrawnAt"] for one in signals if one["symbol"] in (SBIN, RELIANCE))
        assert not any(one["isLate"] for one in signals if one["symbol"] in (SBIN, RELIANCE))


async def test_one_symbol_never_harms_another(start_served: StartServed):
    """Four symbols fail in four ways for 20 minutes; one that does not is never late."""
    symbols = (SBIN, TCS, INFY, ITC, RELIANCE)
    async with journey(start_served, *symbols) as on:
        lasting = {"afterSeconds": 660, "seconds": 1200}
        await on.control("/faults", kind="http_error", status=500, service="history", symbol=SBIN, **lasting)
        await on.control(
            "/faults", kind="refusal", status=403, code=-403, service="history", symbol=TCS, **lasting
        )
        await on.change("zero", INFY, afterSeconds=660, secondsActive=1200)
        await on.change("empty", ITC, afterSeconds=660, secondsActive=1200)

        await on.close_candles(6, RELIANCE, first=OPENING)
        state = await on.user.state()
        await on.close_candles(3, RELIANCE, first=OPENING + 6 * STEP)

        await on.become_right(*symbols)
        assert state["status"] == "watching"
        late = {one["symbol"] for one in await on.signals() if one["isLate"]}
        assert RELIANCE not in late
        assert late


async def test_slots_without_candles_and_limits(start_served: StartServed):
    """Quiet slots and odd opening times are normal; a rate limit delays and loses nothing."""
    symbols = (SBIN, TCS, RELIANCE)
    async with journey(start_served, *symbols) as on:
        quiet = {"from": (OPENING + 3 * STEP).isoformat(), "to": (OPENING + 5 * STEP).isoformat()}
        await on.change("no_trades", SBIN, **quiet)
        await on.change("off_grid", TCS, seconds=120)
        limited = {"afterSeconds": 1500, "seconds": 100}
        await on.control("/faults", kind="rate_limit", service="history", fyersId=ACCOUNT, **limited)

        await on.close_candles(8, SBIN, RELIANCE, first=OPENING)

        await on.become_right(SBIN, RELIANCE)
        assert (await on.user.state())["status"] == "watching"


async def test_a_split_with_and_without_rescaled_history(start_served: StartServed):
    """On the ex-date the average goes on over re-scaled history, and starts anew over the other."""
    symbols = (SBIN, TCS, RELIANCE)
    afternoon = MONDAY.replace(hour=14, minute=50)
    tuesday = OPENING.replace(day=25)  # the 24th is a holiday
    async with journey(start_served, *symbols, starts_at=afternoon) as on:
        await on.change("split", SBIN, ratio=2, day="2026-11-25")
        await on.change("split", TCS, ratio=5, day="2026-11-25", rescalesPast=False)
        on.restarts[TCS] = tuesday
        await on.close_candles(8, RELIANCE, first=afternoon)
        await on.served.advance_to(tuesday - timedelta(minutes=30))
        await on.user.connect()
        await on.is_watching(tuesday + timedelta(seconds=6))

        await on.close_candles(8, *symbols, first=tuesday)

        await on.become_right(*symbols)
