"""Runs the demo from start to stop."""

import asyncio
import os
import secrets
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from hullwatch.cli.demo.environment import DemoEnvironment, DemoOptions, open_environment
from hullwatch.cli.demo.narrator import Narrator, Printer
from hullwatch.cli.demo.scenario import DemoScenario
from hullwatch.cli.demo.users import DemoUser
from hullwatch.cli.demo.webhook_receiver import WebhookReceiver
from hullwatch.cli.server import listen_on, serve_application
from hullwatch.runtime.logs import configure_logging

_PASSWORD_FILE = "demo-password"  # noqa: S105 - a file's name
_LOG_FILE = "hullwatch.log"


async def run_demo(options: DemoOptions, *, printer: Printer | None = None) -> None:
    """Run the demo until Ctrl-C, or for the number of days in the options.

    Raises:
        UnusableConfig, SettingsRefused, DatabaseUnusable, KeysUnusable, DemoFailed, OSError:
            The demo cannot run; the text gives the reason.
    """
    printer = printer or Printer()
    async with AsyncExitStack() as stack:
        data_dir = options.data_dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="hullwatch-demo-"))
        )
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = stack.enter_context((data_dir / _LOG_FILE).open("a", encoding="utf-8"))
        configure_logging(json=True, level="INFO", stream=log)
        sock = stack.enter_context(listen_on("127.0.0.1", options.port))
        printer.print_line("Starting the Fyers simulator, the server and a database …")
        environment = await stack.enter_async_context(open_environment(options, data_dir))
        application = environment.application
        await application.start()
        is_ready = asyncio.Event()
        serving = asyncio.create_task(
            serve_application(
                application,
                application.web(application.web_config()),
                sock,
                ready=lambda _: is_ready.set(),
            ),
            name="server",
        )
        scenario = asyncio.create_task(
            _run_scenario(environment, options, printer, is_ready), name="scenario"
        )
        try:
            await asyncio.wait((serving, scenario), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (scenario, serving):
                task.cancel()
            await asyncio.wait((serving, scenario))
        for task in (scenario, serving):
            if not task.cancelled() and (error := task.exception()):
                raise error
        printer.print_line("The demo has stopped.")


async def _run_scenario(
    environment: DemoEnvironment, options: DemoOptions, printer: Printer, is_ready: asyncio.Event
) -> None:
    await is_ready.wait()
    application, settings = environment.application, environment.application.settings
    password = _password(settings.data_dir)
    symbols = await environment.simulator.symbols()
    async with AsyncExitStack() as stack:
        users = []
        for number in range(options.users):
            users.append(DemoUser(number, settings.public_url, password, symbols))
            stack.push_async_callback(users[-1].close)
            await users[-1].register()
        narrator = Narrator(users, printer, environment.clock)
        receiver = WebhookReceiver(narrator.print_notice)
        await stack.enter_async_context(receiver.listening())
        following = asyncio.create_task(narrator.follow(application.services.context.hub), name="narrator")
        stack.callback(following.cancel)
        print_addresses = partial(_print_addresses, environment, options, printer, users, password)
        print_addresses()
        scenario = DemoScenario(environment, users, narrator)
        await scenario.set_up(receiver)
        await scenario.run(options.days, speed=options.speed, print_addresses=print_addresses)


def _print_addresses(
    environment: DemoEnvironment,
    options: DemoOptions,
    printer: Printer,
    users: list[DemoUser],
    password: str,
) -> None:
    settings = environment.application.settings
    market = f"candles from {options.candles}" if options.candles else "synthetic market"
    printer.print_line()
    printer.print_line(f"  Address    {settings.public_url}   (API: {settings.public_url}/api/docs)", "bold")
    printer.print_line(f"  Logins     {', '.join(user.email for user in users)}", "bold")
    printer.print_line(f"  Password   {password}   (the first login is the administrator)", "bold")
    printer.print_line(
        f"  Simulator  {environment.simulator.base_url}   ({market}, {options.speed:g} x real time)"
    )
    printer.print_line(f"  Logs       {settings.data_dir / _LOG_FILE}")
    for note in environment.notes:
        printer.print_line(f"  Note       {note}")
    printer.print_line("  Press Ctrl-C to stop.")
    printer.print_line()


def _password(data_dir: Path) -> str:
    """Return the password of this data folder's users, made on first use: a default one would be a risk."""
    path = data_dir / _PASSWORD_FILE
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(9))
    return path.read_text().strip()
