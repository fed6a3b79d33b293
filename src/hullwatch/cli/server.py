"""Serving a house over HTTP until it is asked to stop, and ending it in order. Building the house belongs to ``app``."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

import structlog
import uvicorn
from fastapi import FastAPI

from hullwatch.app import Application
from hullwatch.cli.listening import address_of, listen_on, url_of
from hullwatch.runtime.garbage import reduce_garbage_collection

__all__ = ["StopSignals", "address_of", "listen_on", "serve_application", "url_of"]

STOP_WITHIN_S: Final = 9.0
"""Real seconds for the whole orderly stop; service managers kill after ten."""
REQUESTS_END_WITHIN_S: Final = 3
"""Real seconds for requests and sockets that are under way."""
LARGEST_MESSAGE: Final = 64 * 1024
"""Bytes of one WebSocket message from outside; what the pages send is below one kilobyte."""


class StopSignals:
    """SIGTERM and SIGINT as events: the first one asks for an orderly stop, another one for a quick one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)

    def _note(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: its own would raise the signal again at the end and so end the process early."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals to `StopSignals`."""
        return contextlib.nullcontext()


async def serve_application(
    house: Application,
    app: FastAPI,
    sock: socket.socket,
    *,
    ready: Callable[[str], None] | None = None,
    signals: StopSignals | None = None,
    within_s: float = STOP_WITHIN_S,
) -> None:
    """Serve a started house until SIGTERM, SIGINT or cancellation, then end everything in order, in ten real seconds at most.

    Args:
        house: Started already; it is stopped here and closed by whoever opened it.
        app: Its door.
        sock: Listens already; it is closed.
        ready: Called with the address once requests are answered.
        signals: Where signals are noted, if somebody has begun to note them before.
        within_s: How long jobs may take to end, in seconds of the house's clock, which may run faster than life.
    """
    reduce_garbage_collection()
    server = _Server(_config(app))
    host, port = address_of(sock)
    with contextlib.ExitStack() as stack:
        signals = signals or stack.enter_context(StopSignals())
        serving = asyncio.create_task(server.serve(sockets=[sock]), name="web server")
        asked = asyncio.create_task(signals.asked.wait(), name="stop asked")
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            if ready is not None and not serving.done():
                ready(url_of(host, port))
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await _end(house, server, serving, signals, within_s)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,  # runtime/logs.py has the say
        access_log=False,  # it would double the cost of a request
        ws="websockets-sansio",  # the same library; uvicorn is about to drop its other way of driving it
        ws_per_message_deflate=False,  # halves the memory of a socket
        ws_max_size=LARGEST_MESSAGE,
        timeout_graceful_shutdown=REQUESTS_END_WITHIN_S,
        server_header=False,
        lifespan="off",
    )


async def _end(
    house: Application, server: _Server, serving: asyncio.Task[None], signals: StopSignals, within_s: float
) -> None:
    """Stop taking requests, close the sockets, then end the jobs; a second signal cuts every wait short."""
    began = time.monotonic()
    log = structlog.get_logger(component="Supervisor")
    log.info("stop.began")
    hurry = asyncio.create_task(_hurry(server, signals), name="stop hurried")
    house.services.context.hub.close()  # event sockets say goodbye to their tabs, which come back by themselves
    server.should_exit = True
    try:
        await asyncio.wait({serving})
        stopping = asyncio.create_task(house.stop(within_s), name="stop the house")
        hurried = asyncio.create_task(signals.hurried.wait(), name="hurried")
        left_s = max(0.5, STOP_WITHIN_S - (time.monotonic() - began))
        await asyncio.wait({stopping, hurried}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait({stopping}, timeout=1)
    finally:
        hurry.cancel()
    for task in (serving, stopping):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("stop.failed", task=task.get_name(), exc_info=error)
    log.info("stop.done", in_order=stopping.done() and not stopping.cancelled())


async def _hurry(server: _Server, signals: StopSignals) -> None:
    await signals.hurried.wait()
    server.force_exit = True
