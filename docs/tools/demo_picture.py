"""Plays the demo quickly and keeps its most telling lines as ``docs/demo.svg``: ``python docs/tools/demo_picture.py CANDLES_DIR``."""

import asyncio
import os
import re
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from hullwatch.cli.demo import DemoOptions, run_demo
from hullwatch.cli.demo.teller import Teller

PICTURE = Path(__file__).resolve().parent.parent / "demo.svg"
MOST_SIGNALS = 3
"""Signal lines kept in a row; the rest would only push the story off the picture."""


class _PickyTeller(Teller):
    """Leaves out signals beyond the first few in a row."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._signals_in_a_row = 0

    def tell(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Print a line unless enough of its kind stand above it."""
        self._signals_in_a_row = self._signals_in_a_row + 1 if what[:1] in "▲▼" else 0
        if self._signals_in_a_row <= MOST_SIGNALS:
            super().tell(at, who, what, style)


async def _play(console: Console, candles: Path) -> None:
    options = DemoOptions(port=8399, speed=60, candles=candles, days=1)
    playing = asyncio.create_task(run_demo(options, teller=_PickyTeller(console)))
    await asyncio.wait({playing}, timeout=150)
    playing.cancel()
    await asyncio.wait({playing})


def main(candles: Path) -> None:
    """Record and write the picture."""
    os.chdir(candles.parent)  # so that the picture names no folder of the machine that made it
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True,
            file=nowhere,
            width=150,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
        asyncio.run(_play(console, Path(candles.name)))
    svg = console.export_svg(title="make demo", theme=MONOKAI)
    # The fonts that the template names lie at an address elsewhere; any monospaced font will do.
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code", "DejaVu Sans Mono")
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
