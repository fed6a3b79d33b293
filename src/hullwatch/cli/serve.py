"""``hullwatch serve``: the server against real Fyers."""

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hullwatch.cli.listening import address_of, listen_on, url_of
from hullwatch.cli.output import CommandFailed, say
from hullwatch.cli.runner import run

if TYPE_CHECKING:
    from hullwatch.app import Application
    from hullwatch.settings import Settings


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; HULLWATCH_HOST or 127.0.0.1.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; HULLWATCH_PORT or 8000.", show_default=False),
    ] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C; opens or migrates its database first."""
    from hullwatch.runtime.logs import configure_logging
    from hullwatch.settings import read_settings

    overrides: dict[str, Any] = {"host": host, "port": port}
    settings = read_settings(**{name: value for name, value in overrides.items() if value is not None})
    configure_logging(level=settings.log_level)
    settings.checked_for_serving()
    with listen_on(settings.host, settings.port) as sock:
        run(_serve(settings, sock))


async def _serve(settings: "Settings", sock: socket.socket) -> None:
    from hullwatch.app import open_application
    from hullwatch.cli.server import StopSignals, serve_application

    host, port = address_of(sock)
    if settings.is_local and "public_url" not in settings.model_fields_set:
        # Cookies and the check of Origin follow the public address, so it has to follow the port.
        settings = settings.model_copy(update={"public_url": url_of(host, port)})
    with StopSignals() as signals:
        async with open_application(settings) as house:
            if signals.asked.is_set():
                return
            await house.start()

            def ready(url: str) -> None:
                where = "" if url == settings.public_url else f" (listening at {url})"
                say(f"hullwatch is at {settings.public_url}{where}; Ctrl-C ends it.")

            with ExitStack() as stack:
                _serve_metrics(house, stack)
                await serve_application(
                    house, house.web(house.web_config()), sock, ready=ready, signals=signals
                )


def _serve_metrics(house: "Application", stack: ExitStack) -> None:
    """Serve the metrics on an address of their own where one is set, until the stack is unwound."""
    from hullwatch.settings import read_address

    address = read_address(house.settings.metrics_address)
    if address is None:
        return
    try:
        stack.enter_context(house.metrics.served_on(*address))
    except OSError as error:
        raise CommandFailed(
            f"HULLWATCH_METRICS_ADDRESS cannot be listened on: {error.strerror} ({house.settings.metrics_address})."
        ) from None
