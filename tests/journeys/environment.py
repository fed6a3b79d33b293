"""The simulator and a served application with a real database, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from limits import ANSWER_LIMIT_S

from hullwatch.app import Application, open_application
from hullwatch.cli.server import StopSignals, address_of, listen_on, serve_application, url_of
from hullwatch.runtime.clock import ScaledClock
from hullwatch.services.monitoring.history_calls import HistoryCalls
from hullwatch.settings import Settings, read_settings
from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser

ORDINARY_MONDAY = datetime.fromisoformat("2026-11-23T10:07:31+05:30")
"""In trading hours; no journey on the synthetic market reaches the market close."""

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.004, 0.02
T = TypeVar("T")


class FixedRandom(Random):
    """Gives every account the same schedule: a cycle one second after each multiple of five seconds."""

    getrandbits = Random.getrandbits  # other random choices stay random

    def random(self) -> float:
        """Return the same fifth of an interval each time."""
        return 0.2


async def until(check: Callable[[], Awaitable[T]], what: str = "") -> T:
    """Call `check` repeatedly and return its first true value."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_LIMIT_S
    pause_s = SHORTEST_PAUSE_S
    while not (value := await check()):
        assert loop.time() < deadline, f"did not become true: {what or check.__qualname__}"
        await asyncio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)  # each check costs a request
    return value


class Environment:
    """A simulator, an application and its users."""

    def __init__(
        self,
        simulator: SimulatorServer,
        broker: SimulatedBroker,
        clock: ScaledClock,
        data_dir: Path,
        **settings: Any,
    ) -> None:
        self.simulator = simulator
        self.broker = broker
        self.clock = clock
        self.data_dir = data_dir
        self._settings = settings
        self._port = 0
        self._running: AsyncExitStack | None = None
        self._browsers: list[Browser] = []
        self.url = ""
        self._application: Application | None = None

    @property
    def application(self) -> Application:
        """The running application."""
        assert self._application is not None, "the application is not running"
        return self._application

    # ---------------------------------------------------------------- the application

    async def start_server(self) -> None:
        """Open the application on its data folder and serve it, at the same address as before."""
        async with AsyncExitStack() as stack:
            sock = stack.enter_context(listen_on("127.0.0.1", self._port))
            host, self._port = address_of(sock)
            self.url = url_of(host, self._port)
            settings = settings_for(self.broker.url, self.data_dir, public_url=self.url, **self._settings)
            application = await stack.enter_async_context(
                open_application(settings, clock=self.clock, random=FixedRandom(1))
            )
            await application.start()
            ready, signals = asyncio.Event(), StopSignals()
            serving = asyncio.create_task(
                serve_application(
                    application,
                    application.web(application.web_config()),
                    sock,
                    ready=lambda _: ready.set(),
                    signals=signals,
                ),
                name="server",
            )

            async def stop() -> None:
                signals.stop_requested.set()
                await serving

            stack.push_async_callback(stop)
            started = asyncio.create_task(ready.wait(), name="server started")
            await asyncio.wait(
                {started, serving}, timeout=ANSWER_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
            )
            assert started.done(), "the server did not start"
            self._application, self._running = application, stack.pop_all()

    async def stop_server(self) -> None:
        """Stop the application in order."""
        running, self._running, self._application = self._running, None, None
        if running is not None:
            await running.aclose()

    async def close(self) -> None:
        """Close all browsers and stop the application."""
        for browser in self._browsers:
            await browser.close()
        await self.stop_server()

    # ---------------------------------------------------------------- people

    def browser(self, name: str, fyers_id: str = "", *symbols: str) -> Browser:
        """Return a new browser."""
        self._browsers.append(Browser(self.url, name, fyers_id, symbols))
        return self._browsers[-1]

    async def add_users(self, count: int, *symbols: str) -> list[Browser]:
        """Add users who are connected and watch these symbols; the first one is admin."""
        people = [self.browser(f"Trader{number}", f"FY{number:05d}", *symbols) for number in range(count)]
        for person in people[:1]:
            await person.register()
        await asyncio.gather(*(person.register() for person in people[1:]))
        for person in people:
            await self.broker.add_account(person.fyers_id)
            await self.advance_until_done(person.connect())  # logins of one app are rate-limited
        await self.advance((1 - self.clock.now().second) % 5)
        for person in people:
            await person.watch()
        await self.wait_for_cycles(people)
        return people

    # ---------------------------------------------------------------- time

    async def advance(self, seconds: float) -> None:
        """Move both clocks forward by a number of seconds."""
        self.clock.synchronise(*await self.broker.advance(seconds))

    async def set_speed(self, speed: float) -> None:
        """Set the speed of both clocks."""
        await self.broker.control("POST", "/clock", {"speed": speed})
        self.clock.synchronise(*await self.broker.now())

    async def advance_to(self, moment: datetime) -> None:
        """Move both clocks to a time."""
        await self.advance((moment - self.clock.now()).total_seconds())

    async def wait_for_cycles(self, people: Sequence[Browser]) -> None:
        """Wait until each user's cycle at the present time has ended."""
        now, monitoring = self.clock.now(), self.application.services.monitoring

        async def is_done(person: Browser) -> bool:
            # Read from memory: a request for each poll would cost more than the cycle.
            return monitoring.state(person.user_id).last_cycle_at == now

        for person in people:
            await until(lambda person=person: is_done(person), f"{person.name}'s cycle of {now}")

    async def wait_for_first_readings(self) -> None:
        """Wait until every candle of a close was read once; the readings that confirm it may still have to come."""
        await until(
            self._has_readings(lambda calls: not calls._later and not calls._awake), "the first readings"
        )

    async def wait_for_all_readings(self) -> None:
        """Wait until no reading of a candle is under way or planned."""
        await until(self._has_readings(lambda calls: not calls._later and not calls._tasks), "all readings")

    def _has_readings(self, is_met: Callable[[HistoryCalls], bool]) -> Callable[[], Awaitable[bool]]:
        accounts = self.application.services.monitoring._scheduler.accounts

        async def are_met() -> bool:
            return all(is_met(account.watcher._reader.calls) for account in accounts.values())

        return are_met

    async def advance_until_done(self, work: Awaitable[T]) -> T:
        """Await work that may wait for a rate limit; the clocks move until it is done."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=0.05)
                if not task.done():
                    await self.advance(1)
        finally:
            task.cancel()
        return task.result()

    async def step(self, seconds: float, people: Sequence[Browser]) -> None:
        """Move the clocks forward and wait for each user's cycle."""
        await self.advance(seconds)
        await self.wait_for_cycles(people)


