"""Where the stories happen: the real simulator, the real house before it on a real database, and its real HTTP door.

Time stands still until a story moves it: the simulator's clock is advanced and the house's is set by it. Nothing here sleeps for a time; what
has to happen is awaited by asking the API, within `ANSWER_LIMIT_S`.
"""

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
from hullwatch.settings import Settings, read_settings
from hullwatch.simulator.server import SimulatorConfig, SimulatorServer
from journeys.broker import SimulatedBroker
from journeys.browser import Browser

ORDINARY_MONDAY = datetime.fromisoformat("2026-11-23T10:07:31+05:30")
"""In the middle of a trading session, in which none of the stories on the synthetic market comes near a session's end."""

T = TypeVar("T")


class OneRhythm(Random):
    """Chance that gives every account the same rhythm: a cycle one second after each multiple of five, and so at each candle's close."""

    getrandbits = Random.getrandbits  # choices among many stay choices

    def random(self) -> float:
        """Return the same fifth of an interval each time."""
        return 0.2


async def until(check: Callable[[], Awaitable[T]], what: str = "") -> T:
    """Return the first true value of `check`, asked again and again."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_LIMIT_S
    while not (value := await check()):
        assert loop.time() < deadline, f"it did not happen: {what or check.__qualname__}"
        await asyncio.sleep(0.004)
    return value


class Town:
    """One broker, one install, and its users."""

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
        self._house: Application | None = None

    @property
    def house(self) -> Application:
        """The running house."""
        assert self._house is not None, "the house does not stand"
        return self._house

    # ---------------------------------------------------------------- the house

    async def start_house(self) -> None:
        """Open the house on its data and serve it, at the same address as before."""
        async with AsyncExitStack() as stack:
            sock = stack.enter_context(listen_on("127.0.0.1", self._port))
            host, self._port = address_of(sock)
            self.url = url_of(host, self._port)
            settings = settings_for(self.broker.url, self.data_dir, public_url=self.url, **self._settings)
            house = await stack.enter_async_context(
                open_application(settings, clock=self.clock, random=OneRhythm(1))
            )
            await house.start()
            ready, signals = asyncio.Event(), StopSignals()
            serving = asyncio.create_task(
                serve_application(
                    house,
                    house.web(house.web_config()),
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
            is_up = asyncio.create_task(ready.wait(), name="server is up")
            await asyncio.wait({is_up, serving}, timeout=ANSWER_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            assert is_up.done(), "the server did not come up"
            self._house, self._running = house, stack.pop_all()

    async def stop_house(self) -> None:
        """End the house in order."""
        running, self._running, self._house = self._running, None, None
        if running is not None:
            await running.aclose()

    async def close(self) -> None:
        """Send everybody home and end the house."""
        for browser in self._browsers:
            await browser.close()
        await self.stop_house()

    # ---------------------------------------------------------------- people

    def browser(self, name: str, fyers_id: str = "", *symbols: str) -> Browser:
        """Return a new browser."""
        self._browsers.append(Browser(self.url, name, fyers_id, symbols))
        return self._browsers[-1]

    async def settle_in(self, count: int, *symbols: str) -> list[Browser]:
        """Let so many people register, connect and watch these symbols; the first is admin."""
        people = [self.browser(f"Trader{place}", f"FY{place:05d}", *symbols) for place in range(count)]
        for person in people[:1]:
            await person.register()
        await asyncio.gather(*(person.register() for person in people[1:]))
        for person in people:
            await self.broker.person(person.fyers_id)
            await self.patiently(person.connect())  # logins of one app wait for their turn
        await self.advance((1 - self.clock.now().second) % 5)
        for person in people:
            await person.watch()
        await self.cycles_done(people)
        return people

    # ---------------------------------------------------------------- time

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once, at the broker and here."""
        self.clock.synchronise(*await self.broker.advance(seconds))

    async def set_speed(self, speed: float) -> None:
        """Let time run by itself, so many seconds each second, at the broker and here."""
        await self.broker.order("POST", "/clock", {"speed": speed})
        self.clock.synchronise(*await self.broker.now())

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass up to a moment."""
        await self.advance((moment - self.clock.now()).total_seconds())

    async def cycles_done(self, people: Sequence[Browser]) -> None:
        """Wait until everybody's cycle of this moment has ended."""
        for person in people:
            now = self.clock.now()

            async def is_done(person: Browser = person, now: datetime = now) -> bool:
                return await person.last_cycle_at() == now

            await until(is_done, f"{person.name}'s cycle of {now}")

    async def patiently(self, work: Awaitable[T]) -> T:
        """Await something that may have to wait for its turn at Fyers: seconds pass until it is done."""
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
        """Let so many seconds pass and everybody's cycle with them."""
        await self.advance(seconds)
        await self.cycles_done(people)


def settings_for(simulator_url: str, data_dir: Path, **overrides: Any) -> Settings:
    """Return settings that reach the simulator only, whatever the environment says; sweeps come only when asked for."""
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
async def open_town(
    data_dir: Path,
    *,
    starts_at: datetime = ORDINARY_MONDAY,
    candles: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Town]:
    """Start the simulator at a moment, standing still, and the house before it."""
    async with SimulatorServer(
        SimulatorConfig(port=0, speed=0.0, candles=candles, starts_at=starts_at)
    ) as server:
        broker = SimulatedBroker(server.base_url)
        clock = ScaledClock(speed=0.0, starts_at=(await broker.now())[0])
        town = Town(server, broker, clock, data_dir, **settings)
        try:
            await town.start_house()
            yield town
        finally:
            await town.close()
            await broker.close()
