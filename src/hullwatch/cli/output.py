"""How commands speak: results on standard output, everything else on standard error; tables, JSON, progress, moments."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from hullwatch.domain.sessions.tokens import IST


class CommandFailed(Exception):  # noqa: N818 - a fact told to whoever ran the command
    """A command cannot do what it was asked; the text is one sentence that says why and holds no secret."""


def one_line(text: str) -> str:
    """Return text that neither starts another line nor steers the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def say(text: str = "") -> None:
    """Print one line of a result, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print one line beside the result: progress, advice, a failure."""
    print(one_line(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON document; its names are camelCase already."""
    say(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, aligned columns without frame or cuts in a pipe."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_drawn(columns, rows)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, header_style="bold", row_styles=("", "dim"))
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))  # Text: a name like [red] is no markup
    Console().print(table)


def in_ist(moment: datetime | None) -> str:
    """Return a moment as a table shows it, IST; a dash where there is none."""
    return f"{moment.astimezone(IST):%Y-%m-%d %H:%M IST}" if moment else "-"


def iso(moment: datetime | None) -> str | None:
    """Return a moment as JSON has it: ISO 8601 with offset."""
    return moment.isoformat() if moment else None


class Progress(Protocol):
    """Told how far long work has come."""

    def __call__(self, done: int, /) -> None:
        """Say how many of all are done."""
        ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """Show how many of `total` are done: a bar on a terminal, a plain line every tenth in a pipe."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    tenths = 0

    def tell(done: int) -> None:
        nonlocal tenths
        now = done * 10 // total if total else 10
        if now > tenths:
            tenths = now
            note(f"{what}: {done} of {total}")

    yield tell


def ask(question: str) -> str:
    """Ask on the terminal and return the answer.

    Raises:
        CommandFailed: The input ended.
    """
    print(question, end=" ", file=sys.stderr, flush=True)
    answer = read_line()
    if answer is None:
        raise CommandFailed("There was no answer.")
    return answer.strip()


def read_line() -> str | None:
    """Return one line of standard input without its end; `None` when there is none.

    Raises:
        CommandFailed: It is not text, or far too long.
    """
    try:
        line = sys.stdin.readline(10_000)
    except UnicodeDecodeError:
        raise CommandFailed("Standard input is not UTF-8 text.") from None
    if len(line) >= 10_000:
        raise CommandFailed("The line on standard input is too long.")
    return line.rstrip("\r\n") if line else None


def os_sentence(error: OSError) -> str:
    """Return what the system refused, in one sentence."""
    if not error.strerror:
        return "Something took too long." if isinstance(error, TimeoutError) else "The system refused."
    where = f"{_shown(error.filename)}: " if error.filename is not None else ""
    return f"{where}{error.strerror}."


def _shown(name: object) -> str:
    return str(Path(name.decode(errors="replace"))) if isinstance(name, bytes) else str(name)
