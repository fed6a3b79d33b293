"""Runs the server's own parts through one close, and prints what happened as JSON; `close` starts it.

It uses only what the server had in release 0.1.0 as well, so that an earlier source can be measured beside the present one.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp

from benchmarks.accounts import Watchlist, benchmark_application, link_accounts
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.domain.events import SignalFired
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.coverage import STATUS_KIND
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.secrets import AccessToken
from hullwatch.runtime.clock import Clock, ScaledClock

SYMBOLS_OF_MARKET = 500
SESSION_LASTS = timedelta(hours=12)
QUIET_S = 5.0
"""The close is over when no history call was made for this long."""
LONGEST_CLOSE_S = 290.0
CALLS_OF = timedelta(hours=1)
SEEING = (WatchStatus.WATCHING.value, WatchStatus.MARKET_CLOSED.value)


@dataclass(frozen=True, slots=True)
class OwnTokens:
    """The address of the benchmark's broker, and sessions for it: it checks no token."""

    base_url: str
    clock: Clock

    async def new_session(self, fyers_id: str) -> tuple[AccessToken, datetime]:
        """Return an access token and its expiry."""
        expires_at = self.clock.now() + SESSION_LASTS
        claims = {"sub": "access_token", "fy_id": fyers_id, "exp": int(expires_at.timestamp())}
        parts = [json.dumps({"alg": "HS256"}), json.dumps(claims), fyers_id]
        token = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
        return AccessToken(token), expires_at


@dataclass(frozen=True, slots=True)
class SpreadWatchlist(Watchlist):
    """Watchlists of `count` symbols, evenly spread over the market, so that all accounts' lists overlap."""

    count: int = 20

    def symbols_of(self, account: int) -> Sequence[Symbol]:
        """Return the watchlist of an account."""
        step = SYMBOLS_OF_MARKET // self.count
        return [Symbol(f"NSE:S{account % step + step * number}-EQ") for number in range(self.count)]


class Signals:
    """Seconds from the measured close to each stored and published signal."""

    def __init__(self, application: Application, users: list[str], close_at: datetime) -> None:
        self._close_at = close_at
        self._clock = application.services.context.clock
        self._hub = application.services.context.hub
        self.found: dict[tuple[str, str], float] = {}
        self.late = 0
        self._readers = [asyncio.create_task(self._read(user), name=f"signals {user}") for user in users]

    async def _read(self, user: str) -> None:
        async with self._hub.subscribe(user) as deliveries:
            async for delivery in deliveries:
                match delivery.message:
                    case SignalFired(signal=signal) if signal.candle_closed_at == self._close_at:
                        seconds = (self._clock.now() - self._close_at).total_seconds()
                        self.found[user, signal.symbol.text] = seconds
                        self.late += signal.is_late

    def close(self) -> None:
        """Stop reading."""
        for reader in self._readers:
            reader.cancel()


async def control(base_url: str, path: str) -> dict[str, dict[str, int]]:
    """Make a control call."""
    async with aiohttp.ClientSession() as http, http.get(base_url + path) as answer:
        return dict(json.loads(await answer.read()))


async def measure(chosen: argparse.Namespace) -> dict[str, object]:
    """Warm up, wait for the close and count until it is over."""
    now = datetime.fromtimestamp((await control(chosen.broker, "/now"))["now"], UTC)  # type: ignore[arg-type] # a number
    clock = ScaledClock(speed=chosen.speed, starts_at=now)
    close_at = datetime.fromtimestamp(chosen.close_at, UTC)
    tokens = OwnTokens(chosen.broker, clock)
    async with benchmark_application(tokens, clock) as application:
        accounts = await link_accounts(
            application,
            tokens,
            chosen.accounts,
            SpreadWatchlist(count=chosen.symbols),
        )
        users = [account.user_id for account in accounts]
        await application.services.connections.load()
        await application.services.monitoring.load()
        application.services.connections.start_jobs()
        application.services.monitoring.start_jobs(application.services.supervisor)
        signals = Signals(application, users, close_at)
        warm_at = await _warm_up(chosen, clock, close_at)
        await control(chosen.broker, "/counts?reset=1")
        if chosen.hour:
            await clock.sleep_until(clock.now() + CALLS_OF)
            return {"calls": await control(chosen.broker, "/counts"), "warmS": warm_at}
        await clock.sleep_until(close_at - timedelta(seconds=20))
        await control(chosen.broker, "/counts?reset=1")
        idle_before, idle_began = time.process_time(), time.monotonic()
        await clock.sleep_until(close_at)
        cpu_before, idle_s = time.process_time(), time.monotonic() - idle_began
        took_s, counts = await _until_over(chosen.broker, clock, close_at)
        cpu_s = time.process_time() - cpu_before
        async with application.services.context.store.begin() as work:
            watches = await work.watches.list_all()
        signals.close()
        blind = await _blind(application, close_at)
        return {
            "found": [[*key, seconds] for key, seconds in signals.found.items()],
            "late": signals.late,
            "evaluated": sum(watch.evaluated_through >= close_at for watch in watches),
            "lines": len(watches),
            "tookS": took_s,
            "cpuS": cpu_s,
            "cpuBeforeS": cpu_before - idle_before,
            "beforeS": idle_s,
            "warmS": warm_at,
            "counts": counts,
            "quotesBefore": sum(
                count for second, count in counts["quotesBySecond"].items() if int(second) < chosen.close_at
            ),
            "blind": blind,
        }


async def _warm_up(chosen: argparse.Namespace, clock: Clock, close_at: datetime) -> float:
    """Wait until every line has its history; return how many seconds before the close that was."""
    lines = chosen.accounts * chosen.symbols
    while True:
        by_second = (await control(chosen.broker, "/counts"))["historyBySecond"]
        last = max((int(second) for second in by_second), default=0)
        if sum(by_second.values()) >= lines and clock.now().timestamp() - last > 3 * chosen.speed:
            return (close_at - clock.now()).total_seconds()
        if clock.now() >= close_at - timedelta(seconds=25):
            shown = sorted(by_second.items())
            raise TimeoutError(f"the warm-up took too long; begin earlier with --lead; calls: {shown}")
        await asyncio.sleep(0.5)


async def _until_over(
    base_url: str, clock: Clock, close_at: datetime
) -> tuple[float, dict[str, dict[str, int]]]:
    """Wait until no history call was made for some seconds; return when the last one was, and the counts."""
    counts = await control(base_url, "/counts")
    while True:
        await clock.sleep(QUIET_S)
        counts = await control(base_url, "/counts")
        last = max((int(second) for second in counts["historyBySecond"]), default=0)
        passed = (clock.now() - close_at).total_seconds()
        if (passed > 2 * QUIET_S and clock.now().timestamp() - last > QUIET_S) or passed > LONGEST_CLOSE_S:
            return last - close_at.timestamp(), counts


async def _blind(application: Application, since: datetime) -> dict[str, int]:
    """Return how often monitoring recorded an account as blind since then, by reason."""
    now = application.services.context.clock.now()
    async with application.services.context.store.begin() as work:
        entries = await work.audit.lines(STATUS_KIND, since=since, before=now)
    states = [entry.to_state or "" for entry in entries]
    return Counter(state for state in states if state not in SEEING)


def main() -> None:
    """Run it and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True)
    parser.add_argument("--close-at", type=int, required=True)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--hour", action="store_true")
    json.dump(run(measure(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
