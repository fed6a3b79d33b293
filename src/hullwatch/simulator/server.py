"""The simulator as a server on one port, in this process or on its own."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hullwatch.simulator.broker import Broker
from hullwatch.simulator.config import SimulatorConfig, UnusableConfig
from hullwatch.simulator.control.table import CALLS
from hullwatch.simulator.gateway import Gateway

__all__ = ["SimulatorConfig", "SimulatorServer", "UnusableConfig", "run_simulator"]


def _logger() -> logging.Logger:
    """Return a logger for defects of the simulator; clients without valid HTTP get 400 and no log line."""
    logger = logging.getLogger("hullwatch.simulator.http")
    logger.filters = [_is_ours]
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


class SimulatorServer:
    """A running simulator; an async context manager.

    Args:
        config: How to run it.
        monotonic: Source of real time in seconds, for tests that hold the clock in their hands.
        beat_s: Real seconds between two updates of the data stream.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        beat_s: float = 0.25,
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._beat_s = beat_s
        self._broker: Broker | None = None
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()
        self._port = 0

    @property
    def broker(self) -> Broker:
        """The broker behind the port, once started."""
        if self._broker is None:
            raise RuntimeError("the simulator has not been started")
        return self._broker

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Open the market and the port.

        Raises:
            UnusableConfig: The candles, the start, the speed or the address cannot be used.
        """
        self._broker = await asyncio.to_thread(Broker.open, self._config, self._monotonic)
        self._stopping.clear()
        gateway = Gateway(self._broker, self._stopping, self._beat_s)
        server = web.Server(
            gateway.answer,
            handler_cancellation=True,
            logger=_logger(),
            auto_decompress=False,  # a compressed body would be a way to make a small request huge
            access_log=None,
            keepalive_timeout=75.0,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            reason = error.strerror or str(error)
            address = f"{self._config.host}:{self._config.port}"
            raise UnusableConfig(f"the simulator cannot listen on {address}: {reason}") from error
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and the port."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def addresses(base_url: str) -> list[str]:
    """Return the lines that a command prints when the simulator answers; programs read the first one."""
    return [
        f"Fyers simulator at {base_url}",
        f"  REST      {base_url}/api/v3 and {base_url}/data",
        f"  Stream    {base_url.replace('http', 'ws', 1)}/hsm/v1-5/prod",
        f"  Control   {base_url}/simulator lists these calls:",
        *(f"  {call.method:<8}  {call.path}: {call.summary}" for call in CALLS if call.method == "POST"),
        "Press Ctrl-C to stop.",
    ]


async def run_simulator(
    config: SimulatorConfig, ready: Callable[[str], None] | None = None, *, handle_signals: bool = True
) -> None:
    """Serve until cancelled, or until SIGTERM or SIGINT.

    Args:
        config: How to run it.
        ready: Called with the base address once it answers.
        handle_signals: Whether to end on signals; off inside a program that handles them itself.

    Raises:
        UnusableConfig: It cannot start; the message says why in a sentence.
    """
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT) if handle_signals else ()
    async with SimulatorServer(config) as server:
        for number in signals:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, done.set)
        try:
            if ready is not None:
                ready(server.base_url)
            await done.wait()
        finally:
            for number in signals:
                with suppress(NotImplementedError, RuntimeError, ValueError):
                    loop.remove_signal_handler(number)
