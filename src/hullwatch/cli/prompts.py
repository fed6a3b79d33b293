"""Questions on the terminal, and lines from standard input."""

import os
import select
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from hullwatch.cli.output import CommandFailed

LONGEST_LINE: Final = 10_000
"""Characters; longer input is refused instead of read into memory."""


def is_interactive() -> bool:
    """Whether a person can answer questions; standard input may also be a pipe, a file or closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, *, is_hidden: bool = False) -> str:
    """Ask on the terminal and return the answer.

    Args:
        question: Shown in front of the cursor.
        is_hidden: Whether the terminal shows nothing of the answer while the user types it.

    Raises:
        CommandFailed: The user gave no answer, or one that is not UTF-8 or too long.
        KeyboardInterrupt: The user pressed Ctrl-C; the terminal shows typed text again.
    """
    terminal = sys.stdin.fileno()
    with ExitStack() as stack:
        interrupts = stack.enter_context(_interrupts_as_input())
        if is_hidden:
            stack.enter_context(_echo_off(terminal))
        print(question, end=" ", file=sys.stderr, flush=True)
        return _typed_line(terminal, interrupts)


def read_line() -> str | None:
    """Return one line of standard input without its line break; `None` when there is none.

    Raises:
        CommandFailed: It is not UTF-8, or too long.
    """
    if sys.stdin is None:
        return None
    try:
        line = sys.stdin.readline(LONGEST_LINE)
    except UnicodeDecodeError:
        raise CommandFailed("Standard input is not UTF-8 text.") from None
    if len(line) >= LONGEST_LINE:
        raise CommandFailed("The line on standard input is too long.")
    return line.rstrip("\r\n") if line else None


def _typed_line(terminal: int, interrupts: int) -> str:
    typed = b""
    while not typed.endswith(b"\n"):
        ready, _, _ = select.select([terminal, interrupts], [], [])
        if interrupts in ready:
            return ""  # `_interrupts_as_input` raises KeyboardInterrupt
        part = os.read(terminal, LONGEST_LINE)
        typed += part
        if not part or len(typed) >= LONGEST_LINE:
            raise CommandFailed("There was no answer." if not part else "The answer is too long.")
    try:
        return typed.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise CommandFailed("The answer is not UTF-8 text.") from None


@contextmanager
def _interrupts_as_input() -> Iterator[int]:
    """Make an interrupt readable on a file descriptor; raise `KeyboardInterrupt` at the end if there was one.

    A blocking read does not notice a SIGINT that arrives just before it, because Python runs signal handlers between
    its own instructions. A `select` on the descriptor that Python's signal handler writes to cannot miss it.
    `KeyboardInterrupt` is also not raised in the middle of code that restores the terminal.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # First the descriptor, then the handler (and in reverse below): no interrupt falls between the two.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield reader
    finally:
        signal.signal(signal.SIGINT, previous)
        signal.set_wakeup_fd(-1)
        ready, _, _ = select.select([reader], [], [], 0)
        os.close(reader)
        os.close(writer)
        if ready:
            raise KeyboardInterrupt


@contextmanager
def _echo_off(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    hidden = termios.tcgetattr(terminal)
    hidden[3] &= ~termios.ECHO  # index 3: local modes
    termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        print(file=sys.stderr, flush=True)  # the user's line break was not shown
