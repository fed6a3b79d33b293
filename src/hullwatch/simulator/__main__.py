"""`python -m hullwatch.simulator`: the Fyers simulator alone, for testing any Fyers program against it."""

import argparse
import asyncio
import sys
from datetime import datetime
from pathlib import Path

from hullwatch.candle_files import parse_timezone
from hullwatch.domain.failures import InvalidInput
from hullwatch.simulator.config import SimulatorConfig, UnusableConfig


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hullwatch simulator", description="A stand-in for Fyers API v3 on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on (8765; 0 picks a free one)")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per real second (1)")
    parser.add_argument(
        "--candles", type=Path, metavar="DIR", help="replay candle files instead of a synthetic market"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic market and of chance (1)")
    parser.add_argument(
        "--timezone", default="IST", metavar="ZONE", help="zone of times in candle files that have none (IST)"
    )
    parser.add_argument(
        "--allow-gaps", action="store_true", help="replay candle files in spite of missing sessions"
    )
    parser.add_argument(
        "--start", type=datetime.fromisoformat, metavar="MOMENT", help="simulated start, ISO 8601 with offset"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator until it is interrupted; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65_535:
        parser.error("--port must be from 0 to 65535")
    if not 0 <= options.speed <= 100_000:
        parser.error("--speed must be from 0 to 100000")
    if options.start is not None and options.start.tzinfo is None:
        parser.error("--start needs an offset, as 2026-06-17T09:15:00+05:30")
    try:
        zone = parse_timezone(options.timezone)
    except InvalidInput as refusal:
        parser.error(f"--timezone: {refusal}")
    config = SimulatorConfig(
        options.host,
        options.port,
        options.speed,
        options.candles,
        options.seed,
        options.start,
        timezone=zone,
        allow_gaps=options.allow_gaps,
    )
    return _serve(config)


def _serve(config: SimulatorConfig) -> int:
    # Imported late so that --help and wrong usage answer at once.
    from hullwatch.simulator.server import addresses, run_simulator  # noqa: PLC0415

    def ready(base_url: str) -> None:
        sys.stdout.write("\n".join(addresses(base_url)) + "\n")
        sys.stdout.flush()

    try:
        asyncio.run(run_simulator(config, ready))
    except UnusableConfig as error:
        sys.stderr.write(f"hullwatch simulator: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
