"""The commands of ``hullwatch``.

``program`` lists them; each subject has a module that declares its commands and imports what they need only when one runs, so that
``--help`` answers at once. What every command shares: ``speaking`` (how results and failures are said) and ``running`` (event loop and
house). ``serving`` serves a house and ends it in order; ``demo`` is a room of its own.
"""


def main() -> None:
    """Run the command that the command line names, and exit with its code."""
    from hullwatch.cli.program import run_program

    run_program()