def settings_for(simulator_url: str, data_dir: Path, **overrides: Any) -> Settings:
    """Return settings that reach the simulator only; periodic validation runs once a day."""
    return read_settings(
        **{
            "data_dir": data_dir,
            "database_url": "",
            "redis_url": "",
            "encryption_keys": "",
            "host": "127.0.0.1",
            "registration": "open",
            "fyers_app_id": "",
            "fyers_secret_key": "",
            "fyers_redirect_uri": "",
            "fyers_base_url": f"{simulator_url}/api/v3",
            "fyers_data_url": f"{simulator_url}/data",
            "fyers_public_url": simulator_url,
            "fyers_connect_timeout_seconds": 60,
            "validation_interval_minutes": 1440,
            **overrides,
        }
    )


@asynccontextmanager
async def open_environment(
    data_dir: Path,
    *,
    starts_at: datetime = ORDINARY_MONDAY,
    candles: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Environment]:
    """Start the simulator with a stopped clock, and the application against it."""
    async with SimulatorServer(
        SimulatorConfig(port=0, speed=0.0, candles=candles, starts_at=starts_at)
    ) as server:
        broker = SimulatedBroker(server.base_url)
        clock = ScaledClock(speed=0.0, starts_at=(await broker.now())[0])
        environment = Environment(server, broker, clock, data_dir, **settings)
        try:
            await environment.start_server()
            yield environment
        finally:
            await environment.close()
            await broker.close()
