"""``hullwatch serve``: the server against real Fyers."""

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hullwatch.cli.output import CommandFailed, print_line
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
    """Run the server until SIGTERM or Ctrl-C. It creates or upgrades its database first."""
    from hullwatch.cli.server import listen_on
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
    from hullwatch.cli.registration import NO_ADMIN, registration_sentence
    from hullwatch.cli.server import StopSignals, address_of, serve_application, url_of

    host, port = address_of(sock)
    if settings.is_local and "public_url" not in settings.model_fields_set:
        # Cookies and the Origin check use the public address, so it must contain the port that was picked.
        settings = settings.model_copy(update={"public_url": url_of(host, port)})
    with StopSignals() as signals:
        async with open_application(settings) as application:
            if signals.stop_requested.is_set():
                return
            await application.start()
            needs_admin = (
                settings.registration_mode != "open" and not await application.services.accounts.has_admin()
            )

            def print_address(url: str) -> None:
                where = "" if url == settings.public_url else f" (listening at {url})"
                print_line(f"hullwatch is at {settings.public_url}{where}; press Ctrl-C to stop.")
                print_line(f"Registration is {registration_sentence(settings)}")
                if needs_admin:
                    print_line(NO_ADMIN)

            with ExitStack() as stack:
                _serve_metrics(application, stack)
                web = application.web(application.web_config())
                await serve_application(application, web, sock, ready=print_address, signals=signals)


def _serve_metrics(application: "Application", stack: ExitStack) -> None:
    """Serve the metrics on the separate address, if one is set, until the stack is closed."""
    from hullwatch.settings import read_address

    address = read_address(application.settings.metrics_address)
    if address is None:
        return
    try:
        stack.enter_context(application.metrics.served_on(*address))
    except OSError as error:
        raise CommandFailed(
            f"Cannot listen on HULLWATCH_METRICS_ADDRESS ({application.settings.metrics_address}): "
            f"{error.strerror}."
        ) from None
