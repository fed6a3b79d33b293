"""Listening on a port, serving an application over HTTP until a stop signal, and stopping it in order."""

import asyncio
import contextlib
import errno
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Self

import structlog
import uvicorn
from fastapi import FastAPI

from hullwatch.app import Application
from hullwatch.app.application import LAST_SAVE_S
from hullwatch.cli.output import CommandFailed
from hullwatch.runtime.garbage import reduce_garbage_collection
from hullwatch.runtime.process_limits import (
    descriptors_for_clients,
    forbid_core_dumps,
    raise_descriptor_limit,
)
from hullwatch.web.connection_limits import ConnectionLimits, MostConnections, TrustedProxies
from hullwatch.web.http_protocol import CountedSocket, ForwardedAddresses, LimitedHttp

STOP_WITHIN_S: Final = 9.0
"""Real seconds for the whole orderly stop; service managers kill after ten."""
REQUESTS_END_WITHIN_S: Final = 3
"""Real seconds for open requests and sockets to finish."""
BACKLOG: Final = 100
"""Connections that wait to be accepted. asyncio repeats a failed accept so often at once."""
DESCRIPTORS_LOG_EVERY_S: Final = 60.0
LARGEST_MESSAGE: Final = 64 * 1024
"""Bytes of one WebSocket message from outside; the pages send less than one kilobyte."""
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@contextmanager
def listen_on(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port to listen on; 0 picks a free one.

    Raises:
        CommandFailed: The address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise CommandFailed(f"HULLWATCH_HOST is no address of this machine: {host!r}.") from None
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)  # at once: two servers that are only bound could share the port unnoticed
        except OSError as error:
            where = f"{host or '*'}:{port}"
            raise CommandFailed(
                f"Cannot listen on {where}: {error.strerror}. Choose another port with --port."
            ) from None
        yield sock


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return the host and port that a socket listens on."""
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def url_of(host: str, port: int) -> str:
    """Return the address for a browser on this machine."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class StopSignals:
    """SIGTERM and SIGINT as events: the first one requests an orderly stop, the second one a quick stop."""

    def __init__(self) -> None:
        self.stop_requested = asyncio.Event()
        self.quick_stop_requested = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        (self.quick_stop_requested if self.stop_requested.is_set() else self.stop_requested).set()


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which raise the signal again and so end the process too early."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals to `StopSignals`."""
        return contextlib.nullcontext()


async def serve_application(
    application: Application,
    web: FastAPI,
    sock: socket.socket,
    *,
    ready: Callable[[str], None] | None = None,
    signals: StopSignals | None = None,
    within_s: float = STOP_WITHIN_S,
) -> None:
    """Serve a started application until SIGTERM, SIGINT or cancellation, then stop it within ten real seconds.

    Args:
        application: Already started; it is stopped here, and closed by the caller.
        web: The application's HTTP interface.
        sock: Already listening; it is closed.
        ready: Called with the address as soon as requests are answered.
        signals: The caller's, if it receives signals already.
        within_s: Real seconds for jobs to end and for the last save, at most.
    """
    reduce_garbage_collection()
    forbid_core_dumps()
    proxies = TrustedProxies(application.settings.proxies)
    most = MostConnections(descriptors_for_clients(raise_descriptor_limit()))
    server = _Server(_config(web, ConnectionLimits(most, proxies, time.monotonic)))
    host, port = address_of(sock)
    with contextlib.ExitStack() as stack:
        stack.enter_context(thinned_accept_errors(asyncio.get_running_loop(), time.monotonic))
        signals = signals or stack.enter_context(StopSignals())
        serving = asyncio.create_task(server.serve(sockets=[sock]), name="web server")
        stop_requested = asyncio.create_task(signals.stop_requested.wait(), name="stop requested")
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            if ready is not None and not serving.done():
                ready(url_of(host, port))
            await asyncio.wait({serving, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_requested.cancel()
            await _stop(application, server, serving, signals, within_s)


def _config(web: FastAPI, limits: ConnectionLimits) -> uvicorn.Config:
    return uvicorn.Config(
        ForwardedAddresses(web, limits),
        log_config=None,  # runtime/logs.py configures logging
        access_log=False,  # it would double the cost of a request
        http=partial(LimitedHttp, limits=limits),  # type: ignore[arg-type] # uvicorn calls it as it calls a class
        ws=partial(CountedSocket, limits=limits),  # type: ignore[arg-type]
        ws_per_message_deflate=False,  # halves the memory of a socket
        ws_max_size=LARGEST_MESSAGE,
        timeout_graceful_shutdown=REQUESTS_END_WITHIN_S,
        backlog=BACKLOG,
        proxy_headers=False,  # `ForwardedAddresses` reads them
        server_header=False,
        lifespan="off",
    )


@contextmanager
def thinned_accept_errors(loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float]) -> Iterator[None]:
    """Log once a minute that no descriptor is left for a connection; asyncio logs each of its attempts."""
    log = structlog.get_logger(component="Api")
    earlier = loop.get_exception_handler()
    logged_at: float | None = None

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal logged_at
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTOR:
            (earlier or asyncio.AbstractEventLoop.default_exception_handler)(loop, context)
        elif logged_at is None or monotonic() - logged_at >= DESCRIPTORS_LOG_EVERY_S:
            logged_at = monotonic()
            log.error("connections.no_descriptor", error=error.strerror)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(earlier)


async def _stop(
    application: Application,
    server: _Server,
    serving: asyncio.Task[None],
    signals: StopSignals,
    within_s: float,
) -> None:
    """Accept no more requests, close the sockets, then end the jobs; a second signal ends every wait."""
    began = time.monotonic()
    log = structlog.get_logger(component="Supervisor")
    log.info("stop.began")
    quick_stop = asyncio.create_task(_stop_quickly(server, signals), name="quick stop")
    application.services.context.hub.close()  # closes the event sockets of open tabs
    server.should_exit = True
    try:
        await asyncio.wait({serving})
        left_s = max(LAST_SAVE_S + 0.5, min(within_s, STOP_WITHIN_S - (time.monotonic() - began)))
        # A little less than the limit here, so that the last save is not cut off.
        stopping = asyncio.create_task(application.stop(left_s - 0.5), name="stop the application")
        quick = asyncio.create_task(signals.quick_stop_requested.wait(), name="quick stop requested")
        await asyncio.wait({stopping, quick}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        quick.cancel()
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait({stopping}, timeout=1)
    finally:
        quick_stop.cancel()
    for task in (serving, stopping):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("stop.failed", task=task.get_name(), exc_info=error)
    log.info("stop.done", in_order=stopping.done() and not stopping.cancelled())


async def _stop_quickly(server: _Server, signals: StopSignals) -> None:
    await signals.quick_stop_requested.wait()
    server.force_exit = True
