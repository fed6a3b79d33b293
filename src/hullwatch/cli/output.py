"""What commands print: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hullwatch.services.texts.times import in_ist


class CommandFailed(Exception):  # noqa: N818 - its text is shown to the user as it is
    """A command cannot do what the user wants; the text is one sentence with the reason and no secret."""


def one_line(text: str) -> str:
    """Return the text with every control character and line break replaced by a space."""
    return "".join(char if char.isprintable() else " " for char in text)


def print_line(text: str = "") -> None:
    """Print one line of a result."""
    print(text, flush=True)


def print_note(text: str) -> None:
    """Print one line on standard error: progress, advice or a failure."""
    print(one_line(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print_line(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with a frame on a terminal, as aligned columns in a pipe."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_framed(columns, rows)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_framed(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, header_style="bold", row_styles=("", "dim"))
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))  # Text: a name like [red] is no markup
    Console().print(table)


def time_cell(moment: datetime | None) -> str:
    """Return a time for a table; a dash for no time."""
    return in_ist(moment) if moment else "-"


def iso(moment: datetime | None) -> str | None:
    """Return a time for JSON: ISO 8601 with offset."""
    return moment.isoformat() if moment else None


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show how many of `total` are done: a bar on a terminal, a plain line every tenth in a pipe.

    Yields:
        A function to call with the number that are done.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    printed_tenths = 0

    def print_tenth(done: int) -> None:
        nonlocal printed_tenths
        tenths = done * 10 // total if total else 10
        if tenths > printed_tenths:
            printed_tenths = tenths
            print_note(f"{what}: {done} of {total}")

    yield print_tenth


def os_sentence(error: OSError) -> str:
    """Return one sentence for an error of the operating system, with the file where there is one."""
    if not error.strerror:
        is_timeout = isinstance(error, TimeoutError)
        return "The operation took too long." if is_timeout else "The operating system refused the operation."
    where = f"{_file_name(error.filename)}: " if error.filename is not None else ""
    return f"{where}{error.strerror}."


def _file_name(name: object) -> str:
    return str(Path(name.decode(errors="replace"))) if isinstance(name, bytes) else str(name)
