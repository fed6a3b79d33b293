"""Stops, kills and restarts of the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.signals import Rule
from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser
from journeys.environment import ORDINARY_MONDAY, Environment, until
from journeys.process import ServerProcess

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ", "NSE:ITC-EQ")
PERIODS = (2, 3, 5, 9)
"""Short ones, so that nearly every candle gives signals."""
LINES = [(symbol, period, rule) for symbol in SYMBOLS for period in PERIODS for rule in Rule]
CANDLE = timedelta(minutes=5)


async def test_an_orderly_restart(start_environment) -> None:
    """Monitoring continues by itself. Candles that closed meanwhile are evaluated once."""
    async with start_environment() as environment:
        asha, ravi = await environment.add_users(2, SYMBOLS[0])
        await add_all_watches(asha)
        await ravi.call("POST", "/api/monitoring/stop")
        await environment.advance_to(next_close(environment))
        await environment.advance_until_done(
            until(lambda: _is_caught_up(asha, environment.clock.now()), "the first candle")
        )
        await until(asha.signals, "its signals are stored")
        before = await stored_state(asha)

        await environment.stop_server()
        await environment.broker.reset_calls()
        await environment.advance(3 * 300)  # no server is running
        assert await environment.broker.total() == 0
        await environment.start_server()
        after = await stored_state(asha)
        assert {**after, "watches": before["watches"], "signals": before["signals"]} == before
        assert facts(after["signals"]) >= facts(before["signals"])
        assert [line["id"] for line in after["watches"]] == [line["id"] for line in before["watches"]]
        await environment.advance_until_done(
            until(lambda: _is_caught_up(asha, environment.clock.now()), "the missed candles")
        )

        assert (await asha.connection())["verified"] is True
        await assert_signals_stored(asha, await environment.advance_until_done(expected(asha)))
        assert any(signal["isLate"] for signal in await asha.signals())
        assert (await ravi.state())["isWanted"] is False
        assert await environment.broker.total(ravi.fyers_id) == 0
        assert [notice for person in (asha, ravi) for notice in await person.notices()] == []


async def test_a_session_that_expired_while_the_server_was_down(start_environment) -> None:
    """It is disconnected at the start with the time of its expiry, with one notice and no call to Fyers."""
    async with start_environment() as environment:
        (asha,) = await environment.add_users(1, SYMBOLS[0])
        await environment.broker.add_account(asha.fyers_id, lifetime=timedelta(minutes=20))
        await asha.connect()
        expires_at = (await asha.connection())["expiresAt"]
        await environment.stop_server()
        await environment.broker.reset_calls()
        await environment.advance(3600)
        await environment.start_server()

        connection = await asha.connection()
        assert (connection["state"], connection["reason"]) == ("disconnected", "expired")
        assert connection["lastDisconnectTime"] == expires_at
        assert len(await asha.notices("session_disconnected")) == 1
        assert await environment.broker.total() == 0
        await environment.stop_server()
        await environment.start_server()
        assert len(await asha.notices("session_disconnected")) == 1

        await environment.broker.add_account(asha.fyers_id)
        await asha.connect()
        await environment.advance_until_done(
            until(lambda: _is_caught_up(asha, environment.clock.now()), "the missed candles")
        )
        await assert_signals_stored(asha, await environment.advance_until_done(expected(asha)))


@asynccontextmanager
async def killable_server(
    folder: Path, config: SimulatorConfig
) -> AsyncIterator[tuple[ServerProcess, SimulatedBroker, Browser]]:
    """Start a simulator and a server process at its time, and connect a user."""
    async with SimulatorServer(config) as simulator:
        broker = SimulatedBroker(simulator.base_url)
        clock_url = f"{simulator.base_url}/simulator/clock"
        server = ServerProcess(folder, simulator.base_url, HULLWATCH_CLOCK_URL=clock_url)
        asha = Browser(server.url, "Asha", "FY00001", SYMBOLS)
        try:
            await server.start()
            await asha.register()
            await broker.add_account(asha.fyers_id)
            await asha.connect()
            yield server, broker, asha
        finally:
            server.kill()
            await asha.close()
            await broker.close()


async def test_kill_9_in_trading_hours(tmp_path: Path) -> None:
    """Killed while it evaluates a candle, it loses no watch and no session, and stores every signal once."""
    config = SimulatorConfig(port=0, speed=0.0, starts_at=ORDINARY_MONDAY)
    async with killable_server(tmp_path, config) as (server, broker, asha):
        acknowledged = await add_all_watches(asha)
        close = datetime.fromisoformat("2026-11-23T10:10:04+05:30")  # the settle time of a candle is over
        for crash in ("at once", "during the request", "during storage"):
            await _advance_to(broker, close)
            await _crash(server, broker, asha, crash, close)
            await server.start()
            assert (await asha.state())["isWanted"] is True
            assert (await asha.connection())["state"] == "connected"
            assert {
                line["id"] for line in (await asha.get("/api/monitoring/watches"))["watches"]
            } == acknowledged
            assert len(facts(await asha.signals())) == len(await asha.signals())
            close += CANDLE
        await _let_settle(server, broker, close)
        await until(lambda: _is_caught_up(asha, close), "the missed candles")

        await broker.advance(2)  # so that the rate limit allows the calls of the test itself
        await assert_signals_stored(asha, await expected(asha))
        assert len(await asha.signals()) > len(LINES)
        assert await asha.notices() == []
        assert (await asha.connection())["verified"] is True
        assert await server.stop() == 0
        assert "Traceback" not in server.output


async def _crash(
    server: ServerProcess, broker: SimulatedBroker, asha: Browser, when: str, close: datetime
) -> None:
    """Kill the server during its work on a candle that has just closed."""
    if when == "during the request":
        calls_before = (await broker.calls(path="/data/history"))["total"]
        await until(lambda: _was_called(broker, calls_before), "a call for history")
    elif when == "during storage":
        tab = await asha.open_tab()
        await _let_settle(server, broker, close)
        await until(lambda: _has_candle(tab), "an evaluated candle")
    server.kill()


async def _let_settle(server: ServerProcess, broker: SimulatedBroker, close: datetime) -> None:
    """Let both readings of a candle be due. A start spreads accounts over one interval of five seconds."""
    for seconds in (2, 5, 8, 12):
        moment = close + timedelta(seconds=seconds)
        await _advance_to(broker, moment)

        async def has_followed(moment: datetime = moment) -> bool:
            return await server.time() >= moment

        await until(has_followed, f"the server's time is {moment}")


async def _was_called(broker: SimulatedBroker, before: int) -> bool:
    return (await broker.calls(path="/data/history"))["total"] > before


async def _has_candle(tab) -> bool:
    return bool(tab.data("candle"))


async def _advance_to(broker: SimulatedBroker, moment: datetime) -> None:
    now, _ = await broker.now()
    await broker.advance((moment - now).total_seconds())


async def test_kill_9_of_the_served_product(tmp_path: Path) -> None:
    """`hullwatch serve`, killed while watches are added, keeps them, the session and the start."""
    async with killable_server(tmp_path, SimulatorConfig(port=0)) as (server, _, asha):
        await asha.call("POST", "/api/monitoring/start")
        acknowledged: list[str] = []
        adding = asyncio.create_task(add_until_killed(asha, acknowledged))
        await until(lambda: _reaches(acknowledged, len(LINES) // 2), "half of the watches")
        server.kill()
        await adding

        await server.start()
        kept = {line["id"] for line in (await asha.get("/api/monitoring/watches"))["watches"]}
        assert set(acknowledged) <= kept
        assert len(kept) <= len(acknowledged) + 1  # the watch whose answer was cut off may be stored
        assert (await asha.state())["isWanted"] is True
        await asha.call("POST", "/api/token-validation/clear-cache")
        validation = await asha.get("/api/token-validation/status")
        assert (validation["isValid"], validation["verified"]) == (True, True)
        assert await server.stop() == 0


async def add_until_killed(person: Browser, acknowledged: list[str]) -> None:
    """Add watches until the server is killed."""
    try:
        for symbol, period, rule in LINES:
            line = await person.add_watch(symbol, period=period, rule=rule)
            acknowledged.append(line["id"])
    except aiohttp.ClientError:
        return


async def _reaches(found: list[str], count: int) -> bool:
    return len(found) >= count


async def add_all_watches(person: Browser) -> set[str]:
    """Add all watches and start monitoring; return the ids of the watches."""
    lines = [await person.add_watch(symbol, period=period, rule=rule) for symbol, period, rule in LINES]
    await person.call("POST", "/api/monitoring/start")
    return {line["id"] for line in (await person.get("/api/monitoring/watches"))["watches"]} | {
        line["id"] for line in lines
    }


async def stored_state(person: Browser) -> dict[str, Any]:
    """Return the data that a restart must keep."""
    connection = await person.connection()
    return {
        "connection": {
            name: connection[name] for name in ("state", "reason", "expiresAt", "connectedAt", "fyersId")
        },
        "isWanted": (await person.state())["isWanted"],
        "watches": (await person.get("/api/monitoring/watches"))["watches"],
        "signals": await person.signals(),
    }


def facts(signals: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Return the facts of signals, without the times of their detection."""
    return {
        (
            one["symbol"],
            one["period"],
            one["rule"],
            one["direction"],
            datetime.fromisoformat(one["candleOpenedAt"]),
            one["close"],
        )
        for one in signals
    }


