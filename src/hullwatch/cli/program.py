"""The command line: all commands, and what happens when one fails."""

import os
import signal
import sys
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hullwatch import __version__
from hullwatch.cli import doctor, exit_at_once, maintenance, replay, serve, simulator, tokens, users
from hullwatch.cli.output import CommandFailed, os_sentence, print_line, print_note
from hullwatch.cli.runner import explained_failures, run, sentence_of
from hullwatch.cli.simulator import ALLOW_GAPS, TIMEZONE


class _ExplainingGroup(TyperGroup):
    """Turns every failure that a user, a database or Fyers can cause into one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. From here on Ctrl-C raises `KeyboardInterrupt`, so that it can clean up."""
        if signal.getsignal(signal.SIGINT) is exit_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the program that read the output has closed the pipe, so no message can reach it
        except explained_failures() as failure:
            print_note(f"hullwatch: {sentence_of(failure)}")
            raise typer.Exit(1) from None


program = typer.Typer(
    name="hullwatch",
    cls=_ExplainingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Monitors Indian markets for many Fyers accounts. "
    "An expired session of one account never stops the others.",
)
program.command("serve")(serve.serve)
program.command("simulator")(simulator.simulator)
program.add_typer(users.users, name="users")
program.add_typer(tokens.tokens, name="tokens")
program.command("replay")(replay.replay)
program.add_typer(maintenance.keys, name="keys")
program.add_typer(maintenance.database, name="db")
program.command("doctor")(doctor.doctor)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print_line(f"hullwatch {__version__}")
        raise typer.Exit


@program.callback()
def _whole(
    _show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Declare the options that belong to no command."""


@program.command("demo")
def _demo(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the server on 127.0.0.1.")] = 8000,
    speed: Annotated[float, typer.Option(min=0, max=100_000, help="Simulated seconds per second.")] = 60.0,
    count: Annotated[int, typer.Option("--users", min=1, max=500, help="Number of users.")] = 3,
    candles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay candle files instead of a synthetic market.")
    ] = None,
    timezone: Annotated[tzinfo | None, TIMEZONE] = None,
    allow_gaps: Annotated[bool, ALLOW_GAPS] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the data here instead of in a temporary folder.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many trading days instead of at Ctrl-C.")
    ] = None,
) -> None:
    """Run the whole product on this machine without a Fyers account: simulator, server and users."""
    from hullwatch.cli.demo import DemoOptions, run_demo
    from hullwatch.cli.demo.users import DemoFailed

    options = DemoOptions(
        port=port,
        speed=speed,
        users=count,
        candles=candles,
        data_dir=data_dir,
        days=days,
        allow_gaps=allow_gaps,
    )
    if timezone is not None:
        options = replace(options, timezone=timezone)
    try:
        run(run_demo(options))
    except DemoFailed as failure:
        raise CommandFailed(str(failure)) from None


def run_program(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 explained failure, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a ✓ must not fail on a terminal without that character
    try:
        program(arguments, prog_name="hullwatch")
        code: Any = 0
    except SystemExit as exit_:
        code = exit_.code
    except KeyboardInterrupt:  # before or after the command: typer translates it only inside
        code = 130
    except OSError as error:  # while printing help or version, before any command ran
        print_note(f"hullwatch: {os_sentence(error)}")
        code = 1
    sys.exit(_flushed(code))


def _flushed(code: Any) -> Any:
    """Write buffered output and return the exit code. An error at interpreter exit would print a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - a replacement until exit
        if code == 0 and not isinstance(error, BrokenPipeError):
            print_note(f"hullwatch: The result could not be written: {error.strerror}.")
        return code or 1
    return code
