"""``hullwatch simulator``: the Fyers simulator alone."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hullwatch.cli.output import say
from hullwatch.cli.runner import run

_CONTROLS = (
    ("POST", "/simulator/apps", "a Fyers app; HULLWATCH-100 with secret simulator is there already"),
    ("POST", "/simulator/accounts", "a person who can log in"),
    ("POST", "/simulator/accounts/{fyersId}/token", "a session without the browser"),
    ("POST", "/simulator/accounts/{fyersId}/expire", "its newest session ends by time"),
    ("POST", "/simulator/accounts/{fyersId}/revoke", "its newest session ends by the broker"),
    ("POST", "/simulator/faults", "something goes wrong from now on; DELETE ends it"),
    ("GET", "/simulator/calls", "what was called; DELETE counts anew"),
    ("POST", "/simulator/clock", "speed, advanceSeconds"),
)


def parse_moment(text: str) -> datetime:
    """Read a moment from the command line; wrong usage unless it is ISO 8601 with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it like 2026-06-17T09:15:00+05:30") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("it needs an offset, as in 2026-06-17T09:15:00+05:30")
    return moment


def simulator(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8765,
    speed: Annotated[float, typer.Option(min=0, max=100_000, help="Simulated seconds per second.")] = 1.0,
    candles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay candle files instead of a synthetic market.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market and of chance.")] = 1,
    start: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="MOMENT", help="Simulated start, ISO 8601 with offset."),
    ] = None,
) -> None:
    """Run the Fyers simulator alone, so that any Fyers program can be tested against it."""
    from hullwatch.simulator.server import SimulatorConfig, run_simulator

    def ready(base_url: str) -> None:
        say(f"Fyers simulator at {base_url}; Ctrl-C ends it.")
        say(f"  REST      {base_url}/api/v3 and {base_url}/data")
        say(f"  Stream    {base_url.replace('http', 'ws', 1)}/hsm/v1-5/prod")
        for method, path, what in _CONTROLS:
            say(f"  {method:<8}  {path}: {what}")

    run(run_simulator(SimulatorConfig(host, port, speed, candles, seed, start), ready))
