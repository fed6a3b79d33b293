"""The demo's voice: one line for each thing that happens, with the market's time, in words a trader understands."""

from datetime import datetime

from rich.console import Console
from rich.text import Text

from hullwatch.domain.sessions.tokens import IST

_STYLES = {"good": "green", "bad": "bold red", "late": "yellow", "note": "dim", "plain": ""}


class Teller:
    """Prints the story."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def tell(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Print one line of the story."""
        line = Text()
        line.append(f"{at.astimezone(IST):%a %d %b %H:%M:%S} IST  ", style="dim")
        line.append(f"{who:<10}", style="bold")
        line.append(what, style=_STYLES[style])
        self._console.print(line)

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line outside the story."""
        self._console.print(Text(text, style=style))
