"""Runs a day of the demo and saves its most important lines as ``docs/demo.svg``.

Run with ``python docs/tools/demo_picture.py``.
"""

import asyncio
import os
import re
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from hullwatch.cli.demo import DemoOptions, run_demo
from hullwatch.cli.demo.narrator import Printer

PICTURE = Path(__file__).resolve().parent.parent / "demo.svg"
SPEED = 60
MOST_SIGNALS = 2
"""Signal lines kept in a row; the others would push more important lines off the picture."""
SIGNALS, COUNTS = (
    ("\N{BLACK UP-POINTING TRIANGLE}", "\N{BLACK DOWN-POINTING TRIANGLE}"),
    "closed candles evaluated",
)


class _SelectivePrinter(Printer):
    """Leaves out signals after the first few in a row, and the hourly counts."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._signals_in_a_row = 0
        self._is_closed = False

    def print_event(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Print a line, unless there are enough of its kind above it."""
        if COUNTS in what and not self._is_closed:
            return
        self._is_closed |= "market has closed" in what
        self._signals_in_a_row = self._signals_in_a_row + 1 if what.startswith(SIGNALS) else 0
        if self._signals_in_a_row <= MOST_SIGNALS:
            super().print_event(at, who, what, style)


def main() -> None:
    """Record and write the picture."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True,
            file=nowhere,
            width=150,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
        asyncio.run(run_demo(DemoOptions(port=8399, speed=SPEED, days=1), printer=_SelectivePrinter(console)))
    svg = console.export_svg(title="make demo", theme=MONOKAI)
    # The fonts that the template names lie at an address elsewhere; any monospaced font will do.
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code", "DejaVu Sans Mono")
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
