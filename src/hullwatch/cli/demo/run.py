"""Runs the demo from curtain to curtain."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from hullwatch.cli.demo.environment import DemoEnvironment, open_stage
from hullwatch.cli.demo.narrator import Narrator
from hullwatch.cli.demo.options import DemoOptions
from hullwatch.cli.demo.scenario import DemoScenario
from hullwatch.cli.demo.teller import Teller
from hullwatch.cli.demo.users import Door, make_players
from hullwatch.cli.demo.webhook_receiver import Phones
from hullwatch.cli.server import listen_on, serve_application
from hullwatch.runtime.logs import configure_logging

_PASSWORD_FILE = "demo-password"  # noqa: S105 - a file's name
_LOG_FILE = "hullwatch.log"


async def run_demo(options: DemoOptions, *, teller: Teller | None = None) -> None:
    """Play the demo until Ctrl-C, or for as many days as were asked for.

    Raises:
        UnusableConfig, SettingsRefused, DatabaseUnusable, KeysUnusable, DemoTrouble, OSError: It cannot be played; the text says why.
    """
    teller = teller or Teller()
    async with AsyncExitStack() as stack:
        data_dir = options.data_dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="hullwatch-demo-"))
        )
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = stack.enter_context((data_dir / _LOG_FILE).open("a", encoding="utf-8"))
        configure_logging(json=True, level="INFO", stream=log)
        sock = stack.enter_context(listen_on("127.0.0.1", options.port))
        teller.say("hullwatch demo: the Fyers simulator, the server and a database of its own are starting …")
        stage = await stack.enter_async_context(open_stage(options, data_dir))
        await stage.house.start()
        is_up = asyncio.Event()
        web = stage.house.web(stage.house.web_config())
        serving = asyncio.create_task(
            serve_application(
                stage.house, web, sock, ready=lambda _: is_up.set(), within_s=10 * max(options.speed, 1)
            ),
            name="server",
        )
        playing = asyncio.create_task(_play(stage, options, teller, is_up, data_dir), name="story")
        try:
            await asyncio.wait((serving, playing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (playing, serving):
                task.cancel()
            await asyncio.wait((serving, playing))
        for task in (playing, serving):
            if not task.cancelled() and (error := task.exception()):
                raise error
        teller.say("The demo has ended; everything is closed.")


async def _play(
    stage: DemoEnvironment, options: DemoOptions, teller: Teller, is_up: asyncio.Event, data_dir: Path
) -> None:
    await is_up.wait()
    password = _password(data_dir)
    players = make_players(options.users, password, await stage.simulator.symbols())
    async with AsyncExitStack() as stack:
        doors = await stack.enter_async_context(_doors([Door(stage.base_url, player) for player in players]))
        narrator = Narrator(players, teller, stage.clock)
        phones = Phones(narrator.hear_phone)
        await stack.enter_async_context(phones.switched_on())
        listening = asyncio.create_task(narrator.listen(stage.house.services.context.hub), name="narrator")
        story = DemoScenario(stage, doors, narrator, phones)
        try:
            _introduce(stage, options, teller, [door.player.email for door in doors], password)
            await story.set_up()
            await stage.set_speed(options.speed)
            await story.play(options.days)
        finally:
            listening.cancel()


@asynccontextmanager
async def _doors(doors: list[Door]) -> AsyncIterator[list[Door]]:
    try:
        for door in doors:
            await door.enter()
        yield doors
    finally:
        for door in doors:
            await door.close()


def _introduce(
    stage: DemoEnvironment, options: DemoOptions, teller: Teller, emails: list[str], password: str
) -> None:
    market = f"candles from {options.candles}" if options.candles else "a synthetic market"
    teller.say()
    teller.say(f"  Address    {stage.base_url}   (API: {stage.base_url}/api/docs)", "bold")
    teller.say(f"  Logins     {', '.join(emails)}", "bold")
    teller.say(f"  Password   {password}   (the first login is the administrator)", "bold")
    teller.say(f"  Simulator  {stage.simulator.base_url}   {market}, {options.speed:g} times as fast as life")
    teller.say(f"  Logs       {stage.house.settings.data_dir / _LOG_FILE}")
    teller.say("  Ctrl-C ends it.")
    teller.say()


def _password(data_dir: Path) -> str:
    """Return this data folder's demo password, made on first use: there is no default one."""
    path = data_dir / _PASSWORD_FILE
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(9))
    return path.read_text().strip()
