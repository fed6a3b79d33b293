"""The command line as a whole: which commands there are, and how a command that fails ends."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hullwatch import __version__
from hullwatch.cli import doctor, replay, serve, simulator, tokens, users
from hullwatch.cli import maintenance as keys_and_database
from hullwatch.cli.output import CommandFailed, note, os_sentence, say
from hullwatch.cli.runner import explained_failures, run, sentence_of


class _ExplainingGroup(TyperGroup):
    """Turns every failure that a user, a database or a broker can cause into one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has left: nobody to explain it to
        except explained_failures() as failure:
            note(f"hullwatch: {sentence_of(failure)}")
            raise typer.Exit(1) from None


program = typer.Typer(
    name="hullwatch",
    cls=_ExplainingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches Indian markets for many Fyers accounts at once, and no token expiry stops it.",
)
program.command("serve")(serve.serve)
program.command("simulator")(simulator.simulator)
program.add_typer(users.users, name="users")
program.add_typer(tokens.tokens, name="tokens")
program.command("replay")(replay.replay)
program.add_typer(keys_and_database.keys, name="keys")
program.add_typer(keys_and_database.database, name="db")
program.command("doctor")(doctor.doctor)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        say(f"hullwatch {__version__}")
        raise typer.Exit


@program.callback()
def _whole(
    _show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@program.command("demo")
def _demo(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the server on 127.0.0.1.")] = 8000,
    speed: Annotated[float, typer.Option(min=0, max=100_000, help="Simulated seconds per second.")] = 60.0,
    count: Annotated[int, typer.Option("--users", min=1, max=500, help="How many users watch.")] = 3,
    candles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay candle files instead of a synthetic market.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the data here instead of in a folder for once.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="End after so many trading days instead of at Ctrl-C.")
    ] = None,
) -> None:
    """Run the whole product on this machine with no Fyers account: simulator, server, users, a story."""
    from hullwatch.cli.demo import DemoOptions, run_demo
    from hullwatch.cli.demo.users import DemoTrouble

    options = DemoOptions(port=port, speed=speed, users=count, candles=candles, data_dir=data_dir, days=days)
    try:
        run(run_demo(options))
    except DemoTrouble as trouble:
        raise CommandFailed(str(trouble)) from None


def run_program(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 explained failure, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a ✓ must not break a terminal that has none
    try:
        program(arguments, prog_name="hullwatch")
        code: Any = 0
    except SystemExit as end:
        code = end.code
    except OSError as error:  # met while help or version were being printed, before any command ran
        note(f"hullwatch: {os_sentence(error)}")
        code = 1
    sys.exit(_flushed(code))


def _flushed(code: Any) -> Any:
    """Write out what is still buffered; what cannot be written must not end in a traceback at exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - stands in for the lost stream until exit
        if code == 0 and not isinstance(error, BrokenPipeError):
            note(f"hullwatch: The result could not be written: {error.strerror}.")
        return code or 1
    return code
