"""``hullwatch simulator``: the Fyers simulator alone."""

from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from hullwatch.cli.output import print_line
from hullwatch.cli.replay import parse_zone
from hullwatch.cli.runner import run

TIMEZONE = typer.Option(
    "--timezone",
    parser=parse_zone,
    metavar="ZONE",
    help="Zone of times in candle files that have none; IST by default.",
)
ALLOW_GAPS = typer.Option(
    "--allow-gaps",
    help="Replay candle files in spite of missing sessions or rows of another resolution.",
)


def parse_moment(text: str) -> datetime:
    """Read a time from the command line; wrong usage unless it is ISO 8601 with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write a time like 2026-06-17T09:15:00+05:30") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("the time has no offset; write it like 2026-06-17T09:15:00+05:30")
    return moment


def simulator(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8765,
    speed: Annotated[float, typer.Option(min=0, max=100_000, help="Simulated seconds per second.")] = 1.0,
    candles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay candle files instead of a synthetic market.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market and of random faults.")] = 1,
    timezone: Annotated[tzinfo | None, TIMEZONE] = None,
    allow_gaps: Annotated[bool, ALLOW_GAPS] = False,
    start: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Simulated start, ISO 8601 with offset."),
    ] = None,
) -> None:
    """Run the Fyers simulator alone, to test any Fyers program against it."""
    from hullwatch.domain.market.calendar import IST
    from hullwatch.simulator.server import SimulatorConfig, addresses, run_simulator

    def print_addresses(base_url: str) -> None:
        for line in addresses(base_url):
            print_line(line)

    config = SimulatorConfig(
        host, port, speed, candles, seed, start, timezone=timezone or IST, allow_gaps=allow_gaps
    )
    run(run_simulator(config, print_addresses))