async def expected(person: Browser) -> set[tuple[Any, ...]]:
    """Return the signals of a replay for every watch, from its creation to its last evaluated candle."""
    found: set[tuple[Any, ...]] = set()
    lines = (await person.get("/api/monitoring/watches"))["watches"]
    for text in {line["symbol"] for line in lines}:
        of_symbol = [line for line in lines if line["symbol"] == text]
        candles = await candles_of(person, text, max(line["evaluatedThrough"] for line in of_symbol))
        for line in of_symbol:
            symbol, rule = Symbol.parse(text), Rule(line["rule"])
            created_at, through = (
                datetime.fromisoformat(line[name]) for name in ("createdAt", "evaluatedThrough")
            )
            for signal in replay(candles, symbol, line["period"], Resolution.parse("5"), [rule]).signals:
                if created_at < signal.candle_closed_at <= through:
                    fact = (text, line["period"], rule, signal.direction)
                    found.add((*fact, signal.candle_opened_at, signal.close))
    return found


async def assert_signals_stored(person: Browser, wanted: set[tuple[Any, ...]]) -> None:
    """Wait until exactly these signals are stored, each once."""
    await until(lambda: _are_as_many(person, len(wanted)), "the signals are stored")
    stored = await person.signals()
    assert facts(stored) == wanted
    assert len(stored) == len(wanted)


async def _are_as_many(person: Browser, count: int) -> bool:
    return len(await person.signals()) >= count


async def candles_of(person: Browser, symbol: str, until_then: str) -> list[Candle]:
    """Return the candles of a symbol that closed in the five days before a time of the API."""
    start = (datetime.fromisoformat(until_then) - timedelta(days=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = await person.get(f"/api/market/candles?symbol={symbol}&start={start}&end={until_then}")
    assert answer["outcome"] == "ok"
    return [Candle(datetime.fromisoformat(one.pop("openedAt")), **one) for one in answer["candles"]]


def next_close(environment: Environment) -> datetime:
    """Return one second after the next candle's close."""
    now = environment.clock.now()
    return now + (CANDLE - timedelta(minutes=now.minute % 5, seconds=now.second)) + timedelta(seconds=1)


async def _is_caught_up(person: Browser, moment: datetime) -> bool:
    """Whether every watch has been evaluated up to the last candle that closed before a time."""
    close = moment - timedelta(
        minutes=moment.minute % 5, seconds=moment.second, microseconds=moment.microsecond
    )
    lines = (await person.get("/api/monitoring/watches"))["watches"]
    return all(datetime.fromisoformat(line["evaluatedThrough"]) >= close for line in lines)
