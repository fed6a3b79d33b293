"""The ``hullwatch`` command line."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command that the command line names, and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # While modules are imported, Python drops a KeyboardInterrupt that is raised in a callback of the import
        # system, so the command would continue. `program` restores the handler before a command runs.
        signal.signal(signal.SIGINT, exit_at_once)
    from hullwatch.cli.program import run_program

    run_program()


def exit_at_once(_signal: int, _frame: FrameType | None) -> None:
    """Exit with the code of an interrupted command, without any cleanup."""
    os._exit(130)
